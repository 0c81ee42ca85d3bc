/** The scenarios against a real server, which closes connections, merges chunks and answers errors in its own ways. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { after, before, test } from "node:test";
import { near } from "../support/near";
import { assertEndedWell, assertGatesFailed, type EndedRun, levelOf, type RunSettings, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { type LlamaServer, missingLlamaServer, startLlamaServer } from "./llama-server";

/** Whether the client was punctual enough is no question here: one machine carries all. */
const relaxed = { THRESHOLDS: "none" };

let missing: string | undefined;
let server: LlamaServer | undefined;

before(async () => {
  missing = await missingLlamaServer();
  if (missing === undefined) server = await startLlamaServer({ slots: 8, contextPerSlot: 2048 });
});
after(() => server?.stop());

/** A test that is skipped where the server cannot be installed. */
function onServer(name: string, body: (baseUrl: string) => Promise<void>): void {
  test(`llama-server: ${name}`, { timeout: 90_000 }, async (t) => {
    if (missing !== undefined) return t.skip(missing);
    assert.ok(server);
    await body(server.baseUrl);
  });
}

/** Fails unless every request completed, whatever the server did with its connections. */
function assertAllCompleted(ended: EndedRun, count: number): void {
  const { requests, stderr } = ended;
  const failed = requests.flatMap((each) => (each.outcome === "failed" ? [`${each.failure}: ${each.message}`] : []));
  assert.deepEqual(failed, []);
  assert.equal(requests.length, count, stderr);
  assertEndedWell(ended);
}

for (const api of ["chat", "completions"]) {
  onServer(`16 streams of ${api}, forced lengths: exact token counts, and no request is lost`, async (baseUrl) => {
    const ended = await run("concurrency-sweep", {
      ...{ ...relaxed, BASE_URL: baseUrl, API: api, CONCURRENCY: 16, REQUESTS: 64, WARMUP: 0, OUTPUT_TOKENS: 24 },
    });
    assertAllCompleted(ended, 64);
    for (const request of ended.requests) {
      assert.deepEqual(
        [request.outputTokens, request.tokenSource, request.finishReason, request.status],
        [24, "usage", "length", 200],
      );
      assert.ok((request.inputTokens ?? 0) > 0 && (request.firstOutputNs ?? 0) >= (request.sentNs ?? 0));
      assert.ok((request.arrivals?.length ?? 0) <= 24, "events are not more than tokens");
    }
    const level = levelOf(ended.summary, "c16");
    assert.equal(level.outputTokens, 64 * 24);
    near(level.itlMs.count, 64 * 23, "tokens with a gap before them", { absolute: 64 * 2 });
  });
}

for (const stream of ["true", "false"]) {
  onServer(
    `its own /completion, STREAM=${stream}: read by its description, forced lengths and exact counts`,
    async (baseUrl) => {
      const ended = await run("concurrency-sweep", {
        ...{ ...relaxed, BASE_URL: baseUrl.replace(/\/v1$/, ""), API: "llama-completion", STREAM: stream },
        ...{ CONCURRENCY: 8, REQUESTS: 24, WARMUP: 0, OUTPUT_TOKENS: 24 },
      });
      assertAllCompleted(ended, 24);
      for (const request of ended.requests) {
        assert.deepEqual(
          [request.outputTokens, request.tokenSource, request.finishReason, request.status],
          [24, "usage", "limit", 200],
        );
        assert.ok((request.inputTokens ?? 0) > 0);
        const chunks = request.arrivals ?? [];
        if (stream === "false") assert.deepEqual(chunks, []);
        else assert.ok(chunks.length > 1 && chunks.length <= 24, `${chunks.length} chunks`);
        // Each event has the count so far: the tokens of the chunks are those of the whole.
        const counted = chunks.reduce((sum, [, tokens]) => sum + tokens, 0);
        if (stream === "true") assert.equal(counted, 24);
      }
    },
  );
}

