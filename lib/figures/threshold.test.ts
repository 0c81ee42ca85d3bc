import assert from "node:assert/strict";
import { test } from "node:test";
import { samplesNeeded as earlyStopping } from "../../report/judge/early-stopping";
import { type MetricName, metrics } from "./metrics-table";
import { gatesEveryRun, parseThreshold, samplesNeeded, type Threshold } from "./threshold";

const allowed: Record<string, string[]> = {
  Trend: ["avg", "min", "max", "med", "p(95)", "p(100)", "p(99.9)"],
  Counter: ["count"],
  Gauge: ["value"],
  Rate: ["rate"],
};
const every = Object.values(allowed).flat();
const operators = ["<", "<=", ">", ">=", "==", "===", "!="];

for (const metric of Object.keys(metrics) as MetricName[]) {
  if (gatesEveryRun(metric)) continue;
  const { type } = metrics[metric];
  test(`${metric} has the aggregates of a ${type} and no other, with every operator`, () => {
    for (const aggregate of every) {
      for (const operator of operators) {
        const parse = (): Threshold => parseThreshold(metric, `${aggregate}${operator}12.5`);
        if (!allowed[type]?.includes(aggregate)) {
          assert.throws(parse, /a (Trend|Counter|Gauge|Rate) has (avg, min, max, med, p\(N\)|count|value|rate)/);
          continue;
        }
        const { operator: parsed, ...rest } = parse();
        assert.deepEqual([rest.aggregate, rest.limit], [aggregate, 12.5]);
        assert.equal(parsed, operator === "===" ? "==" : operator);
      }
    }
  });
}

for (const [metric, expression, message] of [
  ["llm_output_tokens", "rate>1900", /a Counter has count; for tokens a second use llm_output_throughput/],
  ["llm_requests", "rate>5", /use llm_request_throughput/],
  ["llm_failures", "rate<0.01", /use llm_request_failed/],
  ["llm_ttft", "p(0.95)<200", /N of p\(N\) is per cent, from 1 to 100/],
  ["llm_ttft", "p(101)<200", /from 1 to 100/],
  ["llm_ttft", "p95<200", /is not a threshold/],
  ["llm_ttft", "p(95)=<200", /is not a threshold/],
  ["llm_ttft", 200, /llm_ttft: 200 is not a threshold/],
  ["llm_tfft", "p(95)<200", /llm_tfft is not a metric/],
  ["constructor", "p(95)<200", /is not a metric/],
  ["llm_client_bound", "value<1", /already gates every run/],
  ["llm_samples", "value>1", /already gates every run/],
] as const) {
  test(`${metric} ${expression} is refused`, () => assert.throws(() => parseThreshold(metric, expression), message));
}

for (const [expression, needed, why] of [
  ["p(99)<200", 459, "0.99^459 is the first power of 0.99 below 1 %"],
  ["p(95)<=200", 90, ""],
  ["p(10)>20", 44, "nine tenths must be above"],
  ["p(90)>20", 2, "a tenth must be above: one sample that is leaves a doubt of 0.1, two of 0.01"],
  ["med<10", 7, ""],
  ["rate<=0.01", 459, "a failure share is a share like any other"],
  ["rate>0.9", 44, "so is goodput"],
  ["rate<=0", 1, "no failure at all is a demand on the run itself"],
  ["p(100)<200", 1, "the greatest is the run's own"],
  ["max<200", 1, ""],
  ["value>20", 1, ""],
  ["count<1", 1, ""],
  ["p(95)==100", Number.POSITIVE_INFINITY, "no number of samples shows that"],
] as const) {
  test(`${expression} needs ${needed} samples at least ${why}`, () => {
    assert.equal(samplesNeeded(expression, 0.99), needed);
  });
}

test("the samples needed are those of early stopping without a sample beyond the limit, at any confidence", () => {
  for (const percent of [50, 75, 90, 95, 99, 99.9]) {
    for (const confidence of [0.8, 0.9, 0.95, 0.99, 0.999]) {
      assert.equal(
        samplesNeeded(`p(${percent})<1`, confidence),
        earlyStopping(0, percent / 100, { confidence, tolerance: 0 }),
        `p(${percent}) with ${confidence}`,
      );
    }
  }
});
