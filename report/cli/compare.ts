/**
 * `npm run compare -- A B`, or several runs a side: `npm run compare -- A1 A2 A3 -- B1 B2 B3`. Is B worse than A? What it rests
 * on stands in report/judge/comparison.ts.
 * Exit 0: no regression, and a change of --limit is excluded; 99: at least one regression; 96: unclear, or nothing judged; 98: a
 * run is not valid or failed by its own thresholds; 104: the runs are not of one workload, or cannot be compared as asked.
 */
import { realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { makeOutput, Unwritten, writeWhole } from "../../build/folder";
import { type Column, textTable } from "../../lib/figures/table";
import { unknownContent, workloadDigest, workloadIdentity } from "../../lib/workload/workload-identity";
import { formatChange, formatNumber, formatShare, plural } from "../format";
import { capacityOf, compareCapacities } from "../judge/capacity";
import {
  type ComparedMetric,
  type CompareOptions,
  compareSides,
  defaultOptions,
  failedRequests,
  runsNeeded,
  type Side,
} from "../judge/comparison";
import {
  type Check,
  exitCodes,
  type Outcome,
  type OutcomeState,
  outcomeJson,
  outcomeOf,
  published,
} from "../judge/outcome";
import { figureNames, runFailures, runFigures } from "../judge/run-figures";
import { type ScriptChange, scriptChanges } from "../judge/script-metrics";
import { invalidity } from "../judge/validity";
import { type Results, readResults } from "../read/read";
import { numberFromZero, parseCommandLine, percentage, runCommandLine } from "./options";

export interface Difference {
  setting: string;
  a: unknown;
  b: unknown;
}

/** What a run was to send. */
const identityOf = ({ scenario, config, summary, run }: Results): Record<string, unknown> =>
  workloadIdentity({ scenario, config, digests: summary?.digests ?? run?.digests });

/** In what the work of two runs differs; empty where they did the same. */
export function workloadDifferences(a: Results, b: Results): Difference[] {
  const [ofA, ofB] = [identityOf(a), identityOf(b)];
  const differs = (name: string) =>
    JSON.stringify(ofA[name]) !== JSON.stringify(ofB[name]) || ofA[name] === unknownContent;
  const differences = [...new Set([...Object.keys(ofA), ...Object.keys(ofB)])]
    .sort((x, y) => Number(y === "scenario") - Number(x === "scenario") || (x < y ? -1 : 1))
    .filter(differs)
    .map((setting) => ({ setting, a: ofA[setting], b: ofB[setting] }));
  const levels = ({ levelSummaries }: Results) => levelSummaries.map(({ name }) => name).join(", ");
  // A search chooses its levels by what it finds.
  if (a.scenario !== "capacity" && differences.length === 0 && levels(a) !== levels(b))
    return [{ setting: "levels", a: levels(a), b: levels(b) }];
  return differences;
}

/** Compares the runs of two sides, level by level. */
export function compareRuns(
  a: readonly Results[],
  b: readonly Results[],
  options: CompareOptions = defaultOptions,
): ComparedMetric[] {
  const side = (runs: readonly Results[]): Side => ({ figures: runs.map(runFigures), failures: runs.map(runFailures) });
  const never = new Set(unsteadyLevels([...a, ...b]).map(({ level }) => level));
  // The figures of a level that never came to rest depend on how long it lasted: they show no pass.
  return compareSides(side(a), side(b), options).map((row) =>
    never.has(row.level) && row.metric !== failedRequests && /^(no change|improvement)$/.test(row.verdict)
      ? { ...row, verdict: "unclear" as const }
      : row,
  );
}

/** Levels that were never steady, by run; a soak is judged by its drift. */
function unsteadyLevels(runs: readonly Results[]): { run: string; level: string }[] {
  return runs.flatMap(({ name: run, scenario, levelSummaries }) =>
    scenario === "soak"
      ? []
      : levelSummaries.flatMap(({ name: level, steady }) => (steady?.state === "never" ? [{ run, level }] : [])),
  );
}

const steadyNotes = (runs: readonly Results[]): string[] =>
  unsteadyLevels(runs).map(
    ({ run, level }) => `${level} was never steady in ${run}: its metrics can show a regression and no pass`,
  );

/** Why a run cannot be compared: it is not valid, or it failed by itself. */
export function doubts(run: Results): string[] {
  const reasons = invalidity(run);
  const verdict = run.summary?.verdict;
  // One that is not valid has not passed either, for that reason.
  if (reasons.length === 0 && verdict?.pass !== true)
    reasons.push(
      `the run failed by its own thresholds${verdict && verdict.reasons.length > 0 ? ` (${verdict.reasons.join(", ")})` : ""}`,
    );
  return reasons.map((reason) => `${run.name}: ${reason}`);
}

/** The share of the input that came from the server's prefix cache, where the runs of one side have another than the other's. */
function cacheNotes(a: readonly Results[], b: readonly Results[]): string[] {
  const shareOf = (runs: readonly Results[], name: string): number | undefined => {
    const shares = runs.flatMap(({ levelSummaries }) =>
      levelSummaries.flatMap((level) => (level.name === name ? [level.cachedShare] : [])),
    );
    const known = shares.filter((share) => share !== undefined);
    return known.length > 0 ? known.reduce((sum, share) => sum + share, 0) / known.length : undefined;
  };
  return (a[0]?.levelSummaries ?? []).flatMap(({ name }) => {
    const [shareA, shareB] = [shareOf(a, name), shareOf(b, name)];
    if (shareA === undefined && shareB === undefined) return [];
    if (shareA !== undefined && shareB !== undefined && Math.abs(shareA - shareB) <= 0.01) return [];
    const words = (share: number | undefined) => (share === undefined ? "not known" : formatShare(share));
    return [
      `${name}: the share of input tokens from the prefix cache differs: ${words(shareA)} in A, ${words(shareB)} in B`,
    ];
  });
}

const scriptNote = ({ metric, unit, changes }: ScriptChange): string => {
  const after = unit === undefined ? "" : ` ${unit}`;
  const words = changes.map(
    ({ aggregate, a, b, change }) =>
      `${aggregate} ${formatNumber(a)}${after} to ${formatNumber(b)}${after}${change === undefined ? "" : ` (${formatChange(change)})`}`,
  );
  return `${metric}, the script's own: ${words.join(", ")}; only aggregates are kept, so that this is shown and not judged`;
};

const sidesOfRow = ({ a, b, unit }: ComparedMetric): [string, string] => [
  `${formatNumber(a)} ${unit}`,
  `${formatNumber(b)} ${unit}`,
];

const formatP = (p: number | undefined): string => (p === undefined ? "" : p < 0.001 ? "<0.001" : p.toFixed(3));

const verdictWords = ({ verdict, required }: ComparedMetric): string => {
  if (verdict === "regression") return "REGRESSION";
  return verdict === "unclear" && !required ? "unclear (watched)" : verdict;
};

/** The comparison as lines of text. */
function compareLines(rows: readonly ComparedMetric[], options: CompareOptions): string[] {
  const columns: Column<ComparedMetric>[] = [
    { heading: "level", cell: ({ level }) => level, left: true },
    { heading: "metric", cell: ({ metric }) => metric, left: true },
    { heading: "A", cell: (row) => sidesOfRow(row)[0] },
    { heading: "B", cell: (row) => sidesOfRow(row)[1] },
    { heading: "change", cell: ({ change }) => formatChange(change) },
    {
      heading: `${formatShare(options.confidence)} bounds`,
      cell: ({ low, high }) => (low === undefined ? "" : `${formatChange(low)} to ${formatChange(high)}`),
    },
    { heading: "p", cell: ({ p }) => formatP(p) },
    { heading: "verdict", cell: verdictWords, left: true },
  ];
  return textTable(columns, rows).split("\n");
}

/** What the rows come to, in a state and a line. */
export function comparisonState(
  rows: readonly ComparedMetric[],
  options: CompareOptions,
): { state: OutcomeState; headline: string } {
  const sure = formatShare(options.confidence);
  const regressions = rows.filter(({ verdict }) => verdict === "regression");
  if (regressions.length > 0) {
    const failures = regressions.filter(({ metric }) => metric === failedRequests).length;
    const figures = regressions.length - failures;
    const words = [
      figures > 0 ? `${plural(figures, "metric")} worse` : "",
      failures > 0 ? `more requests fail in ${plural(failures, "level")}` : "",
    ];
    const what = words.filter((each) => each !== "").join(", and ");
    return { state: "failed", headline: `REGRESSION: ${what}, with ${sure} confidence for all metrics together` };
  }
  const required = rows.filter((row) => row.required);
  const judged = required.filter(({ verdict, metric }) => verdict !== "not judged" && metric !== failedRequests);
  if (judged.length === 0 && (options.metrics?.join() !== failedRequests || required.length === 0))
    return { state: "inconclusive", headline: "NOTHING JUDGED: too few requests for any metric that a pass needs" };
  const unclear = required.filter(({ verdict }) => verdict === "unclear" || verdict === "not judged");
  if (unclear.length > 0) {
    const runs = Math.max(0, ...unclear.map((row) => runsNeeded(row, options) ?? 0));
    const more = runs > 0 ? `; about ${runs} runs a side would tell` : "";
    return {
      state: "inconclusive",
      headline: `UNCLEAR: a change of ${formatShare(options.limit)} for the worse cannot be excluded in ${unclear.length} of ${plural(required.length, "metric")}${more}`,
    };
  }
  return {
    state: "passed",
    headline: `NO REGRESSION: a change of ${formatShare(options.limit)} for the worse is excluded in ${plural(required.length, "metric")}, with ${sure} confidence`,
  };
}

interface Flags {
  baseline?: string[];
  candidate?: string[];
  limit?: number;
  floor?: number;
  floorMs?: number;
  confidence?: number;
  runSd?: number;
  metric?: string[];
  anyway?: boolean;
  output?: string;
  page?: boolean;
  json?: boolean;
}

/** Stands for `--` among the arguments: commander takes the real one out. */
const separator = "\0--";

/**
 * The folders of both sides. Two folders are A and B; of more, `--` or --baseline and --candidate say which are whose.
 * @throws Error where that is not given: npm takes the first `--` for its own.
 */
export function sidesOf(args: readonly string[], { baseline, candidate }: Flags): [string[], string[]] {
  if (baseline || candidate) {
    if (!baseline || !candidate || args.length > 0)
      throw new Error("name all folders of both sides by --baseline and --candidate");
    return [baseline, candidate];
  }
  const at = args.indexOf(separator);
  if (at !== args.lastIndexOf(separator)) throw new Error("there are two -- among the folders; one divides A from B");
  const [a, b] = at >= 0 ? [args.slice(0, at), args.slice(at + 1)] : [args.slice(0, 1), args.slice(1)];
  if (a.length > 0 && b.length > 0 && (at >= 0 || args.length === 2)) return [a, b];
  throw new Error(
    `${args.filter((each) => each !== separator).length} folders: name A and B, or npm run compare -- A1 A2 ... -- B1 B2 ... (npm takes the first -- for its own)`,
  );
}

/** @throws Error for a run that stands in two places, as itself or as a copy: it is no evidence on itself. */
function refuseTwice(runs: readonly Results[]): void {
  const folders = new Set<string>();
  const starts = new Map<number, string>();
  for (const { dir, run } of runs) {
    const real = realpathSync(dir);
    if (folders.has(real)) throw new Error(`${dir} is named twice`);
    folders.add(real);
    if (!run) continue;
    const other = starts.get(run.startUnixNs);
    if (other !== undefined) throw new Error(`${other} and ${dir} are the same run: they began at the same nanosecond`);
    starts.set(run.startUnixNs, dir);
  }
}

/** The names of figures in a list such as "ttft-p50,output-throughput". @throws Error for a name that is none. */
function metricNames(lists: readonly string[] | undefined): string[] | undefined {
  const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "");
  const names = lists?.flatMap((list) => list.split(",")).map((name) => name.trim());
  return names?.map((name) => {
    const found = figureNames.find((known) => plain(known) === plain(name));
    if (!found) throw new Error(`--metric ${name} is none of ${figureNames.join(", ")}`);
    return found;
  });
}

