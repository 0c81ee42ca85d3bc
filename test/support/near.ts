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
