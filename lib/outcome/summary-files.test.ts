import assert from "node:assert/strict";
import { test } from "node:test";
import type { LevelSummary, RunReport, Second, Summary } from "../figures/level-summary";
import { statsOf } from "../figures/percentile";
import { parseConfig } from "../settings/parse-config";
import { concludeRun } from "./summary-files";

const none = statsOf([]);
const declaration = { scenario: "concurrency-sweep", defaults: {}, uses: [] };
const config = { ...parseConfig(declaration, { BASE_URL: "http://127.0.0.1:1/v1" }, () => ""), RESULTS: "out" };

/** A run of one level of four clients, whose latency at second t is so many ms. */
function reportOf(meanMs: (t: number) => number): RunReport {
  const stats = {
    outputSpeed: none,
    ttftMs: none,
    tpotMs: none,
    itlMs: none,
    e2eMs: statsOf([100]),
    queueDelayMs: none,
  };
  const level = {
    ...{ name: "c4", concurrency: 4, requests: 400, completed: 400, failed: 0, failures: {}, statuses: {}, labels: {} },
    ...{ windowStartS: 1, durationS: 20, requestThroughput: 20, outputThroughput: 0, outputTokens: 0, inputTokens: 0 },
    ...stats,
  } as unknown as LevelSummary;
  const seconds = Array.from(
    { length: 20 },
    (_, t) => ({ t, succeeded: 20, outputTokens: 0, meanMs: meanMs(t) }) as Second,
  );
  return {
    ...{ startUnixMs: 0, durationS: 21, levels: [level], total: level, seconds, ended: "complete" },
    validity: { state: "VALID", reasons: [] } as unknown as RunReport["validity"],
    versions: { tokenclock: "", k6: "", go: "", os: "" },
  };
}

function concluded(
  meanMs: (t: number) => number,
  report: RunReport = reportOf(meanMs),
): { summary: Summary; stdout: string } {
  const files: Record<string, string> = {};
  const { output } = concludeRun(
    {
      config,
      ...{ shown: {}, report, metrics: {}, digests: {}, own: {}, notes: [] },
      gates: { thresholds: {} } as never,
    },
    (path, text) => {
      files[path] = text;
      return "";
    },
  );
  return { summary: JSON.parse(files["out/summary.json"] ?? "{}"), stdout: output.stdout ?? "" };
}

test("whether a level was steady is in the table, in summary.json and in the notes", () => {
  const steady = concluded((t) => 100 + (t % 3));
  assert.equal(steady.summary.levels[0]?.steady?.state, "steady");
  assert.match(steady.stdout, /steady\n.* yes$/m);
  assert.equal(steady.summary.notes, undefined);

  const never = concluded((t) => 100 + 10 * t);
  assert.equal(never.summary.levels[0]?.steady?.state, "never");
  assert.match(never.stdout, /note: c4 was never steady: latency rose by \S+ % of its mean in 20 s/);
  assert.match(never.summary.notes?.join() ?? "", /c4 was never steady/);

  const cold = concluded((t) => (t < 4 ? 300 - 40 * t : 100 + (t % 3)));
  assert.equal(cold.summary.levels[0]?.steady?.fromS, 5);
  assert.match(cold.stdout, /c4 was steady only after 4 s of its window/);
});

test("a message that an earlier level had is not repeated", () => {
  const report = reportOf(() => 100);
  const failing = (name: string, message: string) =>
    ({
      ...report.levels[0],
      ...{ name, failed: 1, failures: { http_4xx: 1 }, failureMessages: { http_4xx: message } },
    }) as LevelSummary;
  const levels = [failing("b1", "Not Found"), failing("b2", "Not Found"), failing("b4", "too long")];
  const { stdout } = concluded(() => 100, { ...report, levels });
  assert.match(
    stdout,
    /^b1 failed: http_4xx 1\n {2}http_4xx: Not Found\nb2 failed: http_4xx 1\nb4 failed: http_4xx 1\n {2}http_4xx: too long$/m,
  );
});
