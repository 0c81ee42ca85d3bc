import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { RunReport } from "../figures/level-summary";
import { conclude, type Evidence, exitCodeOf } from "./conclude";

interface Shape {
  state?: RunReport["validity"]["state"];
  ended?: RunReport["ended"];
  unsent?: string;
  completed?: number[];
  /** Why the first level was never steady. */
  never?: string;
}

function reportOf({ state = "VALID", ended = "complete", unsent, completed = [5], never }: Shape): RunReport {
  const levels = completed.map((count, i) => ({
    ...{ name: `c${i + 1}`, requests: 5, completed: count },
    steady: i === 0 && never !== undefined ? { state: "never", why: never } : { state: "steady" },
  }));
  const total = { requests: 5 * levels.length, completed: completed.reduce((a, b) => a + b, 0) };
  const reasons = state === "VALID" || state === "UNJUDGED" ? [] : ["too slow"];
  return { validity: { state, reasons }, ended, unsent, levels, total } as unknown as RunReport;
}

const ttft = { metric: "llm_ttft{level:c1,phase:steady}", expression: "p(95)<200" };
const samples = { metric: "llm_samples{level:c1,metric:llm_ttft}", expression: "value>=5" };
const requests = { metric: "llm_requests{level:c1,phase:steady}", expression: "count>=20" };
const kept = [
  { ...ttft, ok: true, value: 150 },
  { ...samples, ok: true, value: 5 },
];

function evidence(shape: Shape, more: Partial<Evidence> = {}): Evidence {
  const judged = "judged" in more ? more.judged : kept;
  const expected = Object.fromEntries((judged ?? kept).map(({ metric, expression }) => [metric, [expression]]));
  return { report: reportOf(shape), judged, expected, unwritten: [], ...more };
}

test("a limit that the script named keeps its tags, and is not measured where k6 did not judge it", () => {
  const metric = "answer_tokens{level:c1,phase:steady,turn:t1,metric:x}";
  const script = { [metric]: ["avg>=-1.5"], other: ["rate<1e-3"] };
  const judged = [...kept, { metric, expression: "avg>=-1.5", ok: true, value: 2, script: true as const }];
  const { limits, verdict } = conclude(
    evidence({}, { judged, script, expected: { ...script, [ttft.metric]: [ttft.expression] } }),
  );
  assert.deepEqual(limits.slice(kept.length), [
    {
      ...{ metric: "answer_tokens", expression: "avg>=-1.5", result: "passed", level: "c1" },
      ...{ tags: { turn: "t1", metric: "x" }, script: true, value: 2, margin: 3.5 },
    },
    { metric: "other", expression: "rate<1e-3", result: "not measured", script: true },
  ]);
  assert.ok(limits.slice(0, kept.length).every((limit) => limit.script === undefined));
  assert.equal(verdict.pass, false, "one limit was not judged");
});

test("a smoke run passes whatever its client was, and none whose requests failed", () => {
  const failures = { metric: "llm_request_failed{level:c1,phase:steady}", expression: "rate<0.01" };
  const of = (ok: boolean, smoke: boolean) =>
    conclude(evidence({ state: "CLIENT-BOUND" }, { judged: [{ ...failures, ok, value: ok ? 0 : 1 }], smoke }));
  assert.deepEqual([exitCodeOf(of(true, true)), of(true, true).verdict.pass], [0, true]);
  assert.equal(of(true, true).verdict.validity, "CLIENT-BOUND", "what it was is said");
  assert.deepEqual([exitCodeOf(of(false, true)), of(false, true).verdict.pass], [99, false]);
  assert.equal(exitCodeOf(of(true, false)), 98);
  const nothing = conclude(evidence({ state: "NOT-MEASURED", completed: [0] }, { smoke: true }));
  assert.notEqual(exitCodeOf(nothing), 0);
});

