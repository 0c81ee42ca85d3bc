import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSettings } from "../settings/parse-settings";
import { requireMeasurable, unreachableLine } from "./measurable";

const rows: [environment: Record<string, string>, metric: string, says: RegExp | undefined][] = [
  [{ SLO_TTFT: "100" }, "llm_ttft{level:c1,phase:steady}", undefined],
  [
    { SLO_TTFT: "100", STREAM: "false" },
    "llm_ttft{level:c1,phase:steady}",
    /^SLO_TTFT=100 limits llm_ttft, and with STREAM=false no request has one$/,
  ],
  [{ STREAM: "false" }, "llm_e2e_latency{level:c1,phase:steady}", undefined],
  [{ API: "embeddings" }, "llm_ttfo{level:c1,phase:steady}", /^THRESHOLDS=smoke limits llm_ttfo, and with API=embedd/],
  [{ SLO_TPOT: "5", OUTPUT_TOKENS: "1" }, "llm_tpot{level:c1,phase:steady}", /^SLO_TPOT=5 .* OUTPUT_TOKENS=1 no/],
  [{ MAX_OUTPUT_TOKENS: "1" }, "llm_itl_p99{level:c1}", /MAX_OUTPUT_TOKENS=1 no request has one/],
  [{ OUTPUT_TOKENS: "1" }, "llm_ttft{level:c1,phase:steady}", undefined],
  [{ OUTPUT_TOKENS: "1", DATASET: "own.jsonl" }, "llm_tpot{level:c1,phase:steady}", undefined],
  [{ OUTPUT_TOKENS: "1" }, "dropped_iterations", undefined],
];
for (const [environment, metric, says] of rows) {
  test(`a limit on ${metric} with ${JSON.stringify(environment)} is ${says ? "refused" : "taken"}`, () => {
    const check = () => requireMeasurable(parseSettings(environment, {}), { [metric]: ["value<1"] });
    if (says) assert.throws(check, { message: says });
    else check();
  });
}

test("a gate that a level has too few requests for is reported, with the limit that needs the most", () => {
  const thresholds = {
    "llm_requests{level:c1,phase:steady}": ["count>=20"],
    "llm_ttft{level:c1,phase:steady}": ["p(95)<450", "p(99)<1000"],
    "llm_output_speed{level:c1,phase:steady}": ["p(10)>20"],
    "llm_itl_p99{level:c1}": ["value<100"],
  };
  const line = (requests: number | undefined, profile?: Parameters<typeof unreachableLine>[2]) =>
    unreachableLine(parseSettings({ THRESHOLDS: "interactive" }, {}), thresholds, profile, [{ name: "c1", requests }]);
  assert.match(
    line(200),
    /^level c1 has 200 requests: too few .* THRESHOLDS=interactive .* llm_ttft p\(99\)<1000 needs 459$/,
  );
  assert.equal(line(459), "");
  const ofRun = {
    "llm_ttft{level:c1,phase:steady}": ["p(100)<1000", "max<1000"],
    "llm_itl_p99{level:c1}": ["value<9"],
  };
  const one = [{ name: "c1", requests: 1 }];
  assert.equal(unreachableLine(parseSettings({}, {}), ofRun, undefined, one), "", "the run's own figures need no more");
  assert.equal(line(undefined), "", "by time: nobody knows how many");
  const rates = [{ name: "c1", fromRate: 0, toRate: 20, durationMs: 20_000 }];
  const settings = parseSettings({}, {});
  assert.match(unreachableLine(settings, thresholds, undefined, rates), /^level c1 has 200 requests/);
  assert.equal(unreachableLine(settings, thresholds, undefined, [{ ...rates[0], name: "c1", phase: "warmup" }]), "");
  const profile = { minRequests: 1, maxFailureShare: 0.001, limits: {} };
  assert.match(line(1000, profile), /a failure share of 0\.001 needs 4603$/);
  assert.equal(line(459, { ...profile, maxFailureShare: 0 }), "", "no failure at all is counted, not estimated");
});
