/** One run of a scenario's bundle by the built k6, without npm in between, and what it left in its folder. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { constants, gunzipSync } from "node:zlib";
import { builtK6, distDir } from "../../build/paths";
import type { LevelSummary, Summary } from "../../lib/figures/level-summary";
import type { RecordLine, RequestLine } from "../../lib/figures/records";
import { asEnvironment } from "../../lib/settings/given-settings";
import { k6Environment } from "../../run/simulator";
import { type Child, startChild } from "./child";
import { scratchDir } from "./scratch";

/** A run that goes on. */
export interface StartedRun {
  readonly dir: string;
  readonly child: Child;
  /** The records as they stand now, whole lines only. */
  records(): RecordLine[];
}

/** A run that ended. */
export interface EndedRun {
  readonly dir: string;
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
  readonly summary: Summary;
  readonly records: RecordLine[];
  readonly requests: RequestLine[];
}

export interface RunOptions {
  /** More arguments of `k6 run`. */
  args?: readonly string[];
  /** Environment beside the settings. */
  env?: NodeJS.ProcessEnv;
  timeoutMs?: number;
  /** A command that runs the command behind it, such as `ip netns exec NAME`. */
  within?: readonly string[];
}

/** Settings by name; numbers are written as they are. */
export type RunSettings = Readonly<Record<string, string | number>>;

const recordsFile = "records.ndjson.gz";

/** The k6 that is tested. */
export const k6Binary = (): string => process.env.K6_BINARY || builtK6;

/** Starts a scenario with RESULTS in a folder of its own. */
export function startRun(scenario: string, settings: RunSettings, options: RunOptions = {}): StartedRun {
  const dir = scratchDir();
  const named = Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]));
  const [file = "", ...before] = [...(options.within ?? []), k6Binary()];
  const child = startChild(
    file,
    [
      ...before,
      ...["run", "--quiet", "--no-color", path.join(distDir, `${scenario}.js`)],
      ...["--out", `records=${path.join(dir, recordsFile)}`, ...(options.args ?? [])],
    ],
    {
      cwd: dir,
      env: k6Environment({ ...options.env, ...asEnvironment({ ...named, RESULTS: dir }) }),
      timeoutMs: options.timeoutMs ?? 60_000,
    },
  );
  return { dir, child, records: () => readRecords(path.join(dir, recordsFile)) };
}

/** Runs a scenario to its end. */
export async function run(scenario: string, settings: RunSettings, options: RunOptions = {}): Promise<EndedRun> {
  const started = startRun(scenario, settings, options);
  const { code, stdout, stderr, tookMs } = await started.child.ended;
  return {
    dir: started.dir,
    code,
    stdout,
    stderr,
    tookMs,
    get summary() {
      const file = path.join(started.dir, "summary.json");
      if (!existsSync(file)) throw new Error(`no summary.json; code ${code}\n${stdout}\n${stderr}`);
      return JSON.parse(readFileSync(file, "utf8")) as Summary;
    },
    get records() {
      return started.records();
    },
    get requests() {
      return requestsIn(started.records());
    },
  };
}

/** The lines of a records file; a file that breaks off gives those that are whole. */
export function readRecords(file: string): RecordLine[] {
  const bytes = existsSync(file) ? readFileSync(file) : Buffer.alloc(0);
  if (bytes.length === 0) return [];
  const text = file.endsWith(".gz")
    ? gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }).toString("utf8")
    : bytes.toString("utf8");
  return text.split("\n").flatMap((line) => parseRecordLine(line) ?? []);
}

/** The requests among the lines. */
export function requestsIn(lines: readonly RecordLine[]): RequestLine[] {
  return lines.filter((line): line is RequestLine => line.type === "request");
}

/** A level of a summary by its name. */
export function levelOf(summary: Pick<Summary, "levels">, name: string): LevelSummary {
  const level = summary.levels.find((each) => each.name === name);
  if (!level) throw new Error(`no level ${name} among ${summary.levels.map((each) => each.name).join(", ")}`);
  return level;
}

/**
 * Fails unless the run ended with 0, or with 98 because this machine was too busy for its client to judge a server: for tests
 * of which that is no part.
 */
export function assertEndedWell(ended: Judged): void {
  assertEnded(ended, 0);
}

/** As assertEndedWell, of a run whose gates failed: 99. */
export function assertGatesFailed(ended: Judged): void {
  assertEnded(ended, 99);
}

type Judged = Pick<EndedRun, "code" | "stderr" | "stdout" | "summary">;

function assertEnded(ended: Judged, code: number): void {
  if (ended.code === 98 && ended.summary.verdict.validity === "CLIENT-BOUND") return;
  assert.equal(ended.code, code, ended.stderr + ended.stdout);
}

/** The line in a text; undefined for a text that is none, such as the torn last line of a killed run. */
function parseRecordLine(text: string): RecordLine | undefined {
  try {
    const line: unknown = JSON.parse(text);
    return typeof line === "object" && line !== null && "type" in line ? (line as RecordLine) : undefined;
  } catch {
    return undefined;
  }
}
