/**
 * Servers that speak an API of their own, measured by its description and held against what they really sent. The simulated
 * server speaks each with the fields that its documents name.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { after, before, test } from "node:test";
import { root } from "../../build/paths";
import { readyWireNames, repliesWhole } from "../../lib/settings/apis";
import { describeErrors, errorsOf, pair } from "../support/error";
import { assertEndedWell, levelOf, type RunSettings, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { type SimulatedServer, startServer } from "../support/simulated";
import { quantile } from "../support/statistics";

let server: SimulatedServer;

before(async () => {
  // Lengths of their own where a server cannot be made to go on: some below the limit of 16, some cut by it.
  server = await startServer(
    ...["--ttft", "uniform:10ms,30ms", "--itl", "normal:5ms,1ms", "--natural-output-tokens", "16", "--reasoning", "2"],
  );
});
after(() => server.stop());

const small: RunSettings = {
  ...{
    CONCURRENCY: 6,
    REQUESTS: 12,
    WARMUP: 0,
    INPUT_TOKENS: 40,
    OUTPUT_TOKENS: 16,
    THRESHOLDS: "none",
    CACHE: "warm",
  },
};

/** BASE_URL of each: with /v1 where the API's own address has it. */
const baseOf = (api: string) => (["speech", "rerank", "score"].includes(api) ? server.baseUrl : server.origin);

/** What the records of an API cannot have, because its server does not say it. */
const unsaid: Record<string, { finish?: true; usage?: true }> = {
  triton: { finish: true, usage: true },
  kserve: { finish: true, usage: true },
  speech: { finish: true },
};

for (const api of readyWireNames.filter((each) => !repliesWhole(each))) {
  test(`API=${api}: times, counts and ends are the server's own`, async (t) => {
    await server.reset();
    const named = api === "triton" || api === "kserve" || api === "converse";
    const more: RunSettings = named ? { MODEL: "tiny" } : {};
    const ended = await run("concurrency-sweep", { ...small, ...more, BASE_URL: baseOf(api), API: api });
    assertEndedWell(ended);
    const truth = await server.truth();
    const pairs = pair(ended.requests, truth.requests);
    assert.equal(pairs.length, 12);
    const { ttftMs, gapMs } = errorsOf(pairs);
    t.diagnostic(describeErrors("TTFT", ttftMs));
    t.diagnostic(describeErrors("gaps", gapMs));
    // A busy machine moves a few stamps; a client that takes another event for the first token is off by 5 ms and more.
    assert.ok(quantile(ttftMs, 0.5) < 1 && quantile(gapMs, 0.5) < 1, "the median is off");
    for (const { request, truth } of pairs) {
      const { usage, finish } = unsaid[api] ?? {};
      assert.equal(request.tokenSource, usage ? "chunks" : "usage");
      assert.equal(request.outputTokens, truth.outputTokens);
      if (finish) assert.equal(request.finishReason ?? "", "");
      else
        assert.match(
          request.finishReason ?? "",
          truth.finishReason === "stop" ? /stop|eos|end_turn/ : /length|limit|max_tokens/,
        );
    }
    const lengths = new Set(pairs.map(({ truth }) => truth.outputTokens));
    const forced = api === "sglang" || api === "llama-completion";
    if (forced) assert.deepEqual([...lengths], [16]);
    else if (api !== "triton") assert.ok(lengths.size > 1, "a model that ends as it likes");
  });
}

for (const api of ["rerank", "score"]) {
  test(`API=${api}: replies with eight items each, timed as a whole`, async () => {
    await server.reset();
    const ended = await run("concurrency-sweep", { ...dropLength(small), BASE_URL: baseOf(api), API: api });
    assertEndedWell(ended);
    const truth = await server.truth();
    for (const { request, truth: told } of pair(ended.requests, truth.requests)) {
      assert.equal(request.outcome, "completed", JSON.stringify(request));
      assert.deepEqual([request.inputTokens, request.outputTokens ?? 0], [told.promptTokens, 0]);
    }
  });
}

function dropLength({ OUTPUT_TOKENS: _, ...others }: RunSettings): RunSettings {
  return others as RunSettings;
}

for (const api of ["ollama-chat", "tgi", "sglang", "converse"]) {
  test(`API=${api} with STREAM=false: whole replies`, async () => {
    await server.reset();
    const more: RunSettings = api === "converse" ? { MODEL: "tiny" } : {};
    const ended = await run("concurrency-sweep", {
      ...small,
      ...more,
      BASE_URL: baseOf(api),
      API: api,
      STREAM: "false",
    });
    assertEndedWell(ended);
    for (const { request, truth } of pair(ended.requests, (await server.truth()).requests)) {
      assert.equal(request.outcome, "completed", JSON.stringify(request));
      assert.equal(request.outputTokens, truth.outputTokens);
      assert.deepEqual(request.arrivals ?? [], []);
    }
  });
}

