import assert from "node:assert/strict";
import { test } from "node:test";
import { incompleteBeta, logGamma, studentQuantile } from "./beta";

function close(actual: number, expected: number, relative: number, what: string): void {
  assert.ok(
    Math.abs(actual - expected) <= relative * Math.max(Math.abs(expected), 1e-300),
    `${what}: ${actual} instead of ${expected}`,
  );
}

test("logGamma is the logarithm of factorials, and of the square root of pi at one half", () => {
  let factorial = 1;
  for (let n = 1; n <= 20; n++) {
    close(Math.exp(logGamma(n)), factorial, 1e-12, `gamma(${n})`);
    factorial *= n;
  }
  close(logGamma(0.5), Math.log(Math.sqrt(Math.PI)), 1e-13, "logGamma(1/2)");
});

/** P(X <= k) for X binomial(n, p) with p = numerator / 1000, in exact whole numbers. */
function binomialAtMost(k: number, n: number, numerator: number): number {
  let coefficient = 1n;
  let sum = 0n;
  const p = BigInt(numerator);
  const q = 1000n - p;
  for (let i = 0; i <= k; i++) {
    sum += coefficient * p ** BigInt(i) * q ** BigInt(n - i);
    coefficient = (coefficient * BigInt(n - i)) / BigInt(i + 1);
  }
  // Twenty digits are kept before the division loses them.
  return Number((sum * 10n ** 30n) / 1000n ** BigInt(n)) / 1e30;
}

test("it is the tail of the binomial distribution, counted in whole numbers", () => {
  for (const [n, k, numerator] of [
    [10, 3, 300],
    [64, 1, 100],
    [200, 5, 10],
    [662, 1, 10],
    [300, 280, 950],
    [50, 25, 500],
  ] as const) {
    // P(X <= k) = I_{1-p}(n - k, k + 1).
    close(incompleteBeta(1 - numerator / 1000, n - k, k + 1), binomialAtMost(k, n, numerator), 1e-11, `n ${n}, k ${k}`);
  }
});

test("closed forms hold: one parameter 1, the middle of a symmetric one, the complement", () => {
  for (const x of [0.001, 0.2, 0.5, 0.93, 0.9999]) {
    for (const a of [0.5, 1, 3, 40, 500]) {
      close(incompleteBeta(x, a, 1), x ** a, 1e-12, `I_${x}(${a}, 1)`);
      close(incompleteBeta(x, 1, a), -Math.expm1(a * Math.log1p(-x)), 1e-12, `I_${x}(1, ${a})`);
      close(incompleteBeta(0.5, a, a), 0.5, 1e-12, `I_0.5(${a}, ${a})`);
      close(incompleteBeta(x, a, 7) + incompleteBeta(1 - x, 7, a), 1, 1e-12, `complement at ${x}, ${a}`);
    }
  }
  assert.equal(incompleteBeta(0, 2, 3), 0);
  assert.equal(incompleteBeta(1, 2, 3), 1);
});

test("Student's t: the quantiles of tables, and the normal distribution's with many degrees of freedom", () => {
  for (const [p, df, x] of [
    [0.975, 1, 12.7062047],
    [0.99, 1, 31.820516],
    [0.975, 10, 2.2281389],
    [0.99, 19, 2.5394832],
    [0.95, 29, 1.699127],
    [0.5, 7, 0],
    [0.975, 1e8, 1.959964],
  ] as const)
    assert.ok(Math.abs(studentQuantile(p, df) - x) < 2e-7, `${p}, ${df}: ${studentQuantile(p, df)}`);
});

test("arguments outside its domain are refused", () => {
  assert.throws(() => incompleteBeta(1.1, 1, 1), RangeError);
  assert.throws(() => incompleteBeta(0.5, 0, 1), RangeError);
});
