/** What a server's prefix cache does to runs: nothing unless it is meant to, and what it did is known. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { root } from "../../build/paths";
import { startChild } from "../support/child";
import { near } from "../support/near";
import { type EndedRun, levelOf, type RunSettings, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { call, type SimulatedServer, startServer } from "../support/simulated";
import { sum } from "../support/statistics";

const limits = { timeout: 120_000 };
const engine = ["--step-time", "1ms", "--sequence-time", "10us", "--prefill-rate", "200000"];
const caching = [...engine, "--enable-prefix-caching"];

/** Whether the client was punctual enough is no question here: one machine carries all. */
const notClient = ({ summary }: EndedRun) => ({
  state: summary.validity.reasons.some((reason) => /prefix cache/.test(reason))
    ? "CACHE-BOUND"
    : "as cold as it should be",
  shares: summary.levels.map(({ cachedShare }) => cachedShare),
});

/** What the engine counted since the last reset: the truth about tokens computed, looked up and found. */
interface Counted {
  hits: number;
  queries: number;
  prefilled: number;
}

async function counted({ origin }: SimulatedServer): Promise<Counted> {
  const page = await call(`${origin}/metrics`);
  const value = (name: string) => Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, "m").exec(page)?.[1]);
  return {
    hits: value("vllm:prefix_cache_hits_total"),
    queries: value("vllm:prefix_cache_queries_total"),
    prefilled: value("simulate:prefilled_tokens_total"),
  };
}

/** Runs a scenario and tells what the engine counted meanwhile. */
async function countedRun(
  server: SimulatedServer,
  scenario: string,
  settings: RunSettings,
): Promise<{ ended: EndedRun; counts: Counted }> {
  const before = await counted(server);
  const ended = await run(scenario, { BASE_URL: server.baseUrl, ...settings });
  const after = await counted(server);
  return {
    ended,
    counts: {
      hits: after.hits - before.hits,
      queries: after.queries - before.queries,
      prefilled: after.prefilled - before.prefilled,
    },
  };
}

const twice: [scenario: string, settings: RunSettings][] = [
  ["concurrency-sweep", { CONCURRENCY: "1,4", REQUESTS: 12, OUTPUT_TOKENS: 4 }],
  ["concurrency-sweep", { API: "completions", TOKEN_IDS: "true", CONCURRENCY: 4, REQUESTS: 12, OUTPUT_TOKENS: 4 }],
  ["prompt-ingestion", { INPUT_LENGTHS: "32,512,2048", REQUESTS: 3 }],
  ["prefill-decode", { CONCURRENCY: 4, REQUESTS: 12, OUTPUT_TOKENS: 4, WARMUP: "auto" }],
  ["batch-burst", { BATCH_SIZES: "1,4", RUNS: 2, OUTPUT_TOKENS: 4 }],
];
for (const [scenario, settings] of twice) {
  test(
    `${scenario} ${JSON.stringify(settings)}: twice on one server with a prefix cache, what an uncached one computes`,
    limits,
    async (t) => {
      const [cold, plain] = [await startServer(...caching), await startServer(...engine)];
      t.after(() => Promise.all([cold.stop(), plain.stop()]));
      const uncached = await countedRun(plain, scenario, settings);
      const first = await countedRun(cold, scenario, settings);
      const second = await countedRun(cold, scenario, settings);
      for (const { ended, counts } of [first, second]) {
        near(counts.prefilled, uncached.counts.prefilled, "tokens that the engine computed", { relative: 0.05 });
        assert.equal(counts.hits, 0, "no prompt of the runs begins like another");
        assert.equal(counts.queries, counts.prefilled);
        assert.deepEqual(notClient(ended), {
          state: "as cold as it should be",
          shares: ended.summary.levels.map(() => 0),
        });
        assert.ok(ended.summary.levels.every(({ cachedSource }) => cachedSource === "server"));
        assert.match(ended.stdout, /^cached input: 0 % of the run's, by the server's counters$/m);
      }
      // Other words of the same lengths in the same order.
      const lengths = ({ requests }: EndedRun) =>
        requests
          .map(({ level, index, inputTokens, outputTokens }) => `${level} ${index} ${inputTokens} ${outputTokens}`)
          .sort();
      assert.deepEqual(lengths(second.ended), lengths(first.ended));
      const salts = [first, second].map(({ ended }) => ended.summary.config.SALT);
      assert.match(String(salts[0]), /^[0-9a-f]{16}$/);
      assert.notEqual(salts[0], salts[1]);
      const [line] = first.ended.records;
      assert.ok(line?.type === "run" && line.config.SALT === salts[0], "the records name the salt");

      // A server without such a cache looks nothing up: its share is unknown, not 0.
      assert.deepEqual([...new Set(notClient(uncached.ended).shares)], [undefined]);
      assert.match(uncached.ended.stdout, /^cached input: unknown/m);
    },
  );
}