export function commandLine(): Command {
  return new Command("compare")
    .description("Compares runs B of one workload with runs A, level by level, with bounds for each change")
    .argument("[folders...]", "results folders: A B, or A1 A2 ... -- B1 B2 ...")
    .option("--baseline <dirs...>", "the folders of A by name")
    .option("--candidate <dirs...>", "the folders of B by name")
    .option(
      "--limit <percent>",
      "a change for the worse that a pass has to exclude (default: 5)",
      percentage(0.1, 1000),
    )
    .option("--floor <percent>", "a smaller change is no regression (default: half of --limit)", percentage(0, 1000))
    .option(
      "--floor-ms <ms>",
      "nor is a smaller one of TPOT or ITL; of other times ten times that (default: 0.1)",
      numberFromZero,
    )
    .option(
      "--confidence <percent>",
      "of every bound, and against any false regression (default: 99)",
      percentage(50, 99.999),
    )
    .option(
      "--run-sd <percent>",
      "what runs of one server differ by, where a side has one run (default: 3)",
      percentage(0, 100),
    )
    .option("--metric <names...>", "judge these only, all of them for a pass, such as ttft-p90,itl-p99")
    .option("--anyway", "compare although the workloads differ")
    .option(
      "--output <dir>",
      "where compare.html, compare.junit.xml, compare.md and compare.json are written (default: the last folder of B)",
    )
    .option("--no-page", "leave compare.html out")
    .option("--json", "print the comparison as JSON, and nothing else");
}

