import assert from "node:assert/strict";
import { test } from "node:test";
import { type LoadOptions, loadConflict } from "./load-options";

const asked = {
  scenarios: { sweep: { executor: "per-vu-iterations", vus: 4, iterations: 1, maxDuration: "24h" } },
};

/** As k6 gives them back: every field there is, null where it is not set. */
const given = (scenario: object, more: object = {}): LoadOptions => ({
  scenarios: { default: { startTime: null, tags: null, ...scenario } },
  executionSegment: null,
  ...more,
});

test("k6's own spelling of the same load is no conflict", () => {
  const same = given({ executor: "per-vu-iterations", vus: 4, iterations: 1, maxDuration: "24h0m0s" });
  assert.equal(loadConflict(asked, same), undefined);
  assert.equal(loadConflict(asked, { ...same, executionSegment: "0:1" }), undefined);
  const ramp = (duration: string) => ({ executor: "ramping-vus", stages: [{ duration, target: 3 }] });
  assert.equal(loadConflict({ scenarios: { a: ramp("90s") } }, given({ ...ramp("1m30s"), startVUs: null })), undefined);
});

const replaced: [string, LoadOptions, RegExp][] = [
  ["--vus", given({ executor: "shared-iterations", vus: 1, iterations: 1 }), /: shared-iterations vus 1 iterations 1 /],
  ["--duration", given({ executor: "constant-vus", vus: null, duration: "1s" }), /: constant-vus instead of/],
  ["--stage", given({ executor: "ramping-vus", stages: [{ duration: "1s", target: 2 }] }), /stages 1000ms:2 instead/],
  ["an archive of other settings", given({ executor: "per-vu-iterations", vus: 2, iterations: 1 }), /vus 2 .* vus 4 /],
  [
    "a segment",
    given({ executor: "per-vu-iterations", vus: 4, iterations: 1 }, { executionSegment: "0:1/2" }),
    /^--execution-segment 0:1\/2 leaves each level a part of its clients/,
  ],
];
for (const [what, options, message] of replaced) {
  test(`${what} is a conflict, told in one line`, () => {
    const line = loadConflict(asked, options) ?? "";
    assert.match(line, message);
    assert.doesNotMatch(line, /\n/);
  });
}