onServer("lengths that vary are exact, prompts as token ids are counted exactly", async (baseUrl) => {
  const ended = await run("concurrency-sweep", {
    ...{
      ...relaxed,
      BASE_URL: baseUrl,
      API: "completions",
      TOKEN_IDS: "true",
      CONCURRENCY: 8,
      REQUESTS: 32,
      WARMUP: 0,
    },
    ...{ INPUT_TOKENS: 100, OUTPUT_TOKENS: "uniform:4:20" },
  });
  assertAllCompleted(ended, 32);
  for (const { inputTokens, outputTokens = 0 } of ended.requests) {
    // The model's tokenizer may put a token of its own in front.
    assert.ok(inputTokens === 100 || inputTokens === 101, `${inputTokens} input tokens`);
    assert.ok(outputTokens >= 4 && outputTokens <= 20);
  }
  assert.ok(new Set(ended.requests.map(({ outputTokens }) => outputTokens)).size > 3, "lengths vary");
});

const errors: { what: string; settings: RunSettings; failure: string; status: number; message: RegExp }[] = [
  {
    what: "a prompt that is too long",
    settings: { API: "completions", TOKEN_IDS: "true", INPUT_TOKENS: 3000, OUTPUT_TOKENS: 4 },
    failure: "http_4xx",
    status: 400,
    message: /exceeds the available context size/,
  },
  {
    what: "a body it cannot use",
    settings: { API: "completions", OUTPUT_TOKENS: 4, EXTRA_BODY: '{"prompt":null}' },
    failure: "http_4xx",
    status: 400,
    message: /prompt/,
  },
];
for (const { what, settings, failure, status, message } of errors) {
  onServer(`${what} is a failed request with the server's own words`, async (baseUrl) => {
    const ended = await run("concurrency-sweep", {
      ...{ BASE_URL: baseUrl, CONCURRENCY: 2, REQUESTS: 4, WARMUP: 0, ...settings },
    });
    assertGatesFailed(ended);
    const { requests, summary } = ended;
    assert.deepEqual(levelOf(summary, "c2").failures, { [failure]: 4 });
    for (const request of requests) {
      assert.equal(request.status, status);
      assert.match((request.outcome === "failed" && request.message) || "", message);
    }
  });
}

onServer("request benchmark (API=json): targets, bodies and token counts by pointer", async (baseUrl) => {
  const targets = path.join(scratchDir(), "targets.txt");
  writeFileSync(targets, "/completion\n/completions\n");
  const ended = await run("concurrency-sweep", {
    ...{ ...relaxed, BASE_URL: baseUrl, API: "json", TARGETS: targets, CONCURRENCY: "2,4", REQUESTS: 24, WARMUP: 0 },
    BODY: '{"prompt":"once upon a time","n_predict":6,"ignore_eos":true}',
    ...{ INPUT_TOKENS_POINTER: "/tokens_evaluated", OUTPUT_TOKENS_POINTER: "/tokens_predicted" },
  });
  assertAllCompleted(ended, 48);
  for (const name of ["c2", "c4"]) {
    const level = levelOf(ended.summary, name);
    assert.equal(level.outputTokens, 24 * 6);
    assert.ok(level.inputTokens >= 24 * 4);
    assert.deepEqual(level.statuses, { "200": 24 });
    assert.equal(level.e2eMs.count, 24);
  }
  assert.match(ended.stdout, /Average output tokens per request\s+6(\.0+)?$/m);
});

onServer("batches are released at once and end with every token", async (baseUrl) => {
  const ended = await run("batch-burst", {
    ...{ ...relaxed, BASE_URL: baseUrl, BATCH_SIZES: "1,4,12", RUNS: 2, WARMUP: 0, OUTPUT_TOKENS: 10 },
  });
  assertAllCompleted(ended, 2 * (1 + 4 + 12));
  for (const level of ended.summary.levels) assert.equal(level.outputTokens, 10 * (level.batchSize ?? 0), level.name);
});

test("llama-server: embeddings of single texts, all at once", { timeout: 90_000 }, async (t) => {
  if (missing !== undefined) return t.skip(missing);
  const embedder = await startLlamaServer({
    slots: 4,
    contextPerSlot: 1024,
    flags: ["--embeddings", "--pooling", "mean"],
  });
  t.after(embedder.stop);
  const ended = await run("embeddings-burst", {
    ...{ ...relaxed, BASE_URL: embedder.baseUrl, BATCH_SIZES: "1,8", RUNS: 2, WARMUP: 0, LENGTHS: "short,40" },
  });
  assertAllCompleted(ended, 2 * 2 * (1 + 8));
  for (const request of ended.requests) {
    assert.ok((request.inputTokens ?? 0) > 0, "usage counts the input");
    assert.equal(request.outputTokens ?? 0, 0);
  }
});

