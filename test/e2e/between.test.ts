/** BETWEEN: prefill-decode as two runs of `npm start` with a command of the user's between them, and who refuses it. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { root } from "../../build/paths";
import type { Summary } from "../../lib/figures/level-summary";
import { withAttempts } from "../support/attempts";
import { type ChildEnd, startChild } from "../support/child";
import { near } from "../support/near";
import { trueSpanS } from "../support/reported";
import { readRecords, requestsIn, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";
import { sum } from "../support/statistics";

const exact = { relative: 1e-9, absolute: 1e-9 };
const small = { CONCURRENCY: "2", REQUESTS: "8", INPUT_TOKENS: "200", OUTPUT_TOKENS: "16", THRESHOLDS: "none" };
const secret = "sk-between-77c";

/** `npm start` as a user types it, its results in `dir`. */
function npmStart(scenario: string, settings: Record<string, string>, dir: string): Promise<ChildEnd> {
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  const env = { ...process.env, TOKENCLOCK_RESULTS: dir };
  return startChild("npm", ["start", scenario, "--", ...flags], { cwd: root, env, timeoutMs: 100_000 }).ended;
}

/** A command line of node for any shell; the script must hold no double quotes. */
const node = (script: string) => `"${process.execPath}" -e "${script}"`;

test("both phases run with the command between them, and the report joins them", { timeout: 240_000 }, async (t) => {
  const server = await startServer(
    ...["--max-num-seqs", "1", "--step-time", "10ms", "--prefill-rate", "20000", "--server-dev-mode"],
    "--enable-prefix-caching",
  );
  t.after(server.stop);
  await withAttempts(t, async () => {
    await server.reset();
    const dir = scratchDir();
    const marker = path.join(dir, "marker.json").replaceAll("\\", "/");
    // It knows the server from its environment, and writes down how far the server's work was when it ran.
    const script = [
      "const at = (path) => new URL(path, process.env.BASE_URL)",
      "(async () => {",
      "  const reply = await fetch(at('/reset_prefix_cache'), { method: 'POST' })",
      "  const { requestCount, outputTokens } = await (await fetch(at('/truth'))).json()",
      "  const seen = { status: reply.status, requestCount, outputTokens }",
      `  require('fs').writeFileSync('${marker}', JSON.stringify(seen))`,
      "  console.log('the cache is empty now')",
      "})()",
    ].join("; ");
    const command = `${node(script.replaceAll("{; ", "{ "))} ${secret}`;
    const { code, stdout, stderr } = await npmStart(
      "prefill-decode",
      { ...small, BASE_URL: server.baseUrl, BETWEEN: command },
      dir,
    );
    assert.equal(code, 0, stderr + stdout);
    assert.match(stdout, /^the cache is empty now$/m, "the command's output is shown");
    assert.deepEqual(JSON.parse(readFileSync(marker, "utf8")), { status: 200, requestCount: 8, outputTokens: 128 });

    const truth = await server.truth();
    assert.equal(truth.requestCount, 16);
    const salts = new Set<unknown>();
    const [full, prefill] = ["full", "prefill"].map((phase) => {
      const folder = path.join(dir, phase);
      const { config, levels } = JSON.parse(readFileSync(path.join(folder, "summary.json"), "utf8")) as Summary;
      salts.add(config.SALT);
      assert.deepEqual([config.PHASE, levels.map(({ name }) => name)], [phase, [phase]]);
      return requestsIn(readRecords(path.join(folder, "records.ndjson.gz"))).map((request) => {
        const own = truth.requests.find(({ id }) => id === request.id);
        assert.ok(own, `the server knows nothing of request ${request.id}`);
        return { request, truth: own };
      });
    });
    assert.ok(full?.length === 8 && prefill?.length === 8);
    assert.equal(
      salts.size,
      1,
      "one salt, so that the second phase sends the first one's prompts to the emptied cache",
    );
    assert.deepEqual(
      full.map(({ request }) => request.index).sort(),
      prefill.map(({ request }) => request.index).sort(),
      "the same prompts",
    );

    const input = sum(full.map((each) => each.truth.promptTokens));
    const output = sum(full.map((each) => each.truth.outputTokens));
    assert.deepEqual([input, output, sum(prefill.map((each) => each.truth.outputTokens))], [1600, 128, 8]);
    const table = JSON.parse(readFileSync(path.join(dir, "tables", "prefill_decode.json"), "utf8"));
    const [row] = table.rows as Record<string, number>[];
    const span = { absolute: 0.03, relative: 0.05 };
    near(row?.e2e_latency_s, trueSpanS(full), "e2e latency", span);
    near(row?.summarization_latency_s, trueSpanS(prefill), "summarization latency", span);
    const [e2eS, summarizationS] = [Number(row?.e2e_latency_s), Number(row?.summarization_latency_s)];
    near(row?.input_tokens, input, "input tokens", exact);
    near(row?.generated_tokens, output, "generated tokens", exact);
    near(row?.generation_latency_s, e2eS - summarizationS, "generation latency", exact);
    near(row?.summarization_throughput_tokens_per_s, input / summarizationS, "summarization throughput", exact);
    near(row?.e2e_throughput_tokens_per_s, output / e2eS, "e2e throughput", exact);
    near(row?.generation_throughput_tokens_per_s, output / (e2eS - summarizationS), "generation throughput", exact);
    assert.match(readFileSync(path.join(dir, "report.html"), "utf8"), /Prefill and decode/);
    assert.match(stdout, /^input tokens 1600, generated tokens 128\ne2e \S+ s = summarization \S+ s \+ generation /m);

    // npm itself shows the command line that it was given; what comes after is ours.
    const ours = stdout.slice(stdout.indexOf("tokenclock:"));
    assert.ok(!(ours + stderr).includes(secret));
    for (const file of readdirSync(dir, { recursive: true, encoding: "utf8" })) {
      if (!/\.\w+$/.test(file)) continue;
      const bytes = readFileSync(path.join(dir, file));
      assert.ok(!(file.endsWith(".gz") ? gunzipSync(bytes) : bytes).includes(secret), file);
    }
  });
});

