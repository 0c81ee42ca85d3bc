import assert from "node:assert/strict";
import { test } from "node:test";
import { drawnWords, evenly } from "./evenly";

test("few are all drawn", () => {
  assert.deepEqual(evenly(0, 4), []);
  assert.deepEqual(evenly(4, 4), [0, 1, 2, 3]);
  assert.equal(drawnWords(4, 4), "");
});

test("as many as requested are drawn, in equal steps, both ends among them", () => {
  for (const [count, most] of [
    [5, 4],
    [2001, 2000],
    [3999, 2000],
    [123_457, 5000],
  ] as const) {
    const chosen = evenly(count, most);
    assert.equal(chosen.length, most);
    assert.deepEqual([chosen[0], chosen.at(-1)], [0, count - 1]);
    const steps = chosen.slice(1).map((at, i) => at - (chosen[i] as number));
    assert.ok(Math.min(...steps) >= 1 && Math.max(...steps) - Math.min(...steps) <= 1, `${count} of ${most}`);
  }
  assert.equal(drawnWords(2000, 30_000), ", 2,000 of 30,000 requests drawn");
});