onServer("prompt ingestion, KV profile and generation speed run to their end", async (baseUrl) => {
  const common = { ...relaxed, BASE_URL: baseUrl, WARMUP: 0 };
  const lengths = [64, 512, 1500];
  const ingestion = await run("prompt-ingestion", {
    ...{ ...common, TOKEN_IDS: "true", INPUT_LENGTHS: lengths.join(), REQUESTS: 3 },
  });
  assertAllCompleted(ingestion, 9);
  for (const [i, level] of ingestion.summary.levels.entries()) assert.equal(level.inputTokens, 3 * (lengths[i] ?? 0));

  const profile = await run("kv-cache-profile", {
    ...common,
    CONCURRENCY: "1,4,10",
    INPUT_TOKENS: 200,
    OUTPUT_TOKENS: 20,
  });
  assertAllCompleted(profile, 15);
  const polled = JSON.parse(readFileSync(path.join(profile.dir, "server-metrics.json"), "utf8")) as {
    pages: [{ values: { metrics: string[]; points: (number | null)[][] } }];
  };
  const gauges = polled.pages[0].values;
  const running = gauges.metrics.indexOf("llamacpp:requests_processing");
  const deferred = gauges.metrics.indexOf("llamacpp:requests_deferred");
  assert.ok(running >= 0 && deferred >= 0, gauges.metrics.join());
  assert.ok(gauges.points.length > 0);
  assert.ok(Math.max(...gauges.points.map((point) => point[running + 1] ?? 0)) <= 8, "it has eight slots");

  const speed = await run("speed-generation", { ...common, CONCURRENCY: "1,4", REQUESTS: 8, OUTPUT_TOKENS: 16 });
  assertAllCompleted(speed, 16);
  for (const level of speed.summary.levels) assert.equal(level.outputTokens, 8 * 16);
});

// llama-server keeps what its slots have read; its usage tells the tokens that it did not read again.
test("llama-server: two default runs, prompt ingestion twice and prefill-decode find nothing in the cache", {
  timeout: 120_000,
}, async (t) => {
  if (missing !== undefined) return t.skip(missing);
  const fresh = await startLlamaServer({ slots: 8, contextPerSlot: 2048 });
  t.after(fresh.stop);
  const runs: [scenario: string, settings: RunSettings][] = [
    ["concurrency-sweep", { CONCURRENCY: "1,4", REQUESTS: 12, OUTPUT_TOKENS: 4 }],
    ["prompt-ingestion", { INPUT_LENGTHS: "64,512,1500", REQUESTS: 3 }],
    ["prefill-decode", { CONCURRENCY: 4, REQUESTS: 12, INPUT_TOKENS: 256, OUTPUT_TOKENS: 8 }],
    ["concurrency-sweep", { CONCURRENCY: 2, REQUESTS: 12, OUTPUT_TOKENS: 4, DATASET: "prompts" }],
  ];
  for (const [scenario, settings] of runs) {
    for (const which of "DATASET" in settings ? ["the only run"] : ["first", "second"]) {
      const before = await processed(fresh);
      const ended = await run(scenario, { ...relaxed, BASE_URL: fresh.baseUrl, ...settings });
      const { summary, requests } = ended;
      assert.deepEqual(
        requests.filter(({ outcome }) => outcome === "failed"),
        [],
      );
      const { validity, total } = summary;
      assert.deepEqual(
        validity.reasons.filter((reason) => /prefix cache/.test(reason)),
        [],
        `${which} of ${scenario}`,
      );
      assert.ok(summary.levels.every(({ cachedSource }) => cachedSource === "usage"));
      // What the server says it computed is the input but for the chat template.
      const computed = (await processed(fresh)) - before;
      near(computed, total.inputTokens - (total.cachedTokens ?? 0), "tokens computed", {
        absolute: 2 * requests.length,
      });
      if (!("DATASET" in settings) && scenario !== "concurrency-sweep")
        near(computed, total.inputTokens, "tokens computed, of an uncached run", { relative: 0.05 });
    }
  }
});