const rows: [why: string, evidence: Evidence, code: number, reason: RegExp | undefined][] = [
  ["all kept", evidence({}), 0, undefined],
  [
    "a limit violated",
    evidence({}, { judged: [{ ...ttft, ok: false, value: 250 }] }),
    99,
    /p\(95\) 250 ms, limit < 200/,
  ],
  [
    "a limit on a metric of one's own that has no values",
    evidence({}, { judged: [...kept, { metric: "my_time", expression: "p(95)<9", ok: true, value: 0, empty: true }] }),
    98,
    /^my_time p\(95\)<9 was not measured/,
  ],
  ["a slow client", evidence({ state: "CLIENT-BOUND" }), 98, /^CLIENT-BOUND: too slow$/],
  [
    "a slow client and a limit violated",
    evidence({ state: "CLIENT-BOUND" }, { judged: [{ ...ttft, ok: false, value: 250 }] }),
    98,
    /p\(95\)/,
  ],
  [
    "a slow client without a gate: measured, and not judged",
    evidence({ state: "CLIENT-BOUND" }, { judged: [], expected: {} }),
    0,
    /^CLIENT-BOUND/,
  ],
  ["cut short", evidence({ ended: "cut", unsent: "1 of 2" }), 98, /^the run was cut short: 1 of 2$/],
  ["cut short without a gate", evidence({ ended: "cut" }, { judged: [], expected: {} }), 98, /^the run was cut short$/],
  ["a level that was never steady", evidence({ never: "latency rose" }), 96, /^c1 was never steady: latency rose$/],
  [
    "the same with a limit violated",
    evidence({ never: "latency rose" }, { judged: [{ ...ttft, ok: false, value: 250 }] }),
    99,
    /^c1 was never steady/,
  ],
  ["the same without a gate", evidence({ never: "latency rose" }, { judged: [], expected: {} }), 0, undefined],
  ["the same of a test that judges how it changes", evidence({ never: "x" }, { mayChange: true }), 0, undefined],
  ["the same of a slow client", evidence({ never: "x", state: "CLIENT-BOUND" }), 98, /^CLIENT-BOUND/],
  ["interrupted", evidence({ ended: "interrupted" }), 105, /^the run was interrupted$/],
  ["a level without a completed request", evidence({ completed: [5, 0] }), 98, /^no request of c2 completed$/],
  ["the same without a gate", evidence({ completed: [0, 5] }, { judged: [], expected: {} }), 98, /^no request of c1/],
  ["nothing sent", evidence({ completed: [] }), 98, /^no request was sent$/],
  [
    "a limit on nothing, which k6 takes for kept",
    evidence(
      {},
      {
        judged: [
          { ...ttft, ok: true, value: 0 },
          { ...samples, ok: false, value: 0 },
        ],
      },
    ),
    98,
    /llm_ttft\{level:c1\} samples 0/,
  ],
  [
    "too few requests and nothing else",
    evidence({}, { judged: [...kept, { ...requests, ok: false, value: 5 }] }),
    96,
    /count 5 requests, limit >= 20/,
  ],
  [
    "--no-thresholds",
    evidence({}, { judged: [], expected: { a: ["x<1", "y<1"] } }),
    98,
    /^2 thresholds were not judged/,
  ],
  ["k6 keeps its thresholds to itself", evidence({}, { judged: undefined }), 98, /does not say which thresholds/],
  [
    "a full disk",
    evidence({}, { unwritten: ["summary.json: no space"] }),
    98,
    /^results were not written whole: summary/,
  ],
];
for (const [why, given, code, reason] of rows) {
  test(`${why}: ${code}`, () => {
    const conclusion = conclude(given);
    assert.equal(exitCodeOf(conclusion), code);
    assert.equal(conclusion.verdict.pass, reason === undefined);
    if (reason)
      assert.ok(
        conclusion.verdict.reasons.some((line) => reason.test(line)),
        conclusion.verdict.reasons.join("\n"),
      );
  });
}

test("every limit is reported with its level, value, margin and what became of it", () => {
  const judged = [
    { ...ttft, ok: false, value: 250 },
    { metric: "llm_output_throughput{level:c1}", expression: "value>20", ok: true, value: 50 },
    { metric: "llm_tpot{level:c1,phase:steady}", expression: "p(99)<40", ok: true, value: 0 },
    { metric: "llm_samples{level:c1,metric:llm_tpot}", expression: "value>=5", ok: false, value: 0 },
    { metric: "dropped_iterations", expression: "count<1", ok: true, value: undefined },
  ];
  assert.deepEqual(conclude(evidence({}, { judged })).limits, [
    { metric: "llm_ttft", level: "c1", expression: "p(95)<200", value: 250, margin: -50, result: "violated" },
    { metric: "llm_output_throughput", level: "c1", expression: "value>20", value: 50, margin: 30, result: "passed" },
    { metric: "llm_tpot", level: "c1", expression: "p(99)<40", value: 0, result: "not measured" },
    { metric: "llm_samples", of: "llm_tpot", level: "c1", expression: "value>=5", value: 0, result: "not measured" },
    { metric: "dropped_iterations", expression: "count<1", result: "passed" },
  ]);
});

test("nothing but a complete run with measured requests of every level and passed limits ends with 0 under a gate", () => {
  const shape = fc.record({
    state: fc.constantFrom("VALID", "CLIENT-BOUND", "NOT-MEASURED", "UNJUDGED" as const),
    ended: fc.constantFrom("complete", "cut", "interrupted" as const),
    completed: fc.array(fc.nat(2), { maxLength: 4 }),
    gated: fc.boolean(),
    never: fc.constantFrom(undefined, "latency rose"),
    ok: fc.boolean(),
    sampled: fc.nat(1),
    said: fc.boolean(),
    unwritten: fc.array(fc.constant("summary.json: no space"), { maxLength: 1 }),
  });
  fc.assert(
    fc.property(shape, ({ gated, ok, sampled, said, unwritten, ...rest }) => {
      const judged = gated
        ? [
            { ...ttft, ok, value: 1 },
            { ...samples, ok: sampled > 0, value: sampled },
          ]
        : [];
      const given = evidence(rest, {
        judged: said ? judged : undefined,
        expected: Object.fromEntries(judged.map(({ metric, expression }) => [metric, [expression]])),
        unwritten,
      });
      const { completed, ended, state, never } = rest;
      const measured = completed.length > 0 && completed.every((count) => count > 0);
      const whole = measured && ended === "complete" && said && unwritten.length === 0;
      const sound = state === "VALID" || state === "UNJUDGED" || (!gated && state === "CLIENT-BOUND");
      const may =
        whole &&
        (sound || (!gated && state === "NOT-MEASURED")) &&
        (!gated || (ok && sampled > 0 && never === undefined));
      const conclusion = conclude(given);
      if (!may) assert.notEqual(exitCodeOf(conclusion), 0, JSON.stringify(given));
      if (conclusion.verdict.pass) assert.equal(exitCodeOf(conclusion), 0);
      if (gated) assert.equal(exitCodeOf(conclusion) === 0, conclusion.verdict.pass);
    }),
    { seed: 1, numRuns: 2000 },
  );
});
