/** The end of a run for what nobody foresaw. */
import exec from "k6/execution";

// One import for all files: each costs every VU a function.
export { exec };

/**
 * The result of `work`, which a VU's default() or setup() calls. An exception ends the run with its message as one line and exit code 108: to k6 it
 * would only end this VU, whose level would then be measured with a client less than its name says.
 */
export function orAbort<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    abort(error);
    throw error;
  }
}

/** Ends the run as orAbort does, for what a request's function threw or was rejected with. */
export function abort(error: unknown): void {
  // Without setup() there is no model to ask for, and the load was not compared with the requested one.
  const message = (exec.test.options as { noSetup?: boolean | null }).noSetup
    ? "--no-setup leaves out the checks that a run begins with"
    : String(error instanceof Error ? error.message : error).split("\n", 1)[0];
  exec.test.abort(`tokenclock: ${message}`);
}
