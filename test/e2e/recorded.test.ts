/**
 * Answers of real servers (vLLM, llama-server), recorded as bytes, replayed to the built binary: whole, in random splits,
 * byte by byte and cut off. The parser's own tests read every recording by eye; these show that the way from the socket to
 * the record keeps what it found.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { root } from "../../build/paths";
import { type Answer, byteByByte, randomSplits, startReplay } from "../support/replay";
import { assertEndedWell, run } from "../support/run";

const folder = path.join(root, "extension", "internal", "stream", "testdata", "recorded");

/** What a recording says, read all at once and not as it arrives. */
interface Recording {
  name: string;
  bytes: Buffer;
  api: "chat" | "completions";
  status: number;
  streamed: boolean;
  failed: boolean;
  /** Events with text. */
  chunks: number;
  inputTokens: number;
  outputTokens: number;
  finishReason: string;
}

interface Event {
  object?: string;
  error?: unknown;
  choices?: { text?: string; delta?: { content?: string | null }; finish_reason?: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number };
}

/** The body without the framing of HTTP chunks. */
function unchunked(body: string): string {
  let rest = body;
  let whole = "";
  for (;;) {
    const [line = "", size = ""] = /^([0-9a-f]+)\r\n/i.exec(rest) ?? [];
    const length = Number.parseInt(size, 16);
    if (!(length > 0)) return whole;
    whole += rest.slice(line.length, line.length + length);
    rest = rest.slice(line.length + length + 2);
  }
}

function readRecording(name: string): Recording | undefined {
  // Latin-1 keeps a character a byte; the recordings' texts do not matter here.
  const text = readFileSync(path.join(folder, name), "latin1").replace(/curl rc \d+\s*$/, "");
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
  // Files of several bodies or of a body alone are for the parser's tests.
  if (!status) return undefined;
  const end = text.indexOf("\r\n\r\n") + 4;
  const head = text.slice(0, end);
  const body = /^transfer-encoding: chunked/im.test(head) ? unchunked(text.slice(end)) : text.slice(end);
  const streamed = /^content-type: text\/event-stream/im.test(head);
  const events = (streamed ? body.split(/\r?\n\r?\n/).map((event) => event.replace(/^data: /, "")) : [body])
    .filter((data) => data.trim() !== "" && data.trim() !== "[DONE]")
    .map((data) => JSON.parse(data) as Event);
  const choices = events.flatMap((event) => event.choices ?? []);
  const chunks = choices.filter(({ text, delta }) => (text ?? delta?.content ?? "") !== "").length;
  const usage = events.filter((event) => event.usage).at(-1)?.usage;
  return {
    name,
    bytes: Buffer.from(text, "latin1"),
    api: events.some(({ object }) => object?.startsWith("chat.")) ? "chat" : "completions",
    status,
    streamed,
    failed: status !== 200 || events.some(({ error }) => error !== undefined),
    chunks,
    inputTokens: usage?.prompt_tokens ?? 0,
    outputTokens: usage?.completion_tokens ?? chunks,
    finishReason: choices.filter((choice) => choice.finish_reason).at(-1)?.finish_reason ?? "",
  };
}

const recordings = ["llama", "vllm"].flatMap((server) =>
  readdirSync(path.join(folder, server))
    .sort()
    .flatMap((file) => readRecording(`${server}/${file}`) ?? []),
);

/** llama-server closes the connection after a stream although it promised to keep it. */
const closes = (name: string) => name.startsWith("llama/");

const settings = (origin: string, api: string, requests: number) => ({
  ...{ BASE_URL: `${origin}/v1`, API: api, CONCURRENCY: 1, REQUESTS: requests, WARMUP: 0 },
  ...{ IGNORE_EOS: "false", THRESHOLDS: "none" },
});

test("there are recordings of both servers, of both APIs, good and bad", () => {
  for (const server of ["llama/", "vllm/"]) {
    const own = recordings.filter(({ name }) => name.startsWith(server));
    assert.ok(own.some(({ failed }) => failed) && own.some(({ failed, streamed }) => !failed && streamed), server);
  }
  assert.ok(recordings.length >= 15, `${recordings.length} recordings`);
});

for (const api of ["chat", "completions"] as const) {
  test(`recorded answers of ${api} give their tokens, usage and endings however they are cut`, {
    timeout: 120_000,
  }, async (t) => {
    const cuts: { of: Recording; how: string; answer: Answer }[] = recordings
      .filter((recording) => recording.api === api)
      .flatMap((of, i) => [
        { of, how: "whole", answer: { pieces: [of.bytes], close: closes(of.name) } },
        { of, how: "random splits", answer: { pieces: randomSplits(of.bytes, 100 + i), close: closes(of.name) } },
        { of, how: "byte by byte", answer: { pieces: byteByByte(of.bytes), close: closes(of.name) } },
      ]);
    const server = await startReplay(cuts.map(({ answer }) => answer));
    t.after(server.stop);
    const ended = await run("concurrency-sweep", settings(server.origin, api, cuts.length), {
      timeoutMs: 90_000,
    });
    assertEndedWell(ended);
    const { requests } = ended;
    assert.equal(server.answered(), cuts.length);
    assert.equal(requests.length, cuts.length);
    const inOrder = [...requests].sort((a, b) => (a.index ?? 0) - (b.index ?? 0));
    cuts.forEach(({ of, how }, i) => {
      const request = inOrder[i];
      assert.ok(request);
      const found = {
        status: request.status,
        outcome: request.outcome,
        failure: request.outcome === "failed" ? request.failure : "",
        chunks: request.arrivals?.length ?? 0,
        inputTokens: request.inputTokens,
        outputTokens: request.outputTokens ?? 0,
        finishReason: request.finishReason ?? "",
      };
      const refused = of.status !== 200;
      const failure = refused ? (of.status >= 500 ? "http_5xx" : "http_4xx") : "error_event";
      assert.deepEqual(
        found,
        {
          status: of.status,
          outcome: of.failed ? "failed" : "completed",
          failure: of.failed ? failure : "",
          // An answer that is no stream arrives at once, so that its chunks have no times.
          chunks: of.streamed ? of.chunks : 0,
          // Without usage the workload's own count stands.
          inputTokens: of.inputTokens || found.inputTokens,
          outputTokens: of.outputTokens,
          finishReason: of.finishReason,
        },
        `${of.name}, ${how}`,
      );
    });
    t.diagnostic(`${cuts.length / 3} recordings, each cut in three ways`);
  });
}

test("a stream that ends before its end is truncated, wherever that is", { timeout: 60_000 }, async (t) => {
  const whole = recordings.find(({ name }) => name === "vllm/compl_stream.txt");
  assert.ok(whole);
  const bodyAt = whole.bytes.indexOf("\r\n\r\n") + 4;
  const finishAt = whole.bytes.indexOf('"finish_reason":"');
  assert.ok(finishAt > bodyAt);
  const ends = [
    bodyAt,
    bodyAt + 1,
    ...[0.3, 0.6, 0.99].map((share) => Math.floor(bodyAt + share * (finishAt - bodyAt))),
  ];
  const server = await startReplay(
    ends.map((end) => ({ pieces: randomSplits(whole.bytes.subarray(0, end), end), close: true })),
  );
  t.after(server.stop);
  const { requests } = await run("concurrency-sweep", settings(server.origin, "completions", ends.length));
  assert.deepEqual(
    requests.map((request) => request.outcome === "failed" && request.failure),
    ends.map(() => "truncated"),
  );
});
