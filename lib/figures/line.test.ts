import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fitLine } from "./line";

test("a line through exact points is found exactly", () => {
  const line = fitLine([32, 100, 1024, 4096].map((x) => [x, 12 + 0.125 * x] as const));
  assert.ok(line);
  assert.ok(Math.abs(line.slope - 0.125) < 1e-12);
  assert.ok(Math.abs(line.intercept - 12) < 1e-9);
  assert.ok(Math.abs(line.r2 - 1) < 1e-12);
});

test("the textbook example: slope, intercept and R squared by the sums", () => {
  // x 1..5, y 2 4 5 4 5: sxy 6, sxx 10, syy 6.
  const line = fitLine([
    [1, 2],
    [2, 4],
    [3, 5],
    [4, 4],
    [5, 5],
  ]);
  assert.ok(line);
  assert.ok(Math.abs(line.slope - 0.6) < 1e-12);
  assert.ok(Math.abs(line.intercept - 2.2) < 1e-12);
  assert.ok(Math.abs(line.r2 - 0.6) < 1e-12);
});

test("there is no line through one x", () => {
  assert.equal(
    fitLine([
      [5, 1],
      [5, 2],
    ]),
    undefined,
  );
  assert.equal(fitLine([]), undefined);
});

test("a line is found again in its own points", () => {
  const number = fc.double({ min: -100, max: 100, noNaN: true });
  const xs = fc.uniqueArray(fc.integer({ min: 0, max: 4096 }), { minLength: 2, maxLength: 20 });
  fc.assert(
    fc.property(number, number, xs, (slope, intercept, at) => {
      const line = fitLine(at.map((x) => [x, intercept + slope * x]));
      assert.ok(line);
      assert.ok(Math.abs(line.slope - slope) < 1e-6 && Math.abs(line.intercept - intercept) < 1e-2);
    }),
  );
});
