import assert from "node:assert/strict";
import { test } from "node:test";
import { requireMeasurable } from "./measurable";
import { parseSettings } from "./settings";

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