test(
  "prefill-decode: with RESET_URL both phases send the same prompts, and the cache is empty before each",
  limits,
  async (t) => {
    const settings = { CONCURRENCY: 4, REQUESTS: 12, OUTPUT_TOKENS: 4, SALT: "same" };
    const server = await startServer(...caching, "--server-dev-mode");
    t.after(server.stop);
    // Twice the same salt: what the first run left is gone when the second one begins.
    for (let i = 0; i < 2; i++) {
      const { ended, counts } = await countedRun(server, "prefill-decode", {
        ...settings,
        RESET_URL: "/reset_prefix_cache",
      });
      assert.deepEqual([counts.hits, counts.queries], [0, 2 * 12 * 512]);
      assert.equal(notClient(ended).state, "as cold as it should be");
    }
    // An address that answers and empties nothing: what was sent before is found, and the run knows it.
    const { ended, counts } = await countedRun(server, "prefill-decode", {
      ...settings,
      SALT: "other",
      RESET_URL: "/tokenizer",
    });
    // Of 512 tokens the last block is computed always.
    assert.equal(counts.hits, 12 * (512 - 16));
    assert.equal(ended.code, 98);
    assert.deepEqual(notClient(ended).shares, [0, 496 / 512]);
    assert.equal(notClient(ended).state, "CACHE-BOUND");
  },
);

test(
  "prefill-decode: a RESET_URL that fails ends the run before any load; rows that would be sent twice are refused",
  limits,
  async (t) => {
    const server = await startServer(...caching);
    t.after(server.stop);
    const settings = { BASE_URL: server.baseUrl, CONCURRENCY: 2, REQUESTS: 4 };
    const ended = await run("prefill-decode", { ...settings, RESET_URL: "/reset_prefix_cache" });
    assert.equal(ended.code, 108, ended.stderr);
    assert.match(
      ended.stderr,
      /RESET_URL=\/reset_prefix_cache answered HTTP 404; vLLM serves .* VLLM_SERVER_DEV_MODE=1/,
    );
    const refused = await run("prefill-decode", { ...settings, DATASET: "token-ids" });
    assert.equal(refused.code, 104, refused.stderr);
    assert.match(refused.stderr, /DATASET=token-ids: both phases send the same rows.*set RESET_URL or BETWEEN/);
    assert.equal((await server.truth()).requestCount, 0);
  },
);

