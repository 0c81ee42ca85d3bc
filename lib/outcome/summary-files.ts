/** What a run leaves behind: the table on stdout and the files in RESULTS. Pure: summary.ts hands in what was measured. */

import { withCosts } from "../figures/computed-gauges";
import type { LevelSummary, OwnResults, RunReport, Summary, Validity, Verdict } from "../figures/level-summary";
import type { Gates } from "../figures/profile";
import { steadyNotes, steadyStateOf, steadyWord } from "../figures/steady";
import { type Column, filledColumns, percent, shortNumber, textTable } from "../figures/table";
import type { Config } from "../settings/parse-config";
import { type Conclusion, conclude, exitCodeOf } from "./conclude";
import { serverNotes } from "./server-notes";
import { serverTables } from "./server-table";
import { clientLines, judgedThresholds, type SummaryMetrics, scriptMetrics } from "./verdict";

/** What k6 hands to handleSummary, as far as it is read. */
export interface SummaryData {
  /** Absent with k6's --new-machine-readable-summary, whose data says nothing of thresholds. */
  readonly metrics?: SummaryMetrics;
  /** What setup() returned: what it learnt of the server. */
  readonly setup_data?: { readonly model?: string } | null;
}

/** A run that has ended, as handleSummary finds it. */
export interface EndedRun {
  readonly config: Config;
  /** The settings without secrets. */
  readonly shown: Record<string, unknown>;
  readonly report: RunReport;
  readonly metrics: SummaryMetrics | undefined;
  readonly gates: Gates;
  /** sha256 of the files that settings name, by setting. */
  readonly digests: Readonly<Record<string, string>>;
  readonly own: OwnResults;
  /** What a reader must know beside the verdict, a line each. */
  readonly notes: readonly string[];
}

/** What is left to k6 once the files are written: contents by path, stdout by that name; and what the run came to. */
export interface Concluded {
  readonly output: Record<string, string>;
  readonly exitCode: number;
}

/**
 * Judges a run, writes its files into RESULTS (none where it is not set) and returns what is to be shown. `write` writes a
 * file and returns "" or why it could not be written whole; without one k6 is to write the files. summary.json comes last,
 * so that it says which of the others are not whole.
 */
export function concludeRun(run: EndedRun, write: ((path: string, text: string) => string) | undefined): Concluded {
  const { config, shown, metrics, gates, own } = run;
  const { report, unknown } = withCosts(withSteadyStates(run.report), config);
  const unwritten = report.recordsError === undefined ? [] : [`records: ${report.recordsError}`];
  const judged = metrics && judgedThresholds(metrics, gates.script);
  const mayChange = ofChange.includes(config.scenario);
  const conclusion = () =>
    conclude({
      report,
      judged,
      expected: gates.thresholds,
      script: gates.script,
      unwritten,
      own: own.limits,
      mayChange,
      smoke: config.SMOKE,
    });
  // What is a reason of the verdict is no note beside it.
  const { reasons } = conclusion().verdict;
  const notes = [...run.notes, ...steadyNotes(report.levels), ...unknown, ...serverNotes(report, config)].filter(
    (note) => !reasons.includes(note),
  );
  const output: Record<string, string> = {};
  const put = (file: string, text: string) => {
    const path = `${config.RESULTS.replace(/\/+$/, "")}/${file}`;
    if (!write) output[path] = text;
    else {
      const why = write(path, text);
      if (why !== "") unwritten.push(`${file}: ${why}`);
    }
  };
  const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;
  if (config.RESULTS !== "") {
    for (const [file, text] of Object.entries(own.files ?? {})) put(file, text);
    put("config.json", json(gates.profile ? { ...shown, profile: gates.profile } : shown));
    put("summary.json", json(summaryOf({ ...run, report, notes }, conclusion())));
  }
  const concluded = conclusion();
  const text = summaryText(report, concluded.verdict, {
    simulated: config.SIMULATE,
    notes,
    unjudged: exitCodeOf(concluded) === 0,
  });
  output.stdout = `\n${[text, own.text ?? ""].filter((part) => part !== "").join("\n\n")}\n`;
  return { output, exitCode: exitCodeOf(concluded) };
}

/** A soak limits how far it drifts, and a search for capacity judges each of its probes. */
const ofChange: readonly string[] = ["soak", "capacity"];

