/**
 * `npm run merge -- DIR... --parts N`: makes one result of the records of all runners of a run, and judges it as one process
 * would have. Exit 0 passed, 99 a threshold is violated, 98 not valid (a part is missing, cut or another one's, a client is not
 * valid), 96 too few samples, 104 what is asked wrongly. The coordinator calls it at its end.
 */
import { createWriteStream, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createGzip } from "node:zlib";
import { Command } from "commander";
import { makeOutput } from "../../build/folder";
import { withCosts } from "../../lib/figures/computed-gauges";
import type { PriceSettings } from "../../lib/figures/cost";
import { serverFile } from "../../lib/figures/server-pages";
import { concludeRun } from "../../lib/outcome/summary-files";
import type { SummaryMetrics } from "../../lib/outcome/verdict";
import type { Config } from "../../lib/settings/parse-config";
import { profileOf, thresholds } from "../../thresholds/gates";
import { loadResults } from "../judge/load-results";
import { type Merged, merge, mergeRefusals, type PartRecords } from "../judge/merge";
import { type Outcome, outcomeOf, published } from "../judge/outcome";
import { judgePoints } from "../judge/point-limits";
import { runOutcome } from "../judge/run-outcome";
import { renderReport } from "../page/render";
import type { Summary } from "../read/read";
import {
  checkCompression,
  type Damage,
  type EndLine,
  type LevelLine,
  type PagesLine,
  type PartLine,
  type PointsLine,
  type RequestLine,
  type RunLine,
  readRecords,
  recordsPath,
  type SessionLine,
} from "../read/records";
import { gateConfig, gated } from "./gate";
import { numberFromZero, parseCommandLine, positiveNumber, runCommandLine } from "./options";

interface Options {
  parts: number;
  output?: string;
  ended?: string;
  maxOffset: number;
  maxUncertainty: number;
}

export function commandLine(): Command {
  return new Command("merge")
    .description("Makes one result of the records of all runners of a run, and judges it")
    .argument("<dir...>", "the runners' folders, each with records.ndjson(.gz)")
    .requiredOption("--parts <n>", "how many runners there were", positiveNumber)
    .option("--output <dir>", "folder of the merged result (default: the one that holds the first runner's)")
    .option("--max-offset <ms>", "largest difference of a runner's clock", numberFromZero, 1000)
    .option("--max-uncertainty <ms>", "largest doubt about it", numberFromZero, 25)
    .option("--ended <reason>", "why the run ended early, as the coordinator knows it: such a run is not valid");
}

/** The command; resolves to the exit code. @throws Error for what is asked wrongly. */
export async function main(argv: readonly string[], print: (text: string) => void = console.log): Promise<number> {
  const program = commandLine();
  parseCommandLine(program, argv);
  const options = program.opts<Options>();
  if (!Number.isInteger(options.parts)) throw new Error(`--parts ${options.parts} is not a whole number`);
  const dirs = program.args;
  const output = options.output ?? dirname(resolve(dirs[0] ?? "."));
  const taken = ["summary.json", "records.ndjson.gz", "records.ndjson"].find((name) => existsSync(join(output, name)));
  if (taken) throw new Error(`${join(output, taken)} is there already; name another folder with --output`);
  // Only a folder that is named is made for a refusal, which is then written there: the default one may be a part's misspelt place.
  if (options.output !== undefined || existsSync(output)) makeOutput(output);
  const parts: PartRecords[] = [];
  const refusals = options.ended === undefined ? [] : [`the run ended early: ${options.ended}`];
  for (const dir of dirs) {
    const part = await readPart(dir);
    if (part) parts.push(part);
    else refusals.push(`${dir} has no records`);
  }
  const limits = { parts: options.parts, offsetMs: options.maxOffset, uncertaintyMs: options.maxUncertainty };
  refusals.push(...mergeRefusals(parts, limits));
  const name = basename(resolve(output));
  if (refusals.length > 0) {
    const headline = `NOT VALID: ${refusals.join("; ")}`;
    print(refusals.map((reason) => `FAIL ${reason}`).join("\n"));
    const verdict = outcomeOf("merge", name, "not valid", headline, { invalid: refusals });
    return published(verdict, existsSync(output) ? output : undefined);
  }
  const { outcome, text } = await writeMerged(merge(parts), output);
  print(text);
  return published(outcome, output);
}