for (const source of ["usage", "server"] as const) {
  test(
    `CACHE=warm and a repeated SALT: the cached share is that of the server, by its ${source}`,
    limits,
    async (t) => {
      const server = await startServer(...caching, ...(source === "usage" ? ["--enable-prompt-tokens-details"] : []));
      t.after(server.stop);
      const settings = {
        SALT: "again",
        CONCURRENCY: "1,3",
        REQUESTS: 9,
        WARMUP: 0,
        INPUT_TOKENS: "uniform:20:200",
        OUTPUT_TOKENS: 2,
      };
      const first = await countedRun(server, "concurrency-sweep", settings);
      assert.equal(first.counts.hits, 0);
      await server.reset();
      await countedRun(server, "concurrency-sweep", { ...settings, CONCURRENCY: 3 });
      const { requests } = await server.truth();
      // The level that both runs have in common is answered from the cache, the other one is not.
      const half = await countedRun(server, "concurrency-sweep", { ...settings, CACHE: "warm" });
      assert.equal(
        half.ended.summary.verdict.validity === "CACHE-BOUND",
        false,
        "a warm run is not judged by its share",
      );
      const [c1, c3] = [levelOf(half.ended.summary, "c1"), levelOf(half.ended.summary, "c3")];
      assert.equal(c1.cachedShare ?? 0, 0);
      assert.ok((c3.cachedShare ?? 0) > 0.7, `${c3.cachedShare}`);
      assert.equal(c3.cachedSource, source);
      assert.equal(c3.cachedTokens, half.counts.hits);
      const input = sum(requests.map(({ promptTokens }) => promptTokens));
      near(c3.cachedShare, half.counts.hits / input, "share of the level's input", { absolute: 1e-9 });
      near(half.ended.summary.total.cachedShare, half.counts.hits / half.counts.queries, "share of the run's input", {
        absolute: 1e-9,
      });
      assert.match(half.ended.stdout, /^level .* cached/m);
      assert.equal(half.ended.summary.config.CACHE, "warm");

      // The same without the word: no gate passes.
      const cold = await countedRun(server, "concurrency-sweep", settings);
      assert.equal(cold.ended.code, 98);
      assert.equal(cold.ended.summary.verdict.pass, false);
      assert.match(
        cold.ended.stdout,
        /level c3: \d\S* % of the input came from the server's prefix cache .*CACHE=warm$/m,
      );
      const gate = await startChild(
        process.execPath,
        [path.join(root, "build", "bootstrap.cjs"), "report/cli/gate.ts", cold.ended.dir],
        {
          cwd: root,
          timeoutMs: 60_000,
        },
      ).ended;
      assert.equal(gate.code, 98, gate.stdout + gate.stderr);
      assert.match(gate.stdout + gate.stderr, /prefix cache/);
    },
  );
}

test("a limit on the cached share is judged, and one that nobody tells is not passed", limits, async (t) => {
  const [told, untold] = [await startServer(...caching), await startServer(...engine)];
  t.after(() => Promise.all([told.stop(), untold.stop()]));
  const profile = path.join(scratchDir(), "profile.json");
  const gated = (server: SimulatedServer, limit: string, more: RunSettings = {}) => {
    writeFileSync(profile, JSON.stringify({ llm_cached_share: [limit] }));
    const settings = {
      CONCURRENCY: 2,
      REQUESTS: 8,
      OUTPUT_TOKENS: 2,
      WARMUP: 0,
      THRESHOLDS: profile,
      SALT: "x",
      ...more,
    };
    return run("concurrency-sweep", { BASE_URL: server.baseUrl, ...settings });
  };
  const failing = ({ summary }: EndedRun) =>
    summary.verdict.reasons.filter((reason) => /llm_cached_share/.test(reason));
  assert.deepEqual(failing(await gated(told, "value<0.01")), []);
  assert.match(
    failing(await gated(told, "value<0.01", { CACHE: "warm" })).join(),
    /llm_cached_share\{level:c2\} value 0\.\d+/,
  );
  assert.deepEqual(failing(await gated(told, "value>0.5", { CACHE: "warm" })), []);
  const unknown = await gated(untold, "value<0.01");
  assert.equal(unknown.code, 98);
  assert.match(failing(unknown).join(), /llm_cached_share\{level:c2\} samples 0/);
});

