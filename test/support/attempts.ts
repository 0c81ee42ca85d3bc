import type { TestContext } from "node:test";

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
