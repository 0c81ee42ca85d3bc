/** Keeps a run from measuring another load than it was asked for: what would lower it in silence ends the run instead. */
import exec from "k6/execution";
import type { Options } from "k6/options";
import { refuse } from "../wire/client";
import { type LoadOptions, loadConflict } from "./load-options";

let asked: LoadOptions | undefined;

/** Remembers the options that the script gives k6. */
export function rememberLoad(options: Options): Options {
  // A copy: k6 later writes what it made of the options, the command line's among it, into the script's own object.
  asked = JSON.parse(JSON.stringify({ scenarios: options.scenarios }));
  return options;
}

/** For setup(): ends the run with one line and exit code 104 where k6 runs another load than the script's options. */
export function requireAskedLoad(): void {
  if (!asked) return;
  const conflict = loadConflict(asked, exec.test.options as LoadOptions);
  if (conflict !== undefined) refuse(`tokenclock: ${conflict}`);
}

/**
 * Calls `work` of a VU's default(). An exception ends the run with its message as one line and exit code 108: to k6 it
 * would only end this VU, whose level would then be measured with a client less than its name says.
 */
export function orAbort(work: () => void): void {
  try {
    work();
  } catch (error) {
    abort(error);
  }
}

/** Ends the run as orAbort does, for what a request's function threw or was rejected with. */
export function abort(error: unknown): void {
  // Without setup() there is no model to ask for, and nobody has compared the load with the one asked for.
  const message = (exec.test.options as { noSetup?: boolean | null }).noSetup
    ? "--no-setup leaves out the checks that a run begins with"
    : String(error instanceof Error ? error.message : error).split("\n", 1)[0];
  exec.test.abort(`tokenclock: ${message}`);
}
