/** A soak finds a server that gets slower, and passes one that does not: the verdict, the exit code, the gate and the report. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import type { Summary } from "../../lib/figures/level-summary";
import type { LevelLine, RequestLine } from "../../lib/figures/records";
import { foldSlices } from "../../lib/figures/slices";
import { gate, gateConfig } from "../../report/cli/gate";
import { main as merge } from "../../report/cli/merge";
import { renderReport } from "../../report/page/render";
import { readResults } from "../../report/read/read";
import { withAttempts } from "../support/attempts";
import { type RunSettings, readRecords, run } from "../support/run";
import { runTogether } from "../support/runners";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const limits = { timeout: 120_000 };

const settings: RunSettings = {
  ...{ DURATION: "5s", WARMUP: "300ms", CONCURRENCY: 4, INPUT_TOKENS: 8, OUTPUT_TOKENS: 6 },
};

test("a server that slows by 3 % of its times a second fails, one that does not passes", limits, async (t) => {
  await withAttempts(t, async () => {
    // Accelerated: in these 5 s the slow one changes by what 1 % a minute makes of a soak of a quarter of an hour.
    const [slows, steady] = await Promise.all(
      [["--slow-down", "0.03"], []].map(async (flags) => {
        const server = await startServer("--ttft", "20ms", "--itl", "5ms", ...flags);
        t.after(server.stop);
        return run("soak", { ...settings, BASE_URL: server.baseUrl });
      }),
    );
    assert.ok(slows && steady);
    assert.equal(steady.code, 0, steady.stdout);
    assert.equal(slows.code, 99, slows.stdout);
    assert.match(slows.stdout, /^FAIL llm_tpot\{level:c4\} drift \d+(\.\d+)? %, limit <= 5 %$/m);
    assert.match(slows.stdout, /^llm_ttft: \+\d+\.\d % over the window, p < 0\.\d+: worse$/m);
    const drift = (of: typeof slows) =>
      (of.summary.thresholds ?? []).filter(({ expression }) => /^(drift|growth)/.test(expression));
    assert.deepEqual(
      drift(steady).map(({ metric, level, result }) => [metric, level, result]),
      ["llm_ttft", "llm_tpot", "llm_output_throughput", "client_memory"].map((metric) => [metric, "c4", "passed"]),
    );
    const tpot = drift(slows).find(({ metric }) => metric === "llm_tpot");
    assert.equal(tpot?.result, "violated");
    // The server's times grow from some 3 % to some 18 %: by about 15 % from the first request to the last, 13 % between the tenths' middles.
    assert.ok((tpot?.value ?? 0) > 8 && (tpot?.value ?? 0) < 18, `${tpot?.value} %`);

    for (const ended of [slows, steady]) {
      const [level] = ended.summary.levels;
      const line = ended.records.find((each): each is LevelLine => each.type === "level" && each.name === "c4");
      assert.ok(level?.slices && line);
      assert.equal(level.slices.length, 10);
      assert.ok(
        level.slices.every(({ clientMB = 0 }) => clientMB > 10),
        "the client's memory is known",
      );
      const folded = foldSlices(ended.requests, line, 10);
      for (const [k, slice] of level.slices.entries()) {
        const { ttftMs, tpotMs, runnersMB, ...counts } = slice;
        assert.equal(runnersMB, undefined, "one client");
        const { ttftMs: ttft, tpotMs: perToken, runnersMB: _, ...own } = folded[k] ?? slice;
        for (const [name, value = Number.NaN] of Object.entries(counts))
          assert.ok(Math.abs(value - (own[name as keyof typeof own] ?? Number.NaN)) < 1e-6, `${name} of part ${k}`);
        for (const [a, b] of [
          [ttftMs, ttft],
          [tpotMs, perToken],
        ] as const)
          assert.ok(a.count === b.count && Math.abs(a.p50 - b.p50) < 1e-6, `part ${k}: the records say the same`);
      }
      const results = await readResults(ended.dir, { itl: true });
      const gated = gate(results, gateConfig(results, {}));
      assert.equal(gated.state === "failed", ended === slows, "the gate knows of the drift");
      await renderReport(ended.dir);
      const page = readFileSync(path.join(ended.dir, "report.html"), "utf8");
      assert.match(
        page,
        ended === slows ? /The median TPOT rises by .* more than the 5 %/ : /The median TPOT shows no drift/,
      );
      assert.ok(readFileSync(path.join(ended.dir, "tables", "parts_c4.csv"), "utf8").split("\n").length > 10);
    }
  });
});

test(
  "a soak of two runners is judged once, over all requests, and the memory of each client by part",
  limits,
  async (t) => {
    await withAttempts(t, async () => {
      const judged = await Promise.all(
        [["--slow-down", "0.03"], []].map(async (flags) => {
          const server = await startServer("--ttft", "20ms", "--itl", "5ms", ...flags);
          t.after(server.stop);
          // A soak without room for memory: k6's own heap settles within a run's first seconds.
          const memory: RunSettings = flags.length > 0 ? {} : { CLIENT_MEMORY_LIMIT: 0 };
          const load = { ...settings, ...memory, BASE_URL: server.baseUrl };
          const ended = await runTogether("soak", 2, load, { args: ["--judge", "none"] });
          for (const { code, stdout, stderr } of ended.runners) assert.equal(code, 0, stdout + stderr);
          const parts = [1, 2].map((k) => path.join(ended.coordinator.dir, `part-${k}`));
          const dir = scratchDir();
          const lines: string[] = [];
          const code = await merge([...parts, "--parts", "2", "--output", dir], (text) => lines.push(text));
          return { flags, code, stdout: lines.join("\n"), dir };
        }),
      );
      for (const { flags, code, stdout, dir } of judged) {
        const summary = JSON.parse(readFileSync(path.join(dir, "summary.json"), "utf8")) as Summary;
        const records = readRecords(path.join(dir, "records.ndjson.gz"));
        const [level, ...others] = summary.levels;
        assert.equal(others.length, 0);
        const { slices = [] } = level ?? {};
        assert.equal(slices.length, 10);
        for (const { clientMB = 0, runnersMB = [] } of slices) {
          assert.equal(runnersMB.length, 2, "each runner's memory");
          assert.ok(runnersMB.every((mb) => mb > 10) && clientMB === Math.max(...runnersMB));
        }
        const [line] = records.filter((each): each is LevelLine => each.type === "level");
        assert.deepEqual(
          line?.clientMB,
          [0, 1].map((k) => slices.map(({ runnersMB = [] }) => runnersMB[k])),
        );
        // Parts count the requests of both runners, and each limit is there once.
        const own = records.filter((each): each is RequestLine => each.type === "request");
        const inWindow = own.filter(
          ({ phase, scheduledNs = 0 }) =>
            phase === "steady" && scheduledNs >= (line?.openNs ?? 0) && scheduledNs < (line?.closeNs ?? 0),
        );
        assert.equal(
          slices.reduce((sum, { requests }) => sum + requests, 0),
          inWindow.length,
        );
        const limitsOf = (summary.thresholds ?? []).filter(({ expression }) => /^(drift|growth)/.test(expression));
        assert.deepEqual(
          limitsOf.map(({ metric }) => metric),
          ["llm_ttft", "llm_tpot", "llm_output_throughput", "client_memory"],
        );
        const result = (metric: string) => limitsOf.find((each) => each.metric === metric)?.result;
        assert.match(stdout, /runner 1 MB +runner 2 MB/);
        const page = readFileSync(path.join(dir, "report.html"), "utf8");
        assert.match(page, /Memory of runner 2/);
        // A busy machine makes the run no good for its verdict, but every limit is judged all the same.
        assert.equal(code, summary.verdict.validity === "CLIENT-BOUND" ? 98 : 99, stdout);
        if (flags.length > 0) {
          assert.deepEqual([result("llm_tpot"), result("client_memory")], ["violated", "passed"]);
        } else {
          assert.deepEqual([result("llm_tpot"), result("client_memory")], ["passed", "violated"]);
          assert.match(stdout, /^FAIL client_memory\{level:c4\} growth \S+ MB, limit <= 0 MB$/m);
        }
      }
    });
  },
);

test("a soak that is too thin to judge passes nothing, and one of several loads is refused", limits, async (t) => {
  const server = await startServer("--ttft", "20ms", "--itl", "5ms");
  t.after(server.stop);
  const thin = await run("soak", { ...settings, BASE_URL: server.baseUrl, CONCURRENCY: 1, DURATION: "1s" });
  assert.equal(thin.code, 98, thin.stdout);
  assert.match(thin.stdout, /^FAIL llm_ttft\{level:c1\} drift was not measured$/m);
  const two = await run("soak", { ...settings, BASE_URL: server.baseUrl, CONCURRENCY: "1,2" });
  assert.equal(two.code, 104);
  assert.match(two.stderr, /CONCURRENCY=1,2: soak keeps one load up all the time; set one value/);
});
