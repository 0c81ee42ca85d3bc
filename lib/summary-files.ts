/** What a run leaves behind: the table on stdout and the files in RESULTS. Pure: summary.ts hands in what was measured. */

import type { LevelSummary, RunReport, Summary, Verdict } from "./level-summary";
import type { Config } from "./parse-config";
import { type Column, percent, shortNumber, textTable } from "./table";
import { clientLines, judge, judgedThresholds, type SummaryMetrics } from "./verdict";

/** What k6 hands to handleSummary, as far as it is read. */
export interface SummaryData {
  /** Absent with k6's --new-machine-readable-summary, whose data says nothing of thresholds. */
  readonly metrics?: SummaryMetrics;
  /** What setup() returned: what it learnt of the server. */
  readonly setup_data?: { readonly model?: string } | null;
}

/** What a scenario shows and writes beside the table of levels and summary.json. */
export interface OwnResults {
  /** Shown below the table. */
  readonly text?: string;
  /** Contents by file name, written into RESULTS. */
  readonly files?: Readonly<Record<string, string>>;
}

/** All that k6 writes when a run has ended: contents by path, stdout by that name. */
export function summaryFiles(
  config: Config,
  shown: Record<string, unknown>,
  report: RunReport,
  metrics: SummaryMetrics | undefined,
  { text = "", files = {} }: OwnResults,
  notes: readonly string[] = [],
): Record<string, string> {
  const verdict = metrics ? judge(report, judgedThresholds(metrics)) : unjudged(report);
  const summary = summaryOf(config, shown, report, verdict, notes);
  const inResults = (file: string) => `${config.RESULTS.replace(/\/+$/, "")}/${file}`;
  const output: Record<string, string> = {
    stdout: `\n${[summaryText(report, verdict, notes), text].filter((part) => part !== "").join("\n\n")}\n`,
    [inResults("summary.json")]: `${JSON.stringify(summary, undefined, 2)}\n`,
    [inResults("config.json")]: `${JSON.stringify(summary.config, undefined, 2)}\n`,
  };
  for (const [file, content] of Object.entries(files)) output[inResults(file)] = content;
  return output;
}

/** The verdict on a run of which k6 does not say whether its thresholds were crossed: it must not look like a pass. */
function unjudged(report: RunReport): Verdict {
  const verdict = judge(report, []);
  const reason = "k6 does not say which thresholds were crossed: run without --new-machine-readable-summary";
  return { ...verdict, pass: false, reasons: [...verdict.reasons, reason] };
}

function summaryOf(
  config: Config,
  shown: Record<string, unknown>,
  report: RunReport,
  verdict: Verdict,
  notes: readonly string[],
): Summary {
  const starts = report.levels.map(({ windowStartS }) => windowStartS);
  const ends = report.levels.map(({ windowStartS, durationS }) => windowStartS + durationS);
  return {
    schema: 1,
    scenario: config.scenario,
    verdict,
    config: shown,
    sloMs: config.sloMs,
    ...(notes.length > 0 ? { notes: [...notes] } : {}),
    window: { startS: starts.length ? Math.min(...starts) : 0, endS: ends.length ? Math.max(...ends) : 0 },
    ...report,
  };
}

/** The table of levels and the verdict below it. A run without a completed request shows no figure at all. */
export function summaryText(report: RunReport, verdict: Verdict, notes: readonly string[] = []): string {
  const lines: string[] = [];
  if (report.total.requests > 0) lines.push(levelTable(report.levels));
  for (const line of failureLines(report.levels)) lines.push(line);
  const client = clientLines(report);
  if (client.length > 0) lines.push(client.join("\n"));
  const cached = cachedLine(report);
  if (cached !== undefined) lines.push(cached);
  if (notes.length > 0) lines.push(notes.map((note) => `note: ${note}`).join("\n"));
  lines.push(verdict.pass ? `PASS, ${verdict.validity}` : verdict.reasons.map((reason) => `FAIL ${reason}`).join("\n"));
  return lines.join("\n\n");
}

/** What is known of the input that the server took from its prefix cache; undefined where no input was counted. */
function cachedLine({ total }: RunReport): string | undefined {
  if (total.completed === 0 || total.inputTokens === 0) return undefined;
  const { cachedShare, cachedSource } = total;
  if (cachedShare === undefined) return "cached input: unknown, the server reports none in usage or metrics";
  return `cached input: ${percent(cachedShare)} of the run's, by the server's ${cachedSource === "usage" ? "usage" : "counters"}`;
}

const cell = (value: number, measured: number) => (measured > 0 ? shortNumber(value) : "-");

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
  { heading: "good", cell: ({ goodShare }) => (goodShare === undefined ? "" : percent(goodShare)) },
];

/** The table of levels; columns that no level fills are left out. */
export function levelTable(levels: readonly LevelSummary[]): string {
  const used = columns.filter((column) => levels.some((level) => !["", "-"].includes(column.cell(level))));
  return textTable(used, levels);
}

function failureLines(levels: readonly LevelSummary[]): string[] {
  const lines = levels
    .filter(({ failed }) => failed > 0)
    .flatMap(({ name, failures, failureMessages = {} }) => {
      const classes = Object.entries(failures).map(([failure, count]) => `${failure} ${count}`);
      const said = Object.entries(failureMessages).map(
        ([failure, message = ""]) => `  ${failure}: ${oneLine(message)}`,
      );
      return [`${name} failed: ${classes.join(", ")}`, ...said];
    });
  return lines.length > 0 ? [lines.join("\n")] : [];
}

/** A server's message for the terminal: a whole page may come with an error, and its control characters are not ours. */
function oneLine(message: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is left out
  const line = message.replace(/[\x00-\x1f\x7f\s]+/g, " ").trim();
  return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}
