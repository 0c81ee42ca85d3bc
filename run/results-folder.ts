/** The folder of a run's results: a run has it to itself. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync } from "node:fs";
import path from "node:path";
import { makeFolders } from "../build/folder";
import { Problem } from "../build/program";
import { exitCodes } from "../lib/outcome/exit-codes";

/** The folder that the user is in. npm itself goes to the project's. */
export function userFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const { npm_lifecycle_event: script, INIT_CWD: folder } = environment;
  return script === "start" && folder ? folder : process.cwd();
}

/** `file` as the user would type it from where they are. */
export function shownToUser(file: string): string {
  const relative = path.relative(userFolder(), file);
  return relative === "" || relative.startsWith("..") ? file : relative;
}

/** Files and folders of a run's results, by name or pattern; extension/internal/results/results.go has the same. */
export const resultNames: readonly string[] = [
  ...[
    "summary.json",
    "config.json",
    "records.ndjson",
    "records.ndjson.gz",
    "records-rest.ndjson",
    "seconds.csv",
    "server-metrics.json",
  ],
  ...["capacity.json", "batch-burst*.json", "embeddings-burst*.json", "thresholds.csv"],
  ...["report.html", "tables", "pictures", "full", "prefill", "start.json", "start.md"],
  ...[
    "start.junit.xml",
    "gate.json",
    "gate.md",
    "gate.junit.xml",
    "compare.json",
    "compare.md",
    "compare.junit.xml",
    "compare.html",
  ],
];

/** Whether a run or its report writes a file or folder of that name. */
export function isResult(name: string): boolean {
  return resultNames.some((pattern) => {
    const [start = "", end] = pattern.split("*");
    return end === undefined ? name === pattern : name.startsWith(start) && name.endsWith(end);
  });
}

const timeName = () => new Date().toISOString().slice(0, 19).replaceAll(":", "").replace("T", "-");

/**
 * Moves what an earlier run left in a folder into a new folder previous-TIME in it, before anything can end this run: nothing
 * of it may be taken for this one's. Returns that folder, undefined where there was nothing to move.
 * @throws Problem with exit code 104 where a file of a result's name is none, which is left alone, or cannot be moved.
 */
export function clearResults(dir: string): string | undefined {
  const old = namesIn(dir).filter(isResult);
  if (old.length === 0) return undefined;
  for (const name of ["summary.json", "config.json"]) {
    if (old.includes(name)) requireResult(dir, name);
  }
  try {
    const to = madeFolder((n) => path.join(dir, `previous-${timeName()}${n > 1 ? `-${n}` : ""}`));
    for (const name of old) renameSync(path.join(dir, name), path.join(to, name));
    return to;
  } catch (error) {
    throw refused(dir, error);
  }
}

/** What is in a folder; nothing of one that is not there or cannot be read, which is reported when it is written to. */
function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

/** Sees that a summary.json or config.json is one that a run wrote. */
function requireResult(dir: string, name: string): void {
  const text = readFileSync(path.join(dir, name), "utf8");
  if (text.trim() === "") return; // the disk was full
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const has = (...keys: string[]) => typeof value === "object" && value !== null && keys.every((key) => key in value);
  if (has("schema", "scenario") || has("THRESHOLDS", "RESULTS")) return;
  throw new Problem(
    `RESULTS=${dir} cannot be used: its ${name} is not a result of tokenclock; name another folder`,
    exitCodes.settings,
  );
}

/** Makes the first of the folders that is not there yet; of two runs at once each has its own. */
function madeFolder(candidate: (attempt: number) => string): string {
  for (let attempt = 1; ; attempt++) {
    const dir = candidate(attempt);
    try {
      mkdirSync(dir);
      return dir;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}

/** Makes a new folder results/<time>-<scenario>/ below the user's; the folders that were made, the lowest first. */
export function newResultsFolder(scenario: string): { dir: string; made: string[] } {
  const results = path.join(userFolder(), "results");
  const above = makeFolder(results);
  try {
    const dir = madeFolder((n) => path.join(results, `${timeName()}-${scenario}${n > 1 ? `-${n}` : ""}`));
    return { dir, made: [dir, ...above] };
  } catch (error) {
    throw refused(results, error);
  }
}

/**
 * Makes a folder with those above it; returns the folders that it made, the lowest first.
 * @throws Problem with exit code 104 where that cannot be.
 */
export function makeFolder(dir: string): string[] {
  try {
    return makeFolders(dir);
  } catch (error) {
    throw new Problem(
      `RESULTS=${dir} cannot be made: ${error instanceof Error ? error.message : error}; name another folder`,
      exitCodes.settings,
    );
  }
}

/** Removes those of the folders in which nothing is, the lowest first; returns whether the first of them is gone. */
export function removeEmpty(dirs: readonly string[]): boolean {
  let removed = 0;
  try {
    for (const dir of dirs) {
      rmdirSync(dir);
      removed++;
    }
  } catch {
    // Something is in it, and so in those above it.
  }
  return removed > 0;
}

function refused(dir: string, error: unknown): Problem {
  return new Problem(
    `RESULTS=${dir} cannot be used: ${error instanceof Error ? error.message : error}; name another folder`,
    exitCodes.settings,
  );
}
