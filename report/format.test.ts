import assert from "node:assert/strict";
import { test } from "node:test";
import { formatChange, formatMs, formatNumber, formatShare } from "./format";

test("numbers have three digits, or are whole", () => {
  const cases: [number, string][] = [
    [0, "0"],
    [0.01234, "0.0123"],
    [1.005, "1.00"],
    [9.996, "10.00"],
    [45.67, "45.7"],
    [999.4, "999"],
    [999.6, "1,000"],
    [1234567.8, "1,234,568"],
    [-Math.PI, "-3.14"],
    [12, "12"],
    [Number.NaN, "–"],
    [Number.POSITIVE_INFINITY, "–"],
  ];
  for (const [value, text] of cases) assert.equal(formatNumber(value), text);
});

test("shares keep their digits where they matter: near none and near all", () => {
  const cases: [number, string][] = [
    [0, "0 %"],
    [1, "100 %"],
    [0.95, "95 %"],
    [0.1234, "12.3 %"],
    [0.999, "99.90 %"],
    [0.9999, "99.990 %"],
    [0.0005, "0.050 %"],
  ];
  for (const [share, text] of cases) assert.equal(formatShare(share), text);
});

test("changes have a sign, and no minus nought", () => {
  assert.equal(formatChange(0.123), "+12.3 %");
  assert.equal(formatChange(-0.5), "-50.0 %");
  assert.equal(formatChange(-0.00001), "0.0 %");
  assert.equal(formatChange(2.5), "+250 %");
});

test("long times are seconds", () => {
  assert.equal(formatMs(12.34), "12.3 ms");
  assert.equal(formatMs(12_340), "12.3 s");
});
