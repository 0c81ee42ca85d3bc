// One streamed request: when its tokens came, and what it came to.
//
//   k6 run -e BASE_URL=http://127.0.0.1:8000/v1 request.js
import { Client, run } from "k6/x/tokenclock";

run({ scenario: "request", config: {}, sloMs: {} });
const client = new Client({ url: `${__ENV.BASE_URL}/chat/completions`, api: "chat" });

export default function () {
  const result = client.request({
    body: JSON.stringify({
      model: __ENV.MODEL || "simulated",
      messages: [{ role: "user", content: "Name three uses for an old bicycle wheel." }],
      max_tokens: 16,
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  if (result.outcome !== "completed") throw new Error(`${result.failure}: ${result.message}`);
  console.log(`${result.outputTokens} tokens, TTFT ${result.ttftMs.toFixed(1)} ms, e2e ${result.e2eMs.toFixed(1)} ms`);
}
