/**
 * Arguments that npm took for itself. `npm start concurrency-sweep -e BASE_URL=...` reaches the program as
 * `concurrency-sweep` alone: up to `--` npm reads every option as its own, `-e` as an abbreviation of --enjoy-by, and leaves
 * no trace of it in the environment. What it was given stands in its own debug log.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import { npmProcess } from "../build/parent";
import { isSettingName } from "../lib/settings/settings";

/** npm's options that change nothing of what is asked for here, and whether a value follows. */
const harmless: Readonly<Record<string, boolean>> = {
  ...{ "--loglevel": true, "--prefix": true, "--cache": true, "--userconfig": true, "--script-shell": true },
  ...{ "--logs-dir": true, "--logs-max": true, "--color": false, "--no-color": false, "--if-present": false },
  ...{ "--no-update-notifier": false, "--update-notifier": false, "--foreground-scripts": false, "--offline": false },
  ...{
    "--prefer-offline": false,
    "--no-fund": false,
    "--no-audit": false,
    "--progress": false,
    "--no-progress": false,
  },
};

/** The words that npm's log says it was given, its own command first; undefined where the log does not say it. */
export function wordsInLog(log: string): string[] | undefined {
  const line = /^\d+ verbose argv (.*)$/m.exec(log)?.[1];
  if (line === undefined) return undefined;
  return [...line.matchAll(/"(?:[^"\\]|\\.)*"/g)].map(([word]) => JSON.parse(word) as string);
}

/** The options among npm's words that it took and that were meant for us, as they were typed but for their values. */
export function takenWords(words: readonly string[]): string[] {
  const taken: string[] = [];
  const own = words.includes("--") ? words.slice(0, words.indexOf("--")) : words;
  for (let i = 0; i < own.length; i++) {
    const word = own[i] ?? "";
    if (!word.startsWith("-")) continue;
    const [option = ""] = word.split("=", 1);
    const value = word.includes("=") ? word.slice(option.length + 1) : (own[i + 1] ?? "");
    if (option in harmless) {
      if (harmless[option] && !word.includes("=")) i++;
      continue;
    }
    // A value may be a key.
    const name = /^([A-Za-z_]\w*)=/.exec(value)?.[1];
    if (option === "--before" || option === "--e" || option === "--env") taken.push(name ? `-e ${name}=...` : "-e");
    else taken.push(option);
    if (!word.includes("=") && !value.startsWith("-")) i++;
  }
  return taken;
}

/** What npm leaves in the environment of options that it does not know. */
export function takenInEnvironment(environment: NodeJS.ProcessEnv): string[] {
  return Object.entries(environment).flatMap(([variable, value = ""]) => {
    const option = /^npm_config_(\w+)$/.exec(variable)?.[1] ?? "";
    if (option === "env") return [`-e ${value.split("=", 1)[0]}=...`];
    const name = option.slice(1).toUpperCase();
    if (option.startsWith("e") && isSettingName(name)) return [`-e ${name}=...`];
    return ["out", "vus", "quiet"].includes(option) ? [`--${option}`] : [];
  });
}

/** What npm took from us. */
export interface Taken {
  /** In words; empty where it took nothing, or we were not started by `npm start`. */
  readonly words: readonly string[];
  /** The folder of a RESULTS among them. */
  readonly results: string | undefined;
}

/** The options that npm took from us, as far as its log or the environment tells. */
export function takenByNpm(environment: NodeJS.ProcessEnv = process.env): Taken {
  if (environment.npm_lifecycle_event !== "start") return { words: [], results: undefined };
  const log = npmLog(environment);
  const words = log === undefined ? undefined : wordsInLog(log);
  if (words === undefined) return { words: takenInEnvironment(environment), results: undefined };
  const results = words.flatMap((word) => /^(?:--?\w+=)?RESULTS=(.+)$/.exec(word)?.[1] ?? []).at(-1);
  return { words: takenWords(words.slice(1)), results };
}

const logName = /[\\/]_?[\w-]*[\\/]?[^\\/]*-debug-\d+\.log$/;

/** The log of the npm that started us; undefined where it keeps none. */
function npmLog(environment: NodeJS.ProcessEnv): string | undefined {
  const files = process.platform === "linux" ? openLogs() : recentLogs(environment);
  for (const file of files) {
    try {
      const log = readFileSync(file, "utf8");
      if (wordsInLog(log) !== undefined) return log;
    } catch {
      // Gone, or another user's.
    }
  }
  return undefined;
}

/** The logs that our npm has open. */
function openLogs(): string[] {
  const npm = npmProcess();
  if (npm === undefined) return [];
  const folder = `/proc/${npm}/fd`;
  try {
    return readdirSync(folder).flatMap((fd) => {
      const target = readlinkSync(path.join(folder, fd));
      return logName.test(target) ? [target] : [];
    });
  } catch {
    return [];
  }
}

/** The newest log that was begun before we were; where nothing says which file a process has open, it is npm's that started us. */
function recentLogs(environment: NodeJS.ProcessEnv): string[] {
  const { npm_config_logs_dir: own = "", npm_config_cache: cache = "" } = environment;
  const folder = own || path.join(cache, "_logs");
  if (!existsSync(folder)) return [];
  const begun = new Date(performance.timeOrigin).toISOString().replace(/[.:]/g, "_");
  return readdirSync(folder)
    .filter((file) => logName.test(path.join(folder, file)) && file < begun)
    .sort()
    .slice(-1)
    .map((file) => path.join(folder, file));
}
