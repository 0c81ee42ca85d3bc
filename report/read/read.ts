/**
 * Reads a results folder: summary.json, config.json and the records. Requests are kept as rows of a table, their arrivals as
 * histograms, so that a run of a million requests fits into memory.
 */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { LevelSummary, Second, SloMs, Stats, Summary, Validity } from "../../lib/figures/level-summary";
import { type RequestItl, requestItl } from "../judge/itl";
import { ArrivalFold } from "./arrivals";
import { FailureFold, type FailureWords } from "./failures";
import { foldLevels } from "./levels";
import {
  checkCompression,
  type Damage,
  type EndLine,
  type LevelLine,
  type PartLine,
  type PointsLine,
  type RunLine,
  readRecords,
  recordsPath,
} from "./records";
import { RequestTable, type Rows } from "./rows";

export type { RequestRow, Rows } from "./rows";
export type { LevelSummary, Second, SloMs, Stats, Summary, Validity };

/** A results folder. `summary` is absent when the run was killed before it could write one. */
export interface Results {
  dir: string;
  name: string;
  scenario: string;
  summary?: Summary;
  config: Record<string, unknown>;
  run?: RunLine;
  /** What each level came to: the summary's, or folded from the records of a run that was killed before it wrote one. */
  levelSummaries: LevelSummary[];
  levels: LevelLine[];
  /** undefined: the folder has no records. */
  requests?: Rows;
  /** Inter-token latencies by level and output tokens over time; undefined where the folder has no records. */
  arrivals?: ArrivalFold;
  /** What failed requests of all phases reported, the commonest first. */
  failures: FailureWords[];
  /** Every inter-token latency of the completed steady requests by level; undefined where it was not asked for. */
  itl?: Map<string, RequestItl[]>;
  points: PointsLine[];
  end?: EndLine;
  damage: Damage;
}

async function readJson(path: string, damage: Damage): Promise<Record<string, unknown> | undefined> {
  if (!existsSync(path)) return undefined;
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
    damage.push(`${basename(path)} cannot be read: it holds no object`);
  } catch (error) {
    damage.push(`${basename(path)} cannot be read: ${(error as Error).message}`);
  }
  return undefined;
}

/** The schema of summaries and records that is read here. */
const knownSchema = 1;

function checkSchema(schema: unknown, of: string, damage: Damage): void {
  if (schema !== knownSchema)
    damage.push(`the schema of ${of} is ${JSON.stringify(schema) ?? "not given"}; this version reads ${knownSchema}`);
}

async function readSummary(path: string, damage: Damage): Promise<Summary | undefined> {
  const value = await readJson(path, damage);
  if (value === undefined) return undefined;
  const { levels, verdict, validity } = value as Partial<Summary>;
  const missing = [
    Array.isArray(levels) ? "" : "levels",
    typeof verdict?.pass === "boolean" && Array.isArray(verdict.reasons) ? "" : "verdict",
    typeof validity?.state === "string" && Array.isArray(validity.reasons) ? "" : "validity",
  ].filter((part) => part !== "");
  if (missing.length > 0) {
    damage.push(`summary.json cannot be read: it has no ${missing.join(", no ")}`);
    return undefined;
  }
  checkSchema(value.schema, "summary.json", damage);
  const wrong = levelProblems(levels as unknown[]);
  if (wrong.length > 0) {
    damage.push(`summary.json cannot be read: ${wrong.join("; ")}`);
    return undefined;
  }
  return value as unknown as Summary;
}

/** What is wrong with the levels of a summary: a verdict rests on these fields, and one that is not a number would pass limits. */
function levelProblems(levels: readonly unknown[]): string[] {
  const names = new Set<string>();
  return levels.flatMap((level, i) => {
    const fields = typeof level === "object" && level !== null ? (level as Record<string, unknown>) : {};
    const { name, requests, completed, failed } = fields;
    if (typeof name !== "string" || name === "") return [`level ${i + 1} has no name`];
    if (names.has(name)) return [`there are two levels ${name}`];
    names.add(name);
    const counts = ["requests", "completed", "failed", "inputTokens", "outputTokens"];
    const rates = ["durationS", "requestThroughput", "outputThroughput"];
    const wrong = [
      ...counts.filter((field) => !(Number.isSafeInteger(fields[field]) && Number(fields[field]) >= 0)),
      ...rates.filter((field) => !(Number.isFinite(fields[field]) && Number(fields[field]) >= 0)),
    ];
    if (wrong.length > 0) return [`level ${name} has no ${wrong.join(", no ")} that is a number from 0`];
    if (Number(completed) + Number(failed) !== requests)
      return [`level ${name} has other requests than completed and failed`];
    return [];
  });
}