function optionsOf(flags: Flags): CompareOptions {
  const limit = flags.limit ?? defaultOptions.limit;
  const floor = flags.floor ?? limit / 2;
  if (floor > limit)
    throw new Error(`--floor ${formatShare(floor)} is above --limit ${formatShare(limit)}; it has to be below`);
  return {
    ...{ limit, floor, floorMs: flags.floorMs ?? defaultOptions.floorMs },
    confidence: flags.confidence ?? defaultOptions.confidence,
    assumedSd: flags.runSd ?? defaultOptions.assumedSd,
    ...(flags.metric ? { metrics: metricNames(flags.metric) } : {}),
  };
}

/** The command; resolves to the exit code. @throws Error for what is asked wrongly. */
export async function main(
  argv: readonly string[],
  print: (text: string) => void = (text) => process.stdout.write(text),
): Promise<number> {
  const program = commandLine();
  parseCommandLine(
    program,
    argv.map((arg) => (arg === "--" ? separator : arg)),
  );
  const flags = program.opts<Flags>();
  const options = optionsOf(flags);
  const sides = sidesOf(program.args, flags);
  if (flags.output !== undefined) makeOutput(flags.output);
  const read = await Promise.all(sides.map((side) => Promise.all(side.map(readOrReason))));
  const { outcome, lines, page } = judged(read as [Read[], Read[]], options, flags.anyway === true);
  print(flags.json ? outcomeJson(outcome) : `${[...lines, outcome.headline].join("\n")}\n`);
  const last = read[1]?.at(-1);
  const dir = flags.output ?? (typeof last === "string" ? undefined : last?.dir);
  const code = published(outcome, dir);
  return dir === undefined ? code : writePage(join(dir, "compare.html"), flags.page === false ? undefined : page, code);
}