/** The report with whether each level was steady. */
function withSteadyStates(report: RunReport): RunReport {
  const levels = report.levels.map((level) => {
    const steady = steadyStateOf(level, report.levels, report.seconds);
    return steady ? { ...level, steady } : level;
  });
  return { ...report, levels };
}

function summaryOf(
  { config, shown, report, gates, digests, notes, own, metrics = {} }: EndedRun,
  { verdict, limits }: Pick<Conclusion, "verdict" | "limits">,
): Summary {
  const starts = report.levels.map(({ windowStartS }) => windowStartS);
  const ofScript = scriptMetrics(metrics);
  const ends = report.levels.map(({ windowStartS, durationS }) => windowStartS + durationS);
  return {
    schema: 1,
    scenario: config.scenario,
    verdict,
    config: shown,
    sloMs: config.sloMs,
    ...(notes.length > 0 ? { notes: [...notes] } : {}),
    window: { startS: starts.length ? Math.min(...starts) : 0, endS: ends.length ? Math.max(...ends) : 0 },
    ...(gates.profile ? { profile: gates.profile } : {}),
    thresholds: [...limits],
    ...(ofScript.length > 0 ? { scriptMetrics: ofScript } : {}),
    ...(own.freed?.length ? { freed: [...own.freed] } : {}),
    digests,
    ...report,
  };
}

/** The table of levels and the verdict below it. A run without a completed request shows no figure at all. */
function summaryText(
  report: RunReport,
  verdict: Verdict,
  {
    simulated = false,
    notes = [],
    unjudged = false,
  }: { simulated?: boolean; notes?: readonly string[]; unjudged?: boolean },
): string {
  const lines: string[] = [];
  if (report.total.requests > 0) lines.push(levelTable(report.levels));
  lines.push(...serverTables(report));
  for (const line of failureLines(report.levels)) lines.push(line);
  const client = clientLines(report);
  if (client.length > 0) lines.push(client.join("\n"));
  const sent = sentLine(report);
  if (sent !== undefined) lines.push(sent);
  const cached = cachedLine(report);
  if (cached !== undefined) lines.push(cached);
  if (notes.length > 0) lines.push(notes.map((note) => `note: ${note}`).join("\n"));
  const server = simulated ? " (simulated server)" : "";
  lines.push(
    verdict.pass ? `PASS, ${verdict.validity}${server}` : verdict.reasons.map((reason) => `FAIL ${reason}`).join("\n"),
  );
  // A smoke run passes whatever its client was.
  const next = verdict.pass ? undefined : whatToDo[verdict.validity];
  if (next !== undefined) lines.push(next);
  if (!verdict.pass && unjudged) lines.push("The exit code is 0 all the same: THRESHOLDS=none judges nothing.");
  return lines.join("\n\n");
}

/** What a run says that is valid for no server, and where the way out of each reason is. */
const whatToDo: Readonly<Partial<Record<Validity["state"], string>>> = {
  "CLIENT-BOUND":
    "The load generator or its machine was the limit, so the run says nothing about the server. What to do for each reason: docs/troubleshooting.md#client-bound",
  "CACHE-BOUND":
    "The server's prefix cache answered a run that was meant to be cold. What to do: docs/troubleshooting.md#cache-bound",
};

/** What was sent of an open load's schedule; undefined of other loads. */
function sentLine({ levels, schedule }: RunReport): string | undefined {
  const open = levels.filter(({ scheduledRate = 0 }) => scheduledRate > 0);
  if (open.length === 0) return undefined;
  const shares = open.map(({ sentRate = 0, scheduledRate = 1 }) => sentRate / scheduledRate);
  const least = open[shares.indexOf(Math.min(...shares))];
  const { name = "", sentRate = 0, scheduledRate = 1 } = least ?? {};
  const digest = schedule ? `; schedule ${schedule.digest.slice(0, 12)}` : "";
  const of = open.length > 1 ? ` in ${name}, where it is least` : "";
  return `sent: ${percent(sentRate / scheduledRate)} of the scheduled rate${of} (${shortNumber(sentRate)} of ${shortNumber(scheduledRate)} requests/s)${digest}`;
}

