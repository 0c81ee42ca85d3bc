import assert from "node:assert/strict";

/** How far a value may lie from the one it should be; the allowances add up. */
export interface Allowance {
  /** Share of the expected value. */
  relative?: number;
  absolute?: number;
}

/** Fails unless `actual` is a number within the allowance of `expected`. */
export function near(actual: unknown, expected: number, what: string, { relative = 0, absolute = 0 }: Allowance): void {
  assert.equal(typeof actual, "number", `${what} is ${actual}`);
  const off = Math.abs((actual as number) - expected);
  const allowed = relative * Math.abs(expected) + absolute;
  assert.ok(off <= allowed, `${what} is ${actual}, should be ${expected} (off by ${off}, allowed ${allowed})`);
}

/** Fails unless a value that a page shows is the true one, but for its rounding. */
export function nearTruth(actual: unknown, truth: number, what: string, relative = 1e-5): void {
  near(actual, truth, what, { relative, absolute: 1e-9 });
}

/** Fails unless both are the same, but for numbers that two sums of the same values may differ by: a part in 10^8. */
export function nearlyEqual(actual: unknown, expected: unknown, what: string): void {
  if (typeof expected === "number") near(actual, expected, what, { relative: 1e-8, absolute: 1e-9 });
  else if (typeof expected !== "object" || expected === null) assert.equal(actual, expected, what);
  else {
    const [a, b] = [(actual ?? {}) as Record<string, unknown>, expected as Record<string, unknown>];
    const keys = (of: Record<string, unknown>) => Object.keys(of).filter((key) => of[key] !== undefined);
    assert.deepEqual(keys(a).sort(), keys(b).sort(), what);
    for (const [key, value] of Object.entries(b)) nearlyEqual(a[key], value, `${what} ${key}`);
  }
}