/** A file of rows whose numbers of tokens are all different: the server's truth tells which was sent. */
function rowsFile(count: number): { file: string; tokens: number[] } {
  const tokens = Array.from({ length: count }, (_, i) => 20 + i);
  const file = path.join(scratchDir(), "rows.jsonl");
  // Four characters a token for the simulator, and another beginning for each row.
  const rows = tokens.map((n, i) => JSON.stringify({ prompt: `${i}`.padStart(4, "0") + "abcd".repeat(n - 1) }));
  writeFileSync(file, `${rows.join("\n")}\n`);
  return { file, tokens };
}

const loads: [scenario: string, settings: RunSettings, requests: number][] = [
  ["concurrency-sweep", { API: "completions", CONCURRENCY: "1,3", REQUESTS: 6, OUTPUT_TOKENS: 2 }, 1 + 6 + 3 + 6],
  ["batch-burst", { API: "completions", BATCH_SIZES: "1,3", RUNS: 2, OUTPUT_TOKENS: 2 }, 3 * 1 + 3 * 3],
  ["embeddings-burst", { BATCH_SIZES: "1,3", RUNS: 2 }, 3 * 1 + 3 * 3],
  [
    "arrival-rate-ramp",
    { API: "completions", RATE: "20,40", DURATION: "500ms", WARMUP: "200ms", OUTPUT_TOKENS: 2 },
    4 + 10 + 20,
  ],
];
for (const [scenario, settings, count] of loads) {
  test(
    `DATASET in ${scenario}: no row is sent twice before all were sent, over warm-up and levels`,
    limits,
    async (t) => {
      const server = await startServer(...caching);
      t.after(server.stop);
      const { file, tokens } = rowsFile(count);
      const ended = await run(scenario, { ...settings, BASE_URL: server.baseUrl, DATASET: file });
      const sent = (await server.truth()).requests.map(({ promptTokens }) => promptTokens);
      assert.deepEqual(
        sent.sort((a, b) => a - b),
        tokens,
        ended.stderr,
      );
      assert.doesNotMatch(ended.stderr, /each row is sent/);
      assert.equal(ended.summary.notes, undefined);
      assert.equal(notClient(ended).state, "as cold as it should be");

      const short = rowsFile(Math.floor(count / 2));
      const again = await run(scenario, { ...settings, BASE_URL: server.baseUrl, DATASET: short.file });
      const line = new RegExp(
        `DATASET=\\S+ has ${short.tokens.length} rows for ${count} requests: each row is sent [\\d.]+ times`,
      );
      assert.match(again.stderr, line);
      assert.match(again.stdout, line);
      assert.match(again.summary.notes?.join() ?? "", line);
      if (scenario !== "embeddings-burst") assert.equal(notClient(again).state, "CACHE-BOUND");
    },
  );
}

test("TRACE: a trace's prompts are salted, and its equal blocks are shared within the run alone", limits, async (t) => {
  const server = await startServer(...caching);
  t.after(server.stop);
  const trace = path.join(scratchDir(), "trace.jsonl");
  // A Mooncake block is 512 tokens, 32 of the simulator's blocks.
  const rows = [0, 100, 200].map((timestamp) => ({
    timestamp,
    input_length: 600,
    output_length: 2,
    hash_ids: [7, timestamp],
  }));
  writeFileSync(trace, rows.map((row) => JSON.stringify(row)).join("\n"));
  for (let i = 0; i < 2; i++) {
    const { ended, counts } = await countedRun(server, "arrival-rate-ramp", { API: "completions", TRACE: trace });
    // Words of a token and a quarter each: 512 tokens to within a block.
    near(counts.hits, 2 * 512, "the blocks that the second and third row find", { absolute: 2 * 16 });
    assert.equal(ended.summary.config.CACHE, "warm", "a trace with blocks is meant to be");
    near(levelOf(ended.summary, "trace").cachedShare, counts.hits / counts.queries, "cached share", { absolute: 1e-9 });
  }
});
