import assert from "node:assert/strict";
import { test } from "node:test";
import { type LoadOptions, loadConflict, meetOptions } from "./load-options";

const asked = {
  scenarios: { sweep: { executor: "per-vu-iterations", vus: 4, iterations: 1, maxDuration: "24h" } },
};

/** As k6 gives them back: every field there is, null where it is not set. */
const given = (scenario: object): LoadOptions => ({
  scenarios: { default: { startTime: null, tags: null, ...scenario } },
});

test("k6's own spelling of the same load is no conflict", () => {
  const same = given({ executor: "per-vu-iterations", vus: 4, iterations: 1, maxDuration: "24h0m0s" });
  assert.equal(loadConflict(asked, same), undefined);
  const ramp = (duration: string) => ({ executor: "ramping-vus", stages: [{ duration, target: 3 }] });
  assert.equal(loadConflict({ scenarios: { a: ramp("90s") } }, given({ ...ramp("1m30s"), startVUs: null })), undefined);
});

const replaced: [string, LoadOptions, RegExp][] = [
  ["--vus", given({ executor: "shared-iterations", vus: 1, iterations: 1 }), /: shared-iterations vus 1 iterations 1 /],
  ["--duration", given({ executor: "constant-vus", vus: null, duration: "1s" }), /: constant-vus instead of/],
  ["--stage", given({ executor: "ramping-vus", stages: [{ duration: "1s", target: 2 }] }), /stages 1000ms:2 instead/],
  ["an archive of other settings", given({ executor: "per-vu-iterations", vus: 2, iterations: 1 }), /vus 2 .* vus 4 /],
];
for (const [what, options, message] of replaced) {
  test(`${what} is a conflict, reported in one line`, () => {
    const line = loadConflict(asked, options) ?? "";
    assert.match(line, message);
    assert.doesNotMatch(line, /\n/);
  });
}

test("a load whose VUs k6 itself divides needs no common begin; levels, bursts and arrivals do", () => {
  assert.equal(meetOptions(asked, {}).aligned, true);
  assert.equal(meetOptions(undefined, {}).aligned, true);
  assert.equal(meetOptions({ scenarios: { ramp: { executor: "ramping-vus", stages: [] } } }, {}).aligned, false);
  const { settings } = meetOptions(asked, { REQUESTS: 12, RESULTS: "a", COORDINATOR_TOKEN: "(set)" });
  assert.deepEqual(settings, { REQUESTS: 12 });
});
