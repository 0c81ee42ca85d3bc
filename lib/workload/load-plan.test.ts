import assert from "node:assert/strict";
import { test } from "node:test";
import { planPasses, planRequests, promptRows, repetition } from "./load-plan";

// The plan of a process is one: each step adds to it.
test("a file with fewer rows than the load needs is reported before the load, and in the results", () => {
  planRequests(33);
  planRequests(7);
  assert.equal(repetition(), undefined, "synthetic prompts do not run out");
  promptRows("DATASET=prompts", 40);
  assert.equal(repetition(), undefined, "40 rows are enough for 40 requests");
  assert.equal(repetition(40), undefined);
  assert.equal(repetition(100), "DATASET=prompts has 40 rows for 100 requests: each row is sent 2.5 times");
  planRequests(10);
  assert.equal(repetition(), "DATASET=prompts has 40 rows for 50 requests: each row is sent 1.3 times");
  // A load that sends the same rows twice on purpose needs half as many.
  planPasses(2);
  assert.equal(repetition(), undefined);
  assert.equal(repetition(80), undefined);
  assert.match(repetition(82) ?? "", /40 rows for 41 requests/);
  planPasses(1);
  planRequests(undefined);
  planRequests(1000);
  assert.equal(repetition(), undefined, "how many requests a level bounded by time sends is known at its end");
  assert.match(repetition(50) ?? "", /for 50 requests/);
});
