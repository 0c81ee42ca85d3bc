/** `npm start [scenario] [-- k6 arguments]`: makes what is missing, runs the scenario and renders its report. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { phaseFigures } from "../lib/figures";
import type { Summary } from "../lib/level-summary";
import { newSalt } from "../lib/salt";
import { type Between, readBetween, runBetween } from "./between";
import { bundleScenarios } from "./bundle";
import { ensureK6 } from "./k6";
import { distDir, root, shown } from "./paths";
import { Problem, runProgram } from "./program";
import { k6Environment, type Simulator, startSimulator } from "./simulator";

const defaultScenario = "concurrency-sweep";

/** k6's exit code when a threshold failed; the run itself is whole. */
const thresholdsFailed = 99;

/** What the command line of `npm start` asks for. */
export interface StartRequest {
  scenario: string;
  /** Settings given as `-e NAME=value`. */
  settings: Record<string, string>;
  /** Everything else, handed to `k6 run` as it is. */
  k6Args: string[];
}

/** Reads the command line: a scenario's name first, if any; `-e` and `--env` are taken out of k6's arguments. */
export function parseStartArgs(argv: readonly string[]): StartRequest {
  const args = argv.filter((arg) => arg !== "--");
  const named = args[0] !== undefined && !args[0].startsWith("-");
  const request: StartRequest = { scenario: named ? (args[0] ?? "") : defaultScenario, settings: {}, k6Args: [] };
  const rest = args.slice(named ? 1 : 0);
  for (let i = 0; i < rest.length; i++) {
    const arg = rest[i] ?? "";
    const joined = /^(?:-e|--env=)([A-Za-z_]\w*(?:=[\s\S]*)?)$/.exec(arg)?.[1];
    const pair = arg === "-e" || arg === "--env" ? rest[++i] : joined;
    if (pair === undefined) {
      request.k6Args.push(arg);
      continue;
    }
    const at = pair.indexOf("=");
    if (at < 1) throw new Problem(`-e ${pair} is not NAME=value`);
    request.settings[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return request;
}

/**
 * Makes a folder with those above it; returns the folders that it made, the lowest first.
 * @throws Problem with exit code 104 where that cannot be.
 */
export function makeFolder(dir: string): string[] {
  const made: string[] = [];
  try {
    // One by one: Node's recursive mkdir never ends below a folder such as /proc, where none can be made.
    const missing: string[] = [];
    for (let at = dir; !existsSync(at); at = path.dirname(at)) missing.push(at);
    for (const each of missing.reverse()) {
      mkdirSync(each);
      made.unshift(each);
    }
  } catch (error) {
    throw new Problem(`RESULTS=${dir} cannot be made: ${error instanceof Error ? error.message : error}`, 104);
  }
  return made;
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

/** A name for a new folder results/<time>-<scenario>/. */
function newResultsDir(scenario: string): string {
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "").replace("T", "-");
  for (let attempt = 1; ; attempt++) {
    const dir = path.join(root, "results", `${time}-${scenario}${attempt > 1 ? `-${attempt}` : ""}`);
    if (!existsSync(dir)) return dir;
  }
}

/** Runs k6 in the foreground; signals of the terminal are its to handle. Resolves to its exit code. */
function runK6(k6: string, args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(k6, args, { stdio: "inherit", env });
    const pass = (signal: NodeJS.Signals) => {
      // A terminal has already sent Ctrl-C to the whole group; a second one would make k6 give up its teardown.
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    };
    const signals: NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, pass);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      for (const each of signals) process.removeListener(each, pass);
      resolve(code ?? 128 + (signal ? os.constants.signals[signal] : 0));
    });
  });
}

/**
 * Renders the report of a results folder, or of two that belong together, into `outputDir`; a report that cannot be made
 * does not change the run's verdict.
 */
async function renderReport(dirs: [string, ...string[]], outputDir: string): Promise<void> {
  const renderer = path.join(root, "report", "render.ts");
  if (!existsSync(renderer) || !dirs.every((dir) => existsSync(path.join(dir, "summary.json")))) return;
  try {
    const { renderReport: render } = (await import(renderer)) as {
      renderReport(dirs: [string, ...string[]], outputDir: string): unknown;
    };
    await render(dirs, outputDir);
  } catch (error) {
    console.error(`tokenclock: the report could not be rendered: ${error instanceof Error ? error.stack : error}`);
  }
}

/** A scenario's run: k6's arguments and the settings, RESULTS aside. */
interface Run extends StartRequest {
  readonly k6: string;
}

