// The module works in this k6: a request to a port where nobody listens fails, and says how. It needs no server.
//
//   k6 run smoke.js
import { Client, run } from "k6/x/tokenclock";

run({ scenario: "smoke", config: {}, sloMs: {} });
const client = new Client({ url: "http://127.0.0.1:9/v1/chat/completions", api: "chat", timeoutMs: 5000 });

export default function () {
  const { outcome, failure, message } = client.request({ body: JSON.stringify({ model: "none", messages: [] }) });
  if (outcome !== "failed") throw new Error(`the request ended as ${outcome}`);
  console.log(`nobody listens there: ${failure} (${message})`);
}
