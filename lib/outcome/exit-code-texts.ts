/** What the exit codes mean, for the documentation. Pure. */
import { type ExitCodeName, exitCodes } from "./exit-codes";

/** What a code says, and what to do then. */
interface ExitCodeText {
  readonly means: string;
  readonly next: string;
}

const exitCodeTexts: Readonly<Record<ExitCodeName, ExitCodeText>> = {
  passed: {
    means: "Passed: every level was measured and no limit was violated (with `THRESHOLDS=none`: was measured).",
    next: "",
  },
  endedForAll: {
    means:
      "One of several runners: the run ended early for all of them, because a runner or the coordinator was lost or refused.",
    next: "The log names the reason. The coordinator's own exit code is the verdict (98). Start the run again.",
  },
  inconclusive: {
    means:
      "Inconclusive: too few samples for a verdict with the requested confidence, or limits passed in a level that was never steady.",
    next: "More requests: raise REQUESTS or DURATION. A level that is never steady needs a longer WARMUP, or less load.",
  },
  notValid: {
    means:
      "Not valid: CLIENT-BOUND, CACHE-BOUND, a level or a limited metric was not measured, the run was cut short, or results are missing, damaged or not written whole.",
    next: "The reasons are in the verdict. The run says nothing about the server: repeat it.",
  },
  failed: {
    means: "Failed: a threshold or an SLO was violated, or a comparison found a regression.",
    next: "The verdict names metric, level, value and limit.",
  },
  settings: {
    means: "Refused before any load: a setting, an argument, a file or a folder cannot be used.",
    next: "The message names the setting, its value and what is allowed.",
  },
  interrupted: {
    means: "Interrupted by a signal (Ctrl-C, TERM, HUP), or the process that started it ended.",
    next: "What was measured until then is in the results; it passes no gate.",
  },
  exception: {
    means: "An exception in the scenario's code.",
    next: "The stack is in the log.",
  },
  aborted: {
    means: "Given up: the server cannot be reached or names no model, or a reset between phases failed.",
    next: "Check BASE_URL, API_KEY and MODEL.",
  },
};

/** The section's table of docs/ci.md, in Markdown. */
export function exitCodesMarkdown(): string {
  const rows = Object.entries(exitCodeTexts).map(
    ([name, { means, next }]) => `| ${exitCodes[name as ExitCodeName]} | ${means} | ${next} |`,
  );
  return ["| code | meaning | what to do |", "|---:|---|---|", ...rows].join("\n");
}