/** Runs the scenario into a folder; resolves to k6's exit code. */
function runScenario({ k6, scenario, settings, k6Args }: Run, dir: string): Promise<number> {
  makeFolder(dir);
  const records = path.join(dir, "records.ndjson.gz");
  const bundle = path.join(distDir, `${scenario}.js`);
  // Settings travel by environment: everyone on the machine can read a process's arguments, and one may be a key.
  const env = k6Environment({ ...settings, RESULTS: dir, PWD: process.cwd() });
  // k6 cannot run programs, and its scenarios refuse to be asked to.
  delete env.BETWEEN;
  // Without a terminal k6's progress bar would be two lines a second; levels announce their end by themselves.
  const quiet = process.stdout.isTTY ? [] : ["--quiet"];
  return runK6(k6, ["run", ...quiet, bundle, "--out", `records=${records}`, ...k6Args], env);
}

/**
 * Runs prefill-decode as two runs, into the folders full/ and prefill/ of `dir`, with a command between them; resolves to
 * the first exit code that is not 0. The joined report and its figures are the folder's.
 */
async function runPhases(run: Run, between: Between, dir: string): Promise<number> {
  // One salt for both: the command empties the server's cache, so that the phases can send the same prompts.
  const SALT = run.settings.SALT ?? process.env.SALT ?? newSalt();
  const phase = (name: string) => ({ ...run, settings: { ...run.settings, SALT, PHASE: name } });
  const [full, prefill] = [path.join(dir, "full"), path.join(dir, "prefill")];
  const first = await runScenario(phase("full"), full);
  // A missed threshold leaves a run that is whole. Whoever interrupted one does not want the server restarted.
  if (first !== 0 && first !== thresholdsFailed) {
    console.error(`tokenclock: the full phase ended with exit code ${first}, so BETWEEN was not run`);
    await renderReport([full], full);
    return first;
  }
  await runBetween(between, run.settings.BASE_URL || process.env.BASE_URL || "");
  const second = await runScenario(phase("prefill"), prefill);
  await renderReport([full, prefill], dir);
  const summaries = [full, prefill].map((each) => path.join(each, "summary.json")).filter((file) => existsSync(file));
  const levels = summaries.flatMap((file) => (JSON.parse(readFileSync(file, "utf8")) as Summary).levels);
  const figures = phaseFigures(levels);
  if (figures !== undefined) console.log(`\n${figures}\n`);
  return first || second;
}

/** Writes the verdict for pipelines into the run's folder; resolves to the exit code, which is no pass where that fails. */
async function publishVerdict(dir: string, exitCode: number): Promise<number> {
  const publisher = path.join(root, "report", "run-outcome.ts");
  const { publishRun } = (await import(publisher)) as { publishRun(dir: string, exitCode: number): number };
  return publishRun(dir, exitCode);
}

function usage(names: readonly string[]): string {
  return `npm start [scenario] -- [-e SETTING=value ...] [k6's arguments]

Runs a scenario and renders its report; without BASE_URL it runs against a simulated server.
Scenarios: ${names.join(", ")}; ${defaultScenario} by default.
Settings: docs/settings.md, or as environment variables; keys are better set there than with -e, which others can see.
k6's arguments: bin/k6 run --help`;
}

/** The whole of `npm start`; resolves to the exit code. */
export async function start(argv: readonly string[]): Promise<number> {
  const request = parseStartArgs(argv);
  const { scenario, settings } = request;
  const names = await bundleScenarios();
  if (request.k6Args.some((arg) => arg === "--help" || arg === "-h")) {
    console.log(usage(names));
    return 0;
  }
  if (!names.includes(scenario)) {
    throw new Problem(`there is no scenario ${scenario}; there are ${names.join(", ")}`);
  }
  const between = readBetween(scenario, { ...process.env, ...settings });
  const k6 = await ensureK6();
  const results = settings.RESULTS ?? process.env.RESULTS;
  const dir = results ? path.resolve(results) : newResultsDir(scenario);
  const made = makeFolder(dir);

  let simulator: Simulator | undefined;
  if (!settings.BASE_URL && !process.env.BASE_URL) {
    simulator = await startSimulator(k6);
    console.log(`tokenclock: no BASE_URL is set, so the simulated server answers at ${simulator.baseUrl}`);
    settings.BASE_URL = simulator.baseUrl;
  }
  try {
    const run = { ...request, k6 };
    const code = between ? await runPhases(run, between, dir) : await runScenario(run, dir);
    if (!between) await renderReport([dir], dir);
    const published = await publishVerdict(dir, code);
    // k6 refused what was asked for; it has said why.
    if (!removeEmpty(made)) console.log(`tokenclock: results are in ${shown(dir)}`);
    return published;
  } finally {
    await simulator?.stop();
  }
}

if (process.argv[1] === __filename) void runProgram(() => start(process.argv.slice(2)));