test("llama-server: CACHE=warm and a repeated SALT report the share that the server did not compute", {
  timeout: 90_000,
}, async (t) => {
  if (missing !== undefined) return t.skip(missing);
  const fresh = await startLlamaServer({ slots: 1, contextPerSlot: 2048 });
  t.after(fresh.stop);
  // One slot remembers one prompt: the one request of a run is what the next run begins with.
  const settings = {
    BASE_URL: fresh.baseUrl,
    API: "completions",
    SALT: "again",
    CONCURRENCY: 1,
    REQUESTS: 1,
    WARMUP: 0,
    INPUT_TOKENS: 400,
  };
  await run("concurrency-sweep", { ...relaxed, ...settings });
  const before = await processed(fresh);
  const warm = await run("concurrency-sweep", { ...relaxed, ...settings, CACHE: "warm" });
  const computed = (await processed(fresh)) - before;
  const level = levelOf(warm.summary, "c1");
  assert.equal(level.cachedSource, "usage");
  near(level.cachedTokens, level.inputTokens - computed, "cached tokens", { absolute: 2 });
  assert.ok((level.cachedShare ?? 0) > 0.95, `${level.cachedShare}`);
  assert.equal(warm.summary.validity.state === "CACHE-BOUND", false);
  const cold = await run("concurrency-sweep", { ...settings });
  assert.equal(cold.code, 98);
  assert.match(cold.stdout, /of the input came from the server's prefix cache \(by its usage\)/);
});

/** Prompt tokens that the server has computed so far. */
const processed = ({ origin }: LlamaServer) => metricOf(origin, "prompt_tokens_total");

/**
 * A proxy in front of the server that keeps what it says of each request itself: `timings` of the last event, by id. The end of a
 * reply goes on to the client when `ended` has.
 */
async function openTimings(origin: string, ended: (id: string) => Promise<void> = async () => {}) {
  const timings = new Map<string, { cache_n: number; prompt_n: number }>();
  const proxy = http.createServer((request, response) => {
    const headers = { ...request.headers, host: new URL(origin).host };
    const own = { method: request.method, headers, agent: false as const }; // the server closes kept connections
    const upstream = http.request(`${origin}${request.url}`, own, (reply) => {
      let text = "";
      response.writeHead(reply.statusCode ?? 502, reply.headers);
      reply.on("data", (part: Buffer) => {
        text += part;
        response.write(part);
      });
      reply.on("end", () => {
        const id = String(request.headers["x-request-id"]);
        const last = /"timings":(\{[^}]*\})/.exec(text)?.[1];
        if (!last) return response.end();
        timings.set(id, JSON.parse(last));
        void ended(id).finally(() => response.end());
      });
    });
    request.pipe(upstream);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return { baseUrl: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/v1`, timings, proxy };
}

/** A counter or gauge of the server's metrics page. */
async function metricOf(origin: string, name: string): Promise<number> {
  const page = await (await fetch(`${origin}/metrics`)).text();
  return Number(new RegExp(`^llamacpp:${name} (\\S+)$`, "m").exec(page)?.[1]);
}

onServer(
  "one conversation: after each turn the server's counters have grown by what was not cached",
  async (baseUrl) => {
    const origin = baseUrl.replace(/\/v1$/, "");
    // The turns do not overlap, and the counters are read after each reply, before the client has its end.
    const computed = new Map<string, number>();
    let before = await metricOf(origin, "prompt_tokens_total");
    const {
      baseUrl: proxied,
      timings,
      proxy,
    } = await openTimings(origin, async (id) => {
      const now = await metricOf(origin, "prompt_tokens_total");
      computed.set(id, now - before);
      before = now;
    });
    try {
      const ended = await run("conversations", {
        ...{ ...relaxed, BASE_URL: proxied, CONCURRENCY: 1, SESSIONS: 2, SESSION_TURNS: 6, INPUT_TOKENS: 50 },
        ...{ OUTPUT_TOKENS: 16, THINK_TIME: "100ms", SHARED_PREFIX: 80, METRICS_URL: "none" },
      });
      assertAllCompleted(ended, 12);
      for (const { id = "", session, turn = 0, inputTokens = 0, cachedTokens } of ended.requests) {
        const what = `turn ${turn} of ${session}`;
        assert.equal(inputTokens - (cachedTokens ?? Number.NaN), computed.get(id), `${what}: the counter's growth`);
        assert.equal(cachedTokens, timings.get(id)?.cache_n, `${what}: timings`);
        if (turn > 1) assert.ok((cachedTokens ?? 0) > 0.5 * inputTokens, `${what} repeats what came before it`);
      }
      const { turns = [] } = levelOf(ended.summary, "c1");
      for (const { turn, cachedTokens } of turns) {
        const own = ended.requests.filter((each) => each.turn === turn);
        assert.equal(
          cachedTokens,
          own.reduce((sum, { id = "", inputTokens = 0 }) => sum + inputTokens - (computed.get(id) ?? Number.NaN), 0),
          `turn ${turn}, by the counters`,
        );
      }
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  },
);

onServer("users who leave: the server stops, its gauge is 0 and it has not generated the rest", async (baseUrl) => {
  const origin = baseUrl.replace(/\/v1$/, "");
  // Its count of tokens leaves out requests that were given up; that of steps does not, and one client's token is one step.
  const steps = async () => await metricOf(origin, "n_decode_total");
  const [sessions, whole, after] = [8, 800, 20];
  const settings = { ...relaxed, BASE_URL: baseUrl, CONCURRENCY: 1, SESSIONS: sessions, SESSION_TURNS: 1 };
  // All are answered whole, and then some are given up: the server must not generate the rest of those.
  const loads: RunSettings[] = [{}, { ABANDON: `0.5:${after}tokens` }];
  for (const abandon of loads) {
    const before = await steps();
    const ended = await run("conversations", { ...settings, INPUT_TOKENS: 20, OUTPUT_TOKENS: whole, ...abandon });
    assert.equal(await metricOf(origin, "requests_processing"), 0, "nothing runs any more");
    const grown = (await steps()) - before;
    assertEndedWell(ended);
    const { abandoned = 0, completed } = levelOf(ended.summary, "c1");
    assert.equal(completed + abandoned, sessions);
    const [least, most] = [after, whole / 2].map((each) => completed * (whole - 1) + abandoned * (each - 1));
    assert.ok(
      grown >= (least ?? 0) && grown <= (most ?? 0) + 4 * sessions,
      `${grown} steps, ${abandoned} of ${sessions} were given up`,
    );
    const [freed] = ended.summary.freed ?? [];
    if ("ABANDON" in abandon) {
      assert.ok(abandoned > 1 && abandoned < sessions, `${abandoned}`);
      assert.equal(freed?.left, 0);
      assert.ok((freed?.waitedS ?? 9) < 3, "within the time that is waited");
      assert.match(ended.stdout, /the server had freed all abandoned requests/);
    } else assert.deepEqual([abandoned, freed], [0, undefined]);
  }
});

onServer("conversations: cached input by turn is what the server's own counters say", async (baseUrl) => {
  const origin = baseUrl.replace(/\/v1$/, "");
  const computed = async () => await metricOf(origin, "prompt_tokens_total");
  const { baseUrl: proxied, timings, proxy } = await openTimings(origin);
  try {
    const before = await computed();
    const ended = await run("conversations", {
      ...{ ...relaxed, BASE_URL: proxied, CONCURRENCY: 3, SESSIONS: 9, SESSION_TURNS: "uniform:2:5", INPUT_TOKENS: 40 },
      ...{ OUTPUT_TOKENS: 12, THINK_TIME: "20ms", METRICS_URL: `${origin}/metrics` },
    });
    assertAllCompleted(ended, ended.requests.length);
    const { turns = [], sessions, inputTokens, cachedTokens = 0 } = levelOf(ended.summary, "c3");
    assert.deepEqual([sessions?.completed, turns.length > 2], [9, true]);
    for (const { turn, cachedTokens, inputTokens, requests } of turns) {
      const said = ended.requests.filter((each) => each.turn === turn).map(({ id }) => timings.get(id ?? ""));
      assert.equal(said.length, requests);
      const sum = (of: (each: { cache_n: number; prompt_n: number }) => number) =>
        said.reduce((total, each) => total + (each ? of(each) : Number.NaN), 0);
      assert.equal(
        cachedTokens,
        sum((each) => each.cache_n),
        `cached in turn ${turn}`,
      );
      assert.equal(
        inputTokens,
        sum((each) => each.cache_n + each.prompt_n),
        `input of turn ${turn}`,
      );
      if (turn > 1) assert.ok(cachedTokens > 0.4 * inputTokens, `turn ${turn} repeats what came before it`);
    }
    assert.equal((await computed()) - before, inputTokens - cachedTokens, "the rest was computed");
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});