/** Levels of which the records hold other numbers than the run counted: a file that was cut or changed, or another run's. */
function checkCounts({ levelSummaries, requests, damage }: Results): void {
  const held = new Map<string, { requests: number; completed: number; inputTokens: number; outputTokens: number }>();
  for (const { level, phase, completed, inputTokens, outputTokens } of requests ?? []) {
    if (phase !== "steady") continue;
    const counts = held.get(level) ?? { requests: 0, completed: 0, inputTokens: 0, outputTokens: 0 };
    counts.requests++;
    if (completed) {
      counts.completed++;
      counts.inputTokens += inputTokens;
      counts.outputTokens += outputTokens;
    }
    held.set(level, counts);
  }
  for (const level of levelSummaries) {
    const found = held.get(level.name);
    if ((found?.requests ?? 0) !== level.requests) {
      damage.push(
        `the records hold ${found?.requests ?? 0} of ${level.requests} steady requests of level ${level.name}`,
      );
      continue;
    }
    for (const [key, words] of [
      ["completed", "completed requests"],
      ["inputTokens", "input tokens"],
      ["outputTokens", "output tokens"],
    ] as const)
      if ((found?.[key] ?? 0) !== level[key])
        damage.push(`the records hold ${found?.[key] ?? 0} ${words} of level ${level.name}, the summary ${level[key]}`);
  }
}

/** What is read beside the rows, and who learns how far it is. */
export interface ReadOptions {
  /** Keep every inter-token latency (20 bytes each), as bounds of its percentiles need. */
  itl?: boolean;
  /** Called now and then with the share (0..1) of the records that was read. */
  onProgress?: (share: number) => void;
}

/** A folder without results, or with results of which nothing can be read. The command line is right, so it is not refused: exit code 98. */
export class UnreadableResults extends Error {}

/** Reads a results folder. @throws UnreadableResults where it holds neither a summary nor records. */
export async function readResults(
  dir: string,
  { itl: withItl = false, onProgress }: ReadOptions = {},
): Promise<Results> {
  const damage: Damage = [];
  const summaryPath = join(dir, "summary.json");
  const summary = await readSummary(summaryPath, damage);
  const config = await readJson(join(dir, "config.json"), damage);
  const results: Results = {
    dir,
    name: basename(resolve(dir)),
    scenario: summary?.scenario ?? "",
    summary,
    config: config ?? summary?.config ?? {},
    levelSummaries: summary?.levels ?? [],
    levels: [],
    points: [],
    failures: [],
    damage,
  };
  const path = recordsPath(dir);
  if (!path && !summary)
    throw new UnreadableResults(
      damage.length > 0
        ? `${dir} has no records, and ${damage.join("; ")}`
        : `${dir} holds neither summary.json nor records.ndjson(.gz): not a results folder`,
    );
  if (!path) {
    damage.push("the folder has no records: what is folded from single requests is missing");
    return results;
  }
  const table = new RequestTable();
  results.requests = table.rows;
  const arrivals = new ArrivalFold();
  const failures = new FailureFold();
  results.arrivals = arrivals;
  if (withItl) results.itl = new Map();
  let unknown = 0;
  let part: PartLine | undefined;
  // Without a summary they are read once more, to fold the levels.
  const share = (from: number, part: number) => onProgress && ((read: number) => onProgress(from + part * read));
  for await (const line of readRecords(path, damage, share(0, summary ? 1 : 0.5))) {
    switch (line.type) {
      case "run":
        if (results.run) damage.push("the records hold the first line of more than one run");
        results.run = line;
        checkSchema(line.schema, "the records", damage);
        results.scenario ||= line.scenario;
        if (!config && !summary) results.config = line.config;
        break;
      case "level":
        results.levels.push(line);
        break;
      case "request":
        table.add(line, arrivals.add(line));
        if (line.outcome === "failed") failures.add(line);
        if (results.itl && line.outcome === "completed" && line.phase === "steady") {
          const level = results.itl.get(line.level) ?? [];
          level.push(requestItl(line));
          results.itl.set(line.level, level);
        }
        break;
      case "points":
        results.points.push(line);
        break;
      case "part":
        part ??= line;
        break;
      case "session": // the summary has them, or the fold of all lines
      case "pages": // likewise
        break;
      case "end":
        if (results.end) damage.push("the records hold more than one end line");
        results.end = line;
        break;
      default:
        unknown++;
    }
  }
  results.failures = failures.words;
  if (part) {
    damage.push(`the run is part ${part.part} of ${part.of}: npm run merge makes one of all, which can be judged`);
  }
  if (unknown > 0) damage.push(`${unknown} lines of the records are of a kind that this version does not know`);
  if (withItl) await checkCompression(path, damage);
  if (!results.run) damage.push("the records have no first line: settings and time of the run are not known from them");
  if (summary) {
    checkCounts(results);
  } else {
    damage.push(
      existsSync(summaryPath)
        ? "the levels are folded from the records"
        : "there is no summary.json: the run was killed before it wrote one, or could not write it; the levels are folded from the records",
    );
    results.levelSummaries = await foldLevels(path, results, share(0.5, 0.5));
  }
  return results;
}

/** A setting as the run echoed it; undefined where it has none of this name. */
export function setting(config: Record<string, unknown>, name: string): unknown {
  return config[name];
}
