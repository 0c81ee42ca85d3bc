import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng } from "../workload/rng";
import { gapsOf } from "./gaps";

for (const [arrival, cv] of [
  [{ kind: "constant" }, 0],
  [{ kind: "poisson" }, 1],
  [{ kind: "gamma", cv: 0.5 }, 0.5],
  [{ kind: "gamma", cv: 1 }, 1],
  [{ kind: "gamma", cv: 2 }, 2],
] as const) {
  test(`${JSON.stringify(arrival)}: the mean gap is that of the rate, its variation ${cv}`, () => {
    const next = gapsOf(arrival, 20, seededRng(7, 1));
    const gaps = Array.from({ length: 200_000 }, next);
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length);
    assert.ok(Math.abs(mean / 50 - 1) < 0.02, `mean ${mean} ms`);
    assert.ok(Math.abs(deviation / mean - cv) < 0.02 * (1 + cv), `variation ${deviation / mean}`);
    assert.ok(gaps.every((gap) => gap >= 0 && Number.isFinite(gap)));
  });
}