/** What is known of the input that the server took from its prefix cache; undefined where no input was counted. */
function cachedLine({ total }: RunReport): string | undefined {
  if (total.completed === 0 || total.inputTokens === 0) return undefined;
  const { cachedShare, cachedSource } = total;
  if (cachedShare === undefined) return "cached input: unknown, the server reports none in usage or metrics";
  return `cached input: ${percent(cachedShare)} of the run's, by the server's ${cachedSource === "usage" ? "usage" : "counters"}`;
}

const cell = (value: number, measured: number) => (measured > 0 ? shortNumber(value) : "-");

const dollars = (value: number | undefined) => (value === undefined ? "" : String(Number(value.toPrecision(3))));

const columns: Column<LevelSummary>[] = [
  { heading: "level", left: true, cell: ({ name }) => name },
  { heading: "requests", cell: ({ requests }) => String(requests) },
  { heading: "failed", cell: ({ failed }) => String(failed) },
  { heading: "TTFT p50", cell: ({ ttftMs }) => cell(ttftMs.p50, ttftMs.count) },
  { heading: "p99 ms", cell: ({ ttftMs }) => cell(ttftMs.p99, ttftMs.count) },
  { heading: "TPOT p50", cell: ({ tpotMs }) => cell(tpotMs.p50, tpotMs.count) },
  { heading: "ITL p50", cell: ({ itlMs }) => cell(itlMs.p50, itlMs.count) },
  { heading: "p90", cell: ({ itlMs }) => cell(itlMs.p90, itlMs.count) },
  { heading: "p99 ms", cell: ({ itlMs }) => cell(itlMs.p99, itlMs.count) },
  { heading: "e2e p50", cell: ({ e2eMs }) => cell(e2eMs.p50, e2eMs.count) },
  { heading: "p99 ms", cell: ({ e2eMs }) => cell(e2eMs.p99, e2eMs.count) },
  { heading: "tok/s a request", cell: ({ outputSpeed }) => cell(outputSpeed.p50, outputSpeed.count) },
  { heading: "tok/s", cell: ({ outputThroughput, outputTokens }) => cell(outputThroughput, outputTokens) },
  { heading: "req/s", cell: ({ requestThroughput, completed }) => cell(requestThroughput, completed) },
  { heading: "cached", cell: ({ cachedShare }) => (cachedShare === undefined ? "" : percent(cachedShare)) },
  { heading: "$ a request", cell: ({ cost }) => dollars(cost?.perRequest) },
  { heading: "$ a Mtok", cell: ({ cost }) => dollars(cost?.perMillionOutputTokens) },
  { heading: "$ a Mtok in SLO", cell: ({ cost }) => dollars(cost?.perMillionGoodOutputTokens) },
  { heading: "$ a good req", cell: ({ cost }) => dollars(cost?.perGoodRequest) },
  // Most levels of a quick run are too short to tell: then the column says nothing and is left out.
  { heading: "steady", cell: (level) => (level.steady?.state === "unknown" ? "-" : steadyWord(level)) },
  { heading: "good", cell: ({ goodShare }) => (goodShare === undefined ? "" : percent(goodShare)) },
];

/** The table of levels; columns that no level fills are left out. */
function levelTable(levels: readonly LevelSummary[]): string {
  return textTable(filledColumns(columns, levels), levels);
}

/** What failed in each level, with the first message of each class; one that an earlier level had is not repeated. */
function failureLines(levels: readonly LevelSummary[]): string[] {
  const shown = new Set<string>();
  const lines = levels
    .filter(({ failed }) => failed > 0)
    .flatMap(({ name, failures, failureMessages = {} }) => {
      const classes = Object.entries(failures).map(([failure, count]) => `${failure} ${count}`);
      const messages = Object.entries(failureMessages).map(
        ([failure, message = ""]) => `  ${failure}: ${oneLine(message)}`,
      );
      const added = messages.filter((message) => !shown.has(message));
      for (const message of added) shown.add(message);
      return [`${name} failed: ${classes.join(", ")}`, ...added];
    });
  return lines.length > 0 ? [lines.join("\n")] : [];
}

/** A server's message for the terminal: a whole page may come with an error, and its control characters are not ours. */
function oneLine(message: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is left out
  const line = message.replace(/[\x00-\x1f\x7f\s]+/g, " ").trim();
  return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}
