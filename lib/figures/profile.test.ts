import assert from "node:assert/strict";
import { test } from "node:test";
import { parseProfile } from "./profile";

test("a user's profile is limits in k6's language beside the least number of requests and the failure share", () => {
  assert.deepEqual(
    parseProfile('{"minRequests": 50, "llm_ttft": ["p(95)<500", "p(99.9)<2000"], "llm_itl_p99": "value<100"}'),
    {
      description: undefined,
      minRequests: 50,
      maxFailureShare: 0,
      limits: { llm_ttft: ["p(95)<500", "p(99.9)<2000"], llm_itl_p99: ["value<100"] },
    },
  );
});

const refused: [string, RegExp][] = [
  ["{", /not JSON/],
  ["[]", /not a JSON object/],
  ['{"llm_tft": "p(95)<1"}', /llm_tft is not a metric/],
  ['{"llm_ttft": "p95<1"}', /llm_ttft: "p95<1" is not a threshold/],
  ['{"llm_ttft": "p(95)<200ms"}', /is not a threshold/],
  ['{"minRequests": 0}', /minRequests 0 is not/],
  ['{"maxFailureShare": 2}', /maxFailureShare 2 is not/],
];
for (const [text, message] of refused) {
  test(`${text} is refused`, () => assert.throws(() => parseProfile(text), message));
}