/** The records of a folder; undefined where it has none. */
async function readPart(dir: string): Promise<PartRecords | undefined> {
  const path = recordsPath(dir);
  if (!path) return undefined;
  const damage: Damage = [];
  const clocks: PartLine[] = [];
  const requests: RequestLine[] = [];
  const sessions: SessionLine[] = [];
  const levels: LevelLine[] = [];
  const points: PointsLine[] = [];
  let run: RunLine | undefined;
  let pages: PagesLine | undefined;
  let end: EndLine | undefined;
  let unknown = 0;
  for await (const line of readRecords(path, damage)) {
    switch (line.type) {
      case "run":
        if (run) damage.push("the records hold the first line of more than one run");
        run = line;
        break;
      case "part":
        clocks.push(line);
        break;
      case "request":
        requests.push(line);
        break;
      case "session":
        sessions.push(line);
        break;
      case "level":
        levels.push(line);
        break;
      case "points":
        points.push(line);
        break;
      case "pages":
        // A script may poll by itself, under other names.
        if (line.name === run?.scenario) pages = line;
        break;
      case "end":
        if (end) damage.push("the records hold more than one end line");
        end = line;
        break;
      default:
        unknown++;
    }
  }
  if (unknown > 0) damage.push(`${unknown} lines of the records are of a kind that this version does not know`);
  await checkCompression(path, damage);
  return { dir, run, clocks, requests, sessions, levels, points, pages, end, damage };
}

/** Writes the result of a run that was merged, as a run of one process writes its own. */
async function writeMerged(merged: Merged, output: string): Promise<{ outcome: Outcome; text: string }> {
  const { run, report, requests, polled } = merged;
  const shown = { ...run.config, RESULTS: output };
  const config = gateConfig(
    {
      config: run.config,
      ...(typeof run.profile === "object" ? { summary: { profile: run.profile } as Summary } : {}),
    },
    {},
  );
  const expected = thresholds(config, report.levels.map(gated));
  const costed = withCosts(report, run.config as PriceSettings).report;
  const measured = costed.levels.map((summary) => ({
    summary,
    steady: requests.filter(({ level, phase }) => level === summary.name && phase === "steady"),
  }));
  const judged = judgePoints(expected, measured, {
    clientBound: report.validity.state === "CLIENT-BOUND",
    cacheBound: report.validity.state === "CACHE-BOUND",
    droppedIterations: report.validity.droppedIterations,
  });
  const metrics: Record<string, { values: Record<string, number>; thresholds: Record<string, { ok: boolean }> }> = {};
  for (const { metric, expression, ok, value } of judged) {
    const of = metrics[metric] ?? { values: {}, thresholds: {} };
    metrics[metric] = of;
    of.thresholds[expression] = { ok };
    const aggregate = /^[^<>=!\s]+/.exec(expression)?.[0] ?? "";
    if (value !== undefined) of.values[aggregate] = value;
  }
  const recordsError = await writeRecords(merged, join(output, "records.ndjson.gz"));
  const whole = recordsError === undefined ? report : { ...report, recordsError };
  const own = loadResults(report, run.config);
  const serverMetrics = serverFile(run.config, polled);
  const files = { ...own.files, ...(serverMetrics === undefined ? {} : { "server-metrics.json": serverMetrics }) };
  const { output: shownText, exitCode } = concludeRun(
    {
      config: {
        ...shown,
        scenario: run.scenario,
        sloMs: run.sloMs,
        SIMULATE: run.config.SIMULATE === true,
        POWER_METRIC: run.config.POWER_METRIC ?? "",
      } as unknown as Config,
      shown,
      report: whole,
      metrics: metrics satisfies SummaryMetrics,
      gates: { thresholds: expected, profile: profileOf(config) },
      digests: run.digests ?? {},
      own: { ...own, files },
      notes: [`one run of ${run.parts?.length} runners`],
    },
    writeFileWhole,
  );
  await renderReport(output);
  const summary = JSON.parse(readFileSync(join(output, "summary.json"), "utf8")) as Summary;
  const outcome = runOutcome(basename(resolve(output)), [{ name: basename(output), summary }], exitCode, "merge");
  return { outcome, text: shownText.stdout ?? "" };
}

/** Writes a file as a whole or not at all; "" or why it could not be written. */
function writeFileWhole(path: string, text: string): string {
  const other = `${path}.${process.pid}`;
  try {
    writeFileSync(other, text);
    renameSync(other, path);
    return "";
  } catch (error) {
    rmSync(other, { force: true });
    return (error as Error).message;
  }
}

/** Writes the lines of a merged run; undefined or what kept them from being written whole. */
async function writeRecords(
  { run, requests, sessions, levels, points, pages, end }: Merged,
  path: string,
): Promise<string | undefined> {
  function* lines(): Generator<string> {
    for (const line of [[run], requests, sessions, points, pages ?? [], levels, [end]].flat())
      yield `${JSON.stringify(line)}\n`;
  }
  try {
    const gzip = createGzip({ level: constants.Z_BEST_SPEED });
    await pipeline(Readable.from(lines()), gzip, createWriteStream(path));
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

if (process.argv[1] === __filename) runCommandLine("merge", () => main(process.argv.slice(2)));
