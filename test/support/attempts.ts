import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { Verdict } from "../../lib/figures/level-summary";

/**
 * Runs `measure` until it holds, at most four times: a machine that stood still spoils one measurement, a client that
 * measures wrong spoils each. Only for what depends on how punctually the machine runs its processes.
 */
export async function withAttempts(t: TestContext, measure: () => Promise<void>): Promise<void> {
  const attempts = 4;
  for (let attempt = 1; ; attempt++) {
    try {
      return await measure();
    } catch (error) {
      if (attempt === attempts) throw error;
      t.diagnostic(`attempt ${attempt} of ${attempts}: ${error instanceof Error ? error.message : error}`);
    }
  }
}

/**
 * The first outcome that the client found itself fit to judge, of at most four. On a machine too busy for that the test is
 * skipped with a message, and the outcome is undefined: such a run must not pass, so that nothing can be said of one that does.
 */
export async function whenValid<T extends { summary: { verdict: Verdict } }>(
  t: TestContext,
  start: () => Promise<T>,
): Promise<T | undefined> {
  for (let attempt = 1; attempt <= 4; attempt++) {
    const outcome = await start();
    const { validity, reasons, pass } = outcome.summary.verdict;
    if (validity !== "CLIENT-BOUND") return outcome;
    assert.equal(pass, false, "a client-bound run does not pass");
    t.diagnostic(`attempt ${attempt}: ${reasons.join("; ")}`);
  }
  t.skip("this machine is too busy for the client to judge a server");
  return undefined;
}
