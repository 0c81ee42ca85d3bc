/** How every command of this project ends: one table, one meaning a code, whether k6, npm start, gate or compare ends. Pure. */

/** A code, what it says, and what to do then. */
export interface ExitCode {
  readonly code: number;
  readonly means: string;
  readonly next: string;
}

/** The exit codes by name. k6's own numbers are kept where k6 has the meaning already. */
export const exitCodes = {
  passed: {
    code: 0,
    means: "Passed: every level was measured and no limit was violated (with `THRESHOLDS=none`: was measured).",
    next: "",
  },
  endedForAll: {
    code: 95,
    means:
      "Of one of several runners: the run ended early for all, because a runner or the coordinator was lost or refused.",
    next: "The log names the reason. The coordinator's own exit code is the verdict (98). Start the run again.",
  },
  inconclusive: {
    code: 96,
    means:
      "Inconclusive: too few samples for a verdict with the requested confidence, or limits passed in a level that was never steady.",
    next: "More requests: raise REQUESTS or DURATION. A level that is never steady needs a longer WARMUP, or less load.",
  },
  notValid: {
    code: 98,
    means:
      "Not valid: CLIENT-BOUND, CACHE-BOUND, a level or a limited metric was not measured, the run was cut short, or results are missing, damaged or not written whole.",
    next: "The reasons are in the verdict. The run says nothing about the server: repeat it.",
  },
  failed: {
    code: 99,
    means: "Failed: a threshold or an SLO was violated, or a comparison found a regression.",
    next: "The verdict names metric, level, value and limit.",
  },
  settings: {
    code: 104,
    means: "Refused before any load: a setting, an argument, a file or a folder cannot be used.",
    next: "The message names the setting, its value and what is allowed.",
  },
  interrupted: {
    code: 105,
    means: "Interrupted by a signal (Ctrl-C, TERM, HUP), or the process that started it ended.",
    next: "What was measured until then is in the results; it passes no gate.",
  },
  exception: {
    code: 107,
    means: "An exception in the scenario's code.",
    next: "The stack is in the log.",
  },
  aborted: {
    code: 108,
    means: "Given up: the server cannot be reached or names no model, or a reset between phases failed.",
    next: "Check BASE_URL, API_KEY and MODEL.",
  },
} as const satisfies Readonly<Record<string, ExitCode>>;

/** The name of an exit code. */
export type ExitCodeName = keyof typeof exitCodes;

/** The section's table of docs/ci.md, in Markdown. */
export function exitCodesMarkdown(): string {
  const rows = Object.values(exitCodes).map(({ code, means, next }) => `| ${code} | ${means} | ${next} |`);
  return ["| code | meaning | what to do |", "|---:|---|---|", ...rows].join("\n");
}
