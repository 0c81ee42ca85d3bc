/**
 * The options of `k6 run`, to name a misspelt one before anything else: k6 itself would be asked last, when the bundles are made
 * and a server is there. A test holds the lists against the binary.
 */

import { Problem } from "../build/program";
import { exitCodes } from "../lib/outcome/exit-codes";
import { isSettingName, nearestName } from "../lib/settings/settings";

/** Options that stand alone. */
export const switches: readonly string[] = [
  ...["--paused", "-p", "--no-setup", "--no-teardown", "--http-debug", "--insecure-skip-tls-verify"],
  ...["--no-connection-reuse", "--no-vu-connection-reuse", "--throw", "-w", "--discard-response-bodies"],
  ...["--include-system-env-vars", "--no-thresholds", "--new-machine-readable-summary", "--linger", "-l"],
  ...["--no-usage-report", "--help", "-h", "--no-color", "--profiling-enabled", "--quiet", "-q", "--verbose", "-v"],
];

/** Options that a value follows, as the next word or behind "=". */
export const valued: readonly string[] = [
  ...["--vus", "-u", "--duration", "-d", "--iterations", "-i", "--stage", "-s", "--execution-segment"],
  ...["--execution-segment-sequence", "--max-redirects", "--batch", "--batch-per-host", "--rps", "--user-agent"],
  ...["--min-iteration-duration", "--blacklist-ip", "--block-hostnames", "--summary-trend-stats"],
  ...["--summary-time-unit", "--system-tags", "--tag", "--console-output", "--local-ips", "--dns"],
  ...["--compatibility-mode", "--type", "-t", "--env", "-e", "--summary-mode", "--summary-export", "--traces-output"],
  ...["--out", "-o", "--features", "--address", "-a", "--config", "-c", "--log-format", "--log-output"],
  ...["--secret-source"],
];

/** k6's load options of later versions, which the scenarios refuse by name and say what to set instead. */
const refusedInScript: readonly string[] = ["--once", "--scenario"];

/**
 * @throws Problem with exit code 104 for the first argument that is neither an option of k6's nor its value. `foreign`: another
 * k6 than the pinned one runs, which knows its options itself.
 */
export function requireOptions(args: readonly string[], foreign: boolean): void {
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? "";
    if (!arg.startsWith("-")) throw refused(looseWord(arg));
    const [name = "", value] = /^(--[^=]*)=([\s\S]*)$/.exec(arg)?.slice(1) ?? [arg];
    // A value may stand right behind a short option, and short options that stand alone may stand together: -qv.
    const short = /^-[A-Za-z]./.test(arg);
    const known = short ? knownShort(arg) : [...switches, ...valued].includes(name);
    if (!known && !foreign && !refusedInScript.includes(name)) throw refused(unknownOption(name));
    const takesNext = valued.includes(name) || (!known && args[i + 1]?.startsWith("-") === false);
    if (!short && value === undefined && takesNext) i++;
  }
}

function knownShort(arg: string): boolean {
  return valued.includes(arg.slice(0, 2)) || [...arg.slice(1)].every((letter) => switches.includes(`-${letter}`));
}

function looseWord(word: string): string {
  const name = /^([A-Za-z_]\w*)=/.exec(word)?.[1];
  // A value may be a key.
  if (name !== undefined) return `${name}=... stands alone; write -- -e ${name}=..., with the -- of npm before it`;
  return `${word} stands alone: a scenario's name comes first, a setting is -e NAME=value, and no option before it takes a value`;
}

function unknownOption(option: string): string {
  const setting = option.replace(/^-+/, "").replaceAll("-", "_").toUpperCase();
  if (isSettingName(setting)) return `${option} is no option of k6 run; for the setting write -e ${setting}=...`;
  const named = [...switches, ...valued].filter((each) => each.startsWith("--"));
  const { name, distance } = nearestName(option, named);
  const hint = distance <= 2 ? `; did you mean ${name}?` : "; bin/k6 run --help lists them";
  return `${option} is no option of k6 run${hint}`;
}

function refused(message: string): Problem {
  return new Problem(message, exitCodes.settings);
}