/** Writes the page, or takes an older one away where there is none; resolves to the exit code, which is no pass where that fails. */
async function writePage(file: string, page: (() => Promise<string>) | undefined, code: number): Promise<number> {
  try {
    if (page) writeWhole(file, await page());
    else rmSync(file, { force: true });
    return code;
  } catch (error) {
    const unwritten = error instanceof Unwritten ? error : new Unwritten(file, error);
    console.error(`compare: ${unwritten.message}; ${unwritten.advice("--output")}`);
    return code || exitCodes.refused;
  }
}

/** A run, or why its folder cannot be read. */
type Read = Results | string;

const readOrReason = (folder: string): Promise<Read> =>
  readResults(folder, { itl: true }).catch((error: Error) => error.message);

function judged(
  [a, b]: [Read[], Read[]],
  options: CompareOptions,
  anyway: boolean,
): { outcome: Outcome; lines: string[]; page?: () => Promise<string> } {
  const nameOf = (read: Read) => (typeof read === "string" ? "?" : read.name);
  const subject = [a, b].map((side) => side.map(nameOf).join(", ")).join(" and ");
  const end = (state: OutcomeState, headline: string, invalid: string[], lines: string[] = [], details = {}) => ({
    outcome: outcomeOf("compare", subject, state, headline, { invalid, details: { options, ...details } }),
    lines,
  });
  const unread = [...a, ...b].filter((read) => typeof read === "string");
  if (unread.length > 0) return end("not valid", `NOT VALID: ${unread.join("; ")}`, unread);
  const [runsA, runsB] = [a, b] as [Results[], Results[]];
  const runs = [...runsA, ...runsB];
  try {
    refuseTwice(runs);
  } catch (error) {
    return end("refused", `REFUSED: ${(error as Error).message}`, [(error as Error).message]);
  }
  const [first, ...others] = runs as [Results, ...Results[]];
  const differing = others.map((run) => ({ run, differences: workloadDifferences(first, run) }));
  const other = differing.find(({ differences }) => differences.length > 0);
  const differences = other?.differences ?? [];
  const lines: string[] = [];
  if (other) {
    lines.push(`The runs are not of one workload (${first.name} and ${other.run.name}):`);
    for (const each of differences)
      lines.push(`  ${each.setting}: ${JSON.stringify(each.a) ?? "none"} and ${JSON.stringify(each.b) ?? "none"}`);
  }
  if (other && !anyway) {
    const words = differences.map(({ setting }) => setting).join(", ");
    const headline = `REFUSED: the runs are not of one workload (${words}); --anyway compares them all the same`;
    return end("refused", headline, [`the workloads differ: ${words}`], lines, { differences });
  }
  if (first.scenario === "capacity") {
    const doubt = runs.flatMap(doubts);
    if (doubt.length > 0) return end("not valid", `NOT VALID: ${doubt.join("; ")}`, doubt, lines);
    return capacities(runsA, runsB, options, end);
  }
  const rows = compareRuns(runsA, runsB, options);
  const scriptMetrics = scriptChanges(runsA, runsB);
  const notes = [...cacheNotes(runsA, runsB), ...steadyNotes(runs), ...scriptMetrics.map(scriptNote)];
  if (runsA.length + runsB.length === 2)
    notes.push(
      `One run a side says nothing of how runs differ: a standard deviation of ${formatShare(options.assumedSd)} is assumed (--run-sd), and changes within it stay unclear.`,
    );
  lines.push(...compareLines(rows, options), ...notes);
  const workload = workloadDigest(identityOf(first));
  const details = { workload, differences, notes, rows, scriptMetrics };
  const invalid = runs.flatMap(doubts);
  // Charts are loaded for the page alone, when the verdict is printed.
  const pageOf = (outcome: Outcome) => async () => {
    const { comparePage } = await import("../page/compare");
    return comparePage(outcome, rows, notes, options, [runsA, runsB]);
  };
  if (invalid.length > 0) {
    const ended = end("not valid", `NOT VALID: ${invalid.join("; ")}`, invalid, lines, details);
    return { ...ended, page: pageOf(ended.outcome) };
  }
  const { state, headline } = comparisonState(rows, options);
  const outcome = outcomeOf("compare", subject, state, headline, {
    checks: rows.map((row) => checkOf(row)),
    details: { options, ...details },
  });
  return { outcome, lines, page: pageOf(outcome) };
}