test("a missed threshold of the first phase is the exit code of both", { timeout: 120_000 }, async (t) => {
  // 16 tokens take 750 ms at least, one takes next to nothing: only the full phase misses the SLO.
  const server = await startServer("--ttft", "1ms", "--itl", "50ms");
  t.after(server.stop);
  const dir = scratchDir();
  const settings = { ...small, BASE_URL: server.baseUrl, SLO_E2E: "700", BETWEEN: node("process.exit(0)") };
  const { code, stdout } = await npmStart("prefill-decode", settings, dir);
  assert.equal(code, 99, stdout);
  assert.match(stdout, /^FAIL llm_e2e_latency\{level:full\}/m);
  assert.ok(existsSync(path.join(dir, "prefill", "summary.json")), "the second phase ran all the same");
  assert.ok(existsSync(path.join(dir, "report.html")));
});

test("a command that fails ends the run before the second phase", { timeout: 120_000 }, async (t) => {
  const server = await startServer();
  t.after(server.stop);
  const dir = scratchDir();
  const settings = { ...small, BASE_URL: server.baseUrl, BETWEEN: `${node("process.exit(3)")} ${secret}` };
  const { code, stderr } = await npmStart("prefill-decode", settings, dir);
  assert.equal(code, 108, stderr);
  assert.match(
    stderr,
    /^tokenclock: the command of BETWEEN ended with exit code 3, so the prefill phase was not run$/m,
  );
  assert.equal((await server.truth()).requestCount, 8);
  assert.ok(!existsSync(path.join(dir, "prefill")));
});

test("another scenario and k6 alone refuse it before any load, and run nothing", { timeout: 120_000 }, async (t) => {
  const server = await startServer();
  t.after(server.stop);
  const marker = path.join(scratchDir(), "marker").replaceAll("\\", "/");
  const BETWEEN = `${node(`require('fs').writeFileSync('${marker}', '')`)} ${secret}`;
  const settings = { ...small, BASE_URL: server.baseUrl, BETWEEN };
  const other = await npmStart("concurrency-sweep", settings, scratchDir());
  assert.equal(other.code, 104, other.stderr);
  assert.match(other.stderr, /^tokenclock: BETWEEN is for prefill-decode only: concurrency-sweep has no phases$/m);
  for (const [scenario, line] of [
    ["prefill-decode", /tokenclock: BETWEEN is set, but only `npm start prefill-decode` can run commands/],
    ["concurrency-sweep", /tokenclock: concurrency-sweep does not use BETWEEN/],
  ] as const) {
    const { code, stdout, stderr } = await run(scenario, settings);
    assert.equal(code, 104, stderr);
    assert.match(stderr, line);
    assert.ok(!(stdout + stderr).includes(secret));
  }
  assert.equal((await server.truth()).requestCount, 0);
  assert.ok(!existsSync(marker));
});
