/** Keeps a run from measuring another load than the requested one: what would lower it in silence ends the run instead. */
import type { Options } from "k6/options";
import { exec } from "../abort";
import { aroundLoad } from "../lazy";
import { tokenclock } from "../wire/client";
import type { LoadOptions } from "./load-options";

/** The options that the script gave k6. */
export let requestedLoad: LoadOptions | undefined;

/** Remembers the options that the script gives k6. The first runtime makes them. Init context only. */
export function rememberLoad(options: () => Options): void {
  // A copy: k6 later writes what it made of the options, the command line's among it, into the script's own object.
  requestedLoad = tokenclock.shared("requested load", () => ({ scenarios: options().scenarios }));
}

/** For setup(): ends the run with one line and exit code 104 where k6 runs another load than the script's options. */
export function requireRequestedLoad(): void {
  if (!requestedLoad) return;
  const conflict = aroundLoad().loadConflict(requestedLoad, exec.test.options as LoadOptions);
  if (conflict !== undefined) tokenclock.refuse(`tokenclock: ${conflict}`);
}