/** Two searches for capacity: their intervals are the figure, with the confidence that each search was asked for. */
function capacities<Ended extends { outcome: Outcome }>(
  a: readonly Results[],
  b: readonly Results[],
  { limit }: CompareOptions,
  end: (state: OutcomeState, headline: string, invalid: string[], lines?: string[], details?: object) => Ended,
): Ended & { page?: () => Promise<string> } {
  try {
    const [runA, runB] = [a[0], b[0]];
    if (!runA || !runB || a.length + b.length > 2)
      throw new Error("two searches for capacity can be compared, one on each side; name one folder of each");
    const bounds = [capacityOf(runA), capacityOf(runB)] as const;
    const { verdict, text } = compareCapacities(...bounds, limit);
    const state = { regression: "failed", pass: "passed", unclear: "inconclusive" } as const;
    const ended = end(state[verdict], text, []);
    const page = async () => {
      const { capacityComparePage } = await import("../page/compare");
      return capacityComparePage(ended.outcome, bounds, [a, b]);
    };
    return { ...ended, page };
  } catch (error) {
    return end("refused", `REFUSED: ${(error as Error).message}`, [(error as Error).message]);
  }
}

function checkOf(row: ComparedMetric): Check {
  const { level, metric, change, low, high, p, required, verdict } = row;
  const [a, b] = sidesOfRow(row);
  const bounds = low === undefined ? "" : `, ${formatChange(low)} to ${formatChange(high)}`;
  const chance = p === undefined ? "" : `, p ${formatP(p)}`;
  const state = {
    regression: "failed" as const,
    improvement: "passed" as const,
    "no change": "passed" as const,
    unclear: required ? ("inconclusive" as const) : ("not judged" as const),
    "not judged": required ? ("inconclusive" as const) : ("not judged" as const),
  }[verdict];
  return {
    ...{ level, name: metric, verdict: state },
    text: `${verdictWords(row)}: ${a} to ${b} (${formatChange(change)}${bounds}${chance})`,
  };
}

if (process.argv[1] === __filename) runCommandLine("compare", () => main(process.argv.slice(2)));