test("API=custom: a file of one's own, and what it gets wrong", async () => {
  await server.reset();
  const file = path.join(scratchDir(), "mine.json");
  const [, example = ""] = /```json\n([\s\S]*?)```/.exec(readFileSync(path.join(root, "docs/wires.md"), "utf8")) ?? [];
  const wire = JSON.parse(example);
  const save = (change: object) => writeFileSync(file, JSON.stringify({ ...wire, ...change }));
  const settings = { ...small, BASE_URL: server.origin, API: "custom", WIRE: file };
  save({});
  const ended = await run("concurrency-sweep", settings);
  assertEndedWell(ended);
  errorsOf(pair(ended.requests, (await server.truth()).requests));

  const wrong: [object, RegExp][] = [
    [{ response: { ...wire.response, txet: "/a" } }, /mine\.json: response has an unknown field \\*"txet\\*"/],
    [
      { response: { ...wire.response, text: "message" } },
      /mine\.json: response\.text is \\*"message\\*": a JSON pointer begins/,
    ],
    [{ response: { ...wire.response, text: undefined } }, /mine\.json: response\.text is missing/],
    [
      { request: { ...wire.request, body: { model: "{{model}}" } } },
      /mine\.json: request\.body has no place for the prompt/,
    ],
  ];
  for (const [change, line] of wrong) {
    save(change);
    await server.reset();
    const refused = await run("concurrency-sweep", settings);
    assert.equal(refused.code, 104, refused.stderr);
    assert.match(refused.stderr, line);
    assert.doesNotMatch(refused.stderr, /GoError|\\tat /);
    assert.equal((await server.truth()).requestCount, 0, "no load");
  }

  // The names of another server: no output is found, and nothing is completed by its counts.
  save({ response: { ...wire.response, text: "/response", reasoning: undefined } });
  const other = await run("concurrency-sweep", settings);
  assert.deepEqual(levelOf(other.summary, "c6").failures, { malformed: 12 });
  for (const request of other.requests)
    assert.match((request.outcome === "failed" && request.message) || "", /\{"model":"simulated"/);
});

test("Azure's address: the version stays behind the path, and the key has its own header; images go as they are", async () => {
  const seen: { url?: string; headers: http.IncomingHttpHeaders; body: string }[] = [];
  const azure = http.createServer((request, response) => {
    let body = "";
    request.on("data", (piece) => {
      body += piece;
    });
    request.on("end", () => {
      seen.push({ url: request.url, headers: request.headers, body });
      if (!request.url?.includes("/chat/completions")) return void response.writeHead(404).end();
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      const chunk = (delta: object, finish: string | null) =>
        `data: ${JSON.stringify({ object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
      response.end(`${chunk({ content: "a" }, null)}${chunk({}, "stop")}data: [DONE]\n\n`);
    });
  });
  await new Promise<void>((ready) => azure.listen(0, "127.0.0.1", ready));
  try {
    const { port } = azure.address() as AddressInfo;
    const rows = path.join(scratchDir(), "rows.jsonl");
    const image = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };
    const audio = { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } };
    const content = [{ type: "text", text: "What is it?" }, image, audio];
    writeFileSync(rows, `${JSON.stringify({ messages: [{ role: "user", content }] })}\n`);
    const ended = await run(
      "concurrency-sweep",
      {
        ...{
          CONCURRENCY: 1,
          REQUESTS: 2,
          WARMUP: 0,
          THRESHOLDS: "none",
          IGNORE_EOS: "false",
          CACHE: "warm",
          MODEL: "gpt",
        },
        ...{ BASE_URL: `http://127.0.0.1:${port}/openai/deployments/gpt?api-version=2024-10-21`, DATASET: rows },
      },
      { env: { API_KEY: "azure-key" } },
    );
    assertEndedWell(ended);
    const asked = seen.filter(({ url }) => url?.includes("/chat/"));
    assert.equal(asked.length, 2);
    for (const { url, headers, body } of asked) {
      assert.equal(url, "/openai/deployments/gpt/chat/completions?api-version=2024-10-21");
      assert.deepEqual([headers["api-key"], headers.authorization], ["azure-key", undefined]);
      assert.deepEqual(JSON.parse(body).messages[0].content, content);
    }
    assert.doesNotMatch(JSON.stringify(ended.records) + ended.stdout + ended.stderr, /azure-key/);
  } finally {
    azure.close();
  }
});

/** What Google's OpenAI mode sends: https://ai.google.dev/gemini-api/docs/openai; Vertex AI names its thinking in the usage of the last chunk. */
for (const { name, base, model, vertex } of [
  { name: "Gemini", base: "/v1beta/openai", model: "gemini-3.1-flash", vertex: false },
  {
    ...{ name: "Vertex AI", base: "/v1/projects/p/locations/global/endpoints/openapi" },
    ...{ model: "google/gemini-3.1-flash", vertex: true },
  },
]) {
  test(`${name}'s OpenAI mode: thoughts, times and counts are the server's own`, async (t) => {
    const gapMs = 120;
    const sent = new Map<unknown, { gaps: number[] }>();
    const asked: { url: string; authorization: string | undefined; fields: string[] }[] = [];
    const known = ["model", "messages", "max_tokens", "stream", "stream_options", "temperature", "extra_body"];
    const google = http.createServer((request, response) => {
      let text = "";
      request.on("data", (piece) => {
        text += piece;
      });
      request.on("end", async () => {
        const receivedMs = performance.now();
        const { url = "", headers } = request;
        if (url === `${base}/models`)
          return void response.end(`{"object":"list","data":[{"id":"${model}","object":"model"}]}`);
        if (url !== `${base}/chat/completions`) return void response.writeHead(404).end();
        const body = JSON.parse(text);
        asked.push({ url, authorization: headers.authorization, fields: Object.keys(body) });
        const unknown = Object.keys(body).find((field) => !known.includes(field));
        if (unknown !== undefined) {
          response.writeHead(400, { "Content-Type": "application/json; charset=UTF-8" });
          const message = `Invalid JSON payload received. Unknown name "${unknown}": Cannot find field.`;
          return void response.end(JSON.stringify([{ error: { code: 400, message, status: "INVALID_ARGUMENT" } }]));
        }
        response.writeHead(200, { "Content-Type": "text/event-stream" });
        const times: number[] = [];
        const say = (delta: object, completion: number, finish?: string) => {
          const all = { prompt_tokens: 7, completion_tokens: completion, total_tokens: 7 + completion + 20 };
          const named = { ...all, completion_tokens_details: { reasoning_tokens: 20 } };
          const usage = vertex
            ? finish
              ? { usage: { ...named, extra_properties: { google: { traffic_type: "ON_DEMAND" } } } }
              : {}
            : { usage: all };
          const choice = { delta: { role: "assistant", ...delta }, ...(finish && { finish_reason: finish }), index: 0 };
          const chunk = { choices: [choice], created: 1, id: "x", model, object: "chat.completion.chunk", ...usage };
          times.push(performance.now() - receivedMs);
          response.write(`data: ${JSON.stringify(chunk)}\r\n\r\n`);
        };
        const wait = () => new Promise((done) => setTimeout(done, gapMs));
        const thought = { extra_content: { google: { thought: true } } };
        say({ content: "<thought>Hm.", ...thought }, 0);
        await wait();
        say({ content: "</thought>Two words" }, 3);
        await wait();
        say({ content: " more", extra_content: { google: { thought_signature: "AAAA" } } }, 4, "stop");
        const [thoughtMs = 0, answerMs = 0, lastMs = 0] = times;
        sent.set(headers["x-request-id"], { gaps: [answerMs - thoughtMs, lastMs - answerMs] });
        response.end("data: [DONE]\r\n\r\n");
      });
    });
    await new Promise<void>((ready) => google.listen(0, "127.0.0.1", ready));
    t.after(() => google.close());
    const settings = {
      ...{
        CONCURRENCY: 2,
        REQUESTS: 6,
        WARMUP: 0,
        OUTPUT_TOKENS: 50,
        THRESHOLDS: "none",
        CACHE: "warm",
        API_KEY: "AIza-key",
      },
      BASE_URL: `http://127.0.0.1:${(google.address() as AddressInfo).port}${base}`,
      EXTRA_BODY: '{"extra_body":{"google":{"thinking_config":{"include_thoughts":true}}}}',
    };
    const ended = await run("concurrency-sweep", { ...settings, IGNORE_EOS: "false" });
    assertEndedWell(ended);
    assert.equal(ended.summary.config.MODEL, model);
    assert.ok(asked.every(({ authorization }) => authorization === "Bearer AIza-key"));
    assert.equal(ended.requests.length, 6);
    const off: number[] = [];
    for (const request of ended.requests) {
      assert.ok(request.outcome === "completed", JSON.stringify(request));
      const truth = sent.get(request.id);
      assert.ok(truth);
      assert.deepEqual([request.finishReason, request.tokenSource, request.inputTokens], ["stop", "usage", 7]);
      // Gemini leaves the thinking out of all but the total, which is reported as a contradiction and not made up for.
      const { tokenMismatch = false, arrivals = [] } = request;
      assert.deepEqual([request.outputTokens, tokenMismatch], vertex ? [24, false] : [4, true]);
      assert.equal(arrivals.length, 3);
      const { firstOutputNs = 0, firstNonReasonNs = 0 } = request;
      const [toAnswer = 0, toLast = 0] = truth.gaps;
      off.push((firstNonReasonNs - firstOutputNs) / 1e6 - toAnswer, (arrivals[2]?.[0] ?? 0) / 1e6 - toLast);
    }
    // A client that takes the thought for the answer, or the first chunk for the second, is off by 120 ms.
    assert.ok(Math.abs(quantile(off, 0.5)) < 40, `${off}`);

    const forced = await run("concurrency-sweep", { ...settings, IGNORE_EOS: "true", REQUESTS: 1, CONCURRENCY: 1 });
    const [refused] = forced.requests;
    assert.ok(refused?.outcome === "failed" && refused.failure === "http_4xx");
    assert.match(refused.message ?? "", /Unknown name "(ignore_eos|min_tokens)"/);
  });
}
