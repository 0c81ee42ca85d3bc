/** A server that keeps what it is sent, and answers each request with as many tokens as are forced. */
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

export interface KeptRequest {
  /** `id` in the records. */
  readonly id: unknown;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  // biome-ignore lint/suspicious/noExplicitAny: bodies have many shapes
  readonly body: any;
}

/** What an answer has of its own. */
export interface KeptReply {
  readonly headers?: http.OutgoingHttpHeaders;
  /** Its whole text, in the first token; by default each token is an x. */
  readonly text?: string;
  /** Milliseconds before its last token; by default all come at one moment, and it has no TPOT. */
  readonly pauseMs?: number;
}

/** Serves until the test ends. `reply` is called with each request that is kept; `requests` are in the order of arrival. */
export async function keepingServer(
  t: TestContext,
  reply: (request: KeptRequest) => KeptReply = () => ({}),
): Promise<{ baseUrl: string; requests: KeptRequest[] }> {
  const requests: KeptRequest[] = [];
  const server = http.createServer((request, response) => {
    const { method, url = "", headers } = request;
    let sent = "";
    request.on("data", (part) => {
      sent += part;
    });
    request.on("end", () => {
      if (method === "GET") return response.end(JSON.stringify({ data: [{ id: "served" }] }));
      const body = JSON.parse(sent || "{}");
      if (!/\/(completions|messages)$/.test(url)) return response.writeHead(404).end();
      const kept = { id: headers["x-request-id"], url, headers, body };
      requests.push(kept);
      const { headers: own, text, pauseMs = 0 } = reply(kept);
      response.writeHead(200, { "Content-Type": "text/event-stream", ...own });
      const tokens = body.min_tokens ?? 2;
      const token = (i: number) => {
        const content = text === undefined ? "x" : i === 0 ? text : "";
        const choice = url.endsWith("/chat/completions") ? { delta: { content } } : { text: content };
        const finish = i === tokens - 1 ? "length" : null;
        response.write(`data: ${JSON.stringify({ choices: [{ index: 0, ...choice, finish_reason: finish }] })}\n\n`);
      };
      for (let i = 0; i < tokens - 1; i++) token(i);
      const end = () => {
        if (tokens > 0) token(tokens - 1);
        const usage = { prompt_tokens: 9, completion_tokens: tokens, total_tokens: 9 + tokens };
        response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
      };
      if (pauseMs > 0) setTimeout(end, pauseMs);
      else end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, requests };
}
