/** `npm start [scenario] [-- k6 arguments]`: makes what is missing, runs the scenario and renders its report. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { bundleScenarios, scenarioNames } from "../build/bundle";
import { Unwritten } from "../build/folder";
import { ensureK6 } from "../build/k6";
import { noteSignal } from "../build/parent";
import { distDir } from "../build/paths";
import { Problem, runProgram } from "../build/program";
import { settingsOfScenario, settingsOfScript } from "../build/scenario-settings";
import { openScript, type Script } from "../build/script";
import type { Summary } from "../lib/figures/level-summary";
import { phaseFigures } from "../lib/figures/phase-split";
import { exitCodes } from "../lib/outcome/exit-codes";
import { secretsLine } from "../lib/settings/access";
import { asEnvironment, environmentPrefix, gatherSettings } from "../lib/settings/given-settings";
import type { Environment } from "../lib/settings/parse-settings";
import { SettingError } from "../lib/settings/setting-error";
import { settings } from "../lib/settings/settings";
import { newSalt } from "../lib/workload/salt";
import { type Between, readBetween, runBetween } from "./between";
import { noScenario, scenarioHelp } from "./help";
import { requireOptions } from "./k6-options";
import { takenByNpm } from "./npm-arguments";
import { clearResults, makeFolder, newResultsFolder, removeEmpty, shownToUser, userFolder } from "./results-folder";
import { k6Environment, type Simulator, startSimulator } from "./simulator";

const defaultScenario = "concurrency-sweep";

/** What the command line of `npm start` asks for. */
export interface StartRequest {
  scenario: string;
  /** The command line names the scenario. */
  named: boolean;
  /** Settings given as `-e NAME=value`. */
  settings: Record<string, string>;
  /** Everything else, handed to `k6 run` as it is. */
  k6Args: string[];
}

/** The command that the user typed. */
export type StartCommand = "npm start" | "tokenclock run";

/** Options of k6 whose value may look like a setting. */
const takesPair = /^(--tag|-o|--out|--system-tags|--summary-trend-stats|--stage|-s|--secret-source|--log-output)$/;

/**
 * Reads the command line: a scenario's name first, if any; `-e` and `--env` are taken out of k6's arguments. Where no npm stands
 * in between, NAME=value alone is a setting, too: npm would have taken its -e.
 */
export function parseStartArgs(argv: readonly string[], command: StartCommand = "npm start"): StartRequest {
  const args = argv.filter((arg) => arg !== "--");
  const alone = /^[A-Z][A-Z0-9_]*=/;
  const direct = command === "tokenclock run";
  const named = args[0] !== undefined && !args[0].startsWith("-") && !(direct && alone.test(args[0]));
  const scenario = named ? (args[0] ?? "") : defaultScenario;
  const request: StartRequest = { scenario, named, settings: {}, k6Args: [] };
  const rest = args.slice(named ? 1 : 0);
  for (let i = 0; i < rest.length; i++) {
    const arg = rest[i] ?? "";
    const joined = /^(?:-e|--env=)([A-Za-z_]\w*(?:=[\s\S]*)?)$/.exec(arg)?.[1];
    const loose = direct && alone.test(arg) && !takesPair.test(rest[i - 1] ?? "") ? arg : undefined;
    const pair = arg === "-e" || arg === "--env" ? rest[++i] : (joined ?? loose);
    if (pair === undefined) {
      request.k6Args.push(arg);
      continue;
    }
    const at = pair.indexOf("=");
    if (at < 1) throw refused(`-e ${pair} is not NAME=value`);
    request.settings[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return request;
}

/** Settings that say something of the client's machine and nothing of a run, so that `npm start` alone stays what it is beside them. */
const ofMachine: ReadonlySet<string> = new Set(["MAX_STOLEN"]);

/** A problem with the command line. */
function refused(message: string): Problem {
  return new Problem(message, exitCodes.settings);
}

/** The result of `read`; a setting that cannot be used is a problem with exit code 104. */
function orRefused<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof SettingError) throw refused(error.message);
    throw error;
  }
}

/**
 * Whether the load goes to the simulated server: where SIMULATE=true says so, or nothing at all is said.
 * @throws Problem with exit code 104 where no server is named although something was, or two are.
 */
export function isSimulated(bare: boolean, given: Environment): boolean {
  const { SIMULATE: text, BASE_URL: baseUrl } = given;
  const simulate = text === undefined ? bare : settings.SIMULATE.parse(text);
  if (simulate === undefined) throw refused(`SIMULATE=${text} is not ${settings.SIMULATE.allowed}`);
  if (baseUrl === undefined && !simulate) {
    throw refused("no server is named: set BASE_URL, or SIMULATE=true to load the simulated server");
  }
  if (baseUrl !== undefined && simulate) {
    throw refused("SIMULATE=true and BASE_URL both say which server is loaded; set one of them");
  }
  return simulate;
}

/** Runs k6 in the foreground, below the user's folder; signals end it with us. Resolves to its exit code. */
function runK6(k6: string, args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(k6, args, {
      ...{ stdio: "inherit", env, cwd: userFolder() },
      // A group of its own: a signal to the whole of ours (a terminal's Ctrl-C, a CI runner) would reach it beside the one
      // passed on, and on a second one k6 gives up its teardown.
      detached: process.platform !== "win32",
    });
    const pass = (signal: NodeJS.Signals) => {
      noteSignal();
      child.kill(signal);
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

/** Renders the report of a results folder, or of two that belong together, into `outputDir`; whether it is there as a whole. */
async function renderReport(dirs: [string, ...string[]], outputDir: string): Promise<boolean> {
  if (!dirs.every((dir) => summaryIn(dir) !== undefined)) return true;
  try {
    // Loaded when the run is over: charts and fonts would take memory and time beside k6.
    const [{ renderReport: render }, { progressLine }] = await Promise.all([
      import("../report/page/render"),
      import("../report/cli/progress"),
    ]);
    await render(dirs, { outputDir, onProgress: progressLine() });
    return true;
  } catch (error) {
    const why =
      error instanceof Unwritten ? `${error.message}; ${error.advice("RESULTS")}` : ((error as Error).stack ?? error);
    console.error(`tokenclock: the report could not be rendered: ${why}`);
    return false;
  }
}

/** A run's summary.json; undefined where there is none, or only a part of one. */
function summaryIn(dir: string): Summary | undefined {
  try {
    return JSON.parse(readFileSync(path.join(dir, "summary.json"), "utf8")) as Summary;
  } catch {
    return undefined;
  }
}

/** A scenario's run: k6's arguments and the settings, RESULTS aside. */
interface Run {
  readonly k6: string;
  readonly scenario: string;
  /** The script of the user's own that is run instead of a shipped scenario. */
  readonly script: Script | undefined;
  readonly given: Environment;
  readonly k6Args: readonly string[];
}

const { passed, inconclusive, notValid, failed } = exitCodes;

/** The exit codes of a run that was judged. */
const verdicts: readonly number[] = [passed, inconclusive, notValid, failed];

/** Runs the scenario into a folder; resolves to k6's exit code, or to that of a run whose results are not whole. */
async function runScenario({ k6, scenario, script, given, k6Args }: Run, dir: string): Promise<number> {
  makeFolder(dir);
  const records = path.join(dir, "records.ndjson.gz");
  const file = script?.file ?? path.join(distDir, `${scenario}.js`);
  // Settings travel by environment: everyone on the machine can read a process's arguments, and one may be a key. k6 cannot
  // run programs, and its scenarios refuse to be asked to.
  const { BETWEEN: _, BETWEEN_TIMEOUT: __, ...own } = given;
  const env = k6Environment({ ...asEnvironment({ ...own, RESULTS: dir }) });
  for (const name of ["BETWEEN", "BETWEEN_TIMEOUT"]) delete env[`${environmentPrefix}${name}`];
  // Without a terminal k6's progress bar would be two lines a second; levels announce their end by themselves.
  const quiet = process.stdout.isTTY ? [] : ["--quiet"];
  const code = await runK6(k6, ["run", ...quiet, file, "--out", `records=${records}`, ...k6Args], env);
  if (!verdicts.includes(code) || summaryIn(dir) !== undefined) return code;
  console.error(`tokenclock: ${shownToUser(path.join(dir, "summary.json"))} is missing or not whole`);
  return notValid;
}

/** The exit code of several runs, or of a run and its report, that are one to the user: what makes one invalid counts for all. */
export function together(...codes: number[]): number {
  const worst = [notValid, failed, inconclusive].find((code) => codes.includes(code));
  return codes.find((code) => !verdicts.includes(code)) ?? worst ?? passed;
}

/**
 * Runs prefill-decode as two runs, into the folders full/ and prefill/ of `dir`, with a command between them; resolves to
 * the exit code of both. The joined report and its figures are the folder's.
 */
async function runPhases(run: Run, between: Between, dir: string): Promise<number> {
  // One salt for both: the command empties the server's cache, so that the phases can send the same prompts.
  const SALT = run.given.SALT ?? newSalt();
  const phase = (name: string) => ({ ...run, given: { ...run.given, SALT, PHASE: name } });
  const [full, prefill] = [path.join(dir, "full"), path.join(dir, "prefill")];
  const first = await runScenario(phase("full"), full);
  // A run that was judged is whole. Whoever interrupted one does not want the server restarted.
  if (!verdicts.includes(first) || summaryIn(full)?.ended !== "complete") {
    console.error(`tokenclock: the full phase ended with exit code ${first}, so BETWEEN was not run`);
    await renderReport([full], full);
    return first;
  }
  await runBetween(between, run.given.BASE_URL ?? "");
  const second = await runScenario(phase("prefill"), prefill);
  const whole = await renderReport([full, prefill], dir);
  const levels = [full, prefill].flatMap((each) => summaryIn(each)?.levels ?? []);
  const figures = phaseFigures(levels);
  if (figures !== undefined) console.log(`\n${figures}\n`);
  return together(first, second, whole ? passed : notValid);
}

/** Writes the verdict for pipelines into the run's folder; resolves to the exit code, which is no pass where that fails. */
async function publishVerdict(dir: string, exitCode: number): Promise<number> {
  const { publishRun } = await import("../report/judge/run-outcome");
  return publishRun(dir, exitCode);
}

function usage(names: readonly string[], command: StartCommand): string {
  if (command === "tokenclock run") {
    return `tokenclock run [scenario] [SETTING=value ...] [k6's arguments]

Runs a scenario and renders its report. Without any argument it runs ${defaultScenario} against a simulated server; else the
server is named by BASE_URL, or SIMULATE=true asks for the simulated one.
Scenarios: ${names.join(", ")}; or the path of a script of your own (docs/own-scenarios.md).
Settings: tokenclock run SCENARIO --help lists a scenario's, docs/settings.md has all; also as -e SETTING=value, or as environment variables TOKENCLOCK_SETTING, BASE_URL and API_KEY; keys
are better set there, because others can see a process's arguments.
k6's arguments: those of k6 run, such as --out or --tag.`;
  }
  return `npm start [scenario or file.ts] -- [-e SETTING=value ...] [k6's arguments]

Runs a scenario and renders its report. Without any argument it runs ${defaultScenario} against a simulated server; else the
server is named by BASE_URL, or -e SIMULATE=true asks for the simulated one. Behind -- only: before it npm takes options for
its own.
Scenarios: ${names.join(", ")}; or the path of a script of your own (docs/own-scenarios.md).
Settings: npm start SCENARIO -- --help lists a scenario's, docs/settings.md has all; or as environment variables
TOKENCLOCK_SETTING, BASE_URL and API_KEY; keys are better set there than with -e, which others can see.
k6's arguments: bin/k6 run --help`;
}

/**
 * The settings of a script's own by name, as the user set them; undefined where nothing is set. Where nobody knows yet what it
 * declares, whatever is no other setting counts as its own: the script refuses what it does not have.
 */
function ownSettings(script: Script | undefined, options: Environment): Environment {
  const unknown = () =>
    Object.keys(options).filter((name) => !name.startsWith(environmentPrefix) && !(name in settings));
  const names = script === undefined ? [] : (script.own?.map(({ name }) => name) ?? unknown());
  return Object.fromEntries(
    names.map((name) => {
      const prefixed = `${environmentPrefix}${name}`;
      return [name, options[name] ?? options[prefixed] ?? process.env[prefixed]];
    }),
  );
}

/** The folder of the run's results, where RESULTS names one: its old results are out of the way. */
function clearedFolder(options: Environment): string | undefined {
  const { RESULTS: own = options[`${environmentPrefix}RESULTS`] ?? process.env[`${environmentPrefix}RESULTS`] } =
    options;
  if (own === undefined || own.trim() === "") return undefined;
  const dir = path.resolve(userFolder(), own);
  const moved = clearResults(dir);
  if (moved)
    console.log(`tokenclock: ${shownToUser(dir)} held results of an earlier run; they are in ${shownToUser(moved)}`);
  return dir;
}

/**
 * The path of the user's own script; undefined for the name of a scenario.
 * @throws Problem with exit code 104 where there is neither.
 */
function scriptOf(scenario: string, names: readonly string[]): string | undefined {
  const setting = /^([A-Za-z_]\w*)=/.exec(scenario)?.[1];
  if (setting !== undefined) requireOptions([scenario], false);
  const file = /\.[jt]s$/.test(scenario) ? path.resolve(userFolder(), scenario) : undefined;
  if (file !== undefined && !existsSync(file)) throw refused(`there is no file ${scenario}`);
  if (file === undefined && !names.includes(scenario)) {
    throw refused(`${noScenario(scenario, names)}, or give the path of a script of your own`);
  }
  return file;
}

/** The help of one load test. @throws Problem with exit code 104 for one that there is not, or whose script opens none. */
async function helpOn(scenario: string, names: readonly string[], command: StartCommand): Promise<string> {
  const file = scriptOf(scenario, names);
  const call = `${command} ${scenario} ${command === "npm start" ? "-- [-e SETTING=value ...]" : "[SETTING=value ...]"}`;
  try {
    return scenarioHelp(await (file === undefined ? settingsOfScenario(scenario) : settingsOfScript(file)), call);
  } catch (error) {
    throw refused(`the settings of ${scenario} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}

/** The whole of `npm start`; resolves to the exit code. */
export async function start(argv: readonly string[], command: StartCommand = "npm start"): Promise<number> {
  const { named, scenario, settings: options, k6Args } = parseStartArgs(argv, command);
  const names = scenarioNames();
  if (k6Args.some((arg) => arg === "--help" || arg === "-h")) {
    console.log(named ? await helpOn(scenario, names, command) : usage(names, command));
    return passed;
  }
  // First of all: whatever ends the run from here on, nobody finds an earlier one's results in its folder.
  const taken = takenByNpm();
  const cleared = clearedFolder(taken.results ? { RESULTS: taken.results } : options);
  if (taken.words.length > 0) {
    throw refused(
      `npm took ${taken.words.join(" and ")} for itself; write -- before it: npm start ${scenario} -- ${taken.words.join(" ")}`,
    );
  }
  requireOptions(k6Args, Boolean(process.env.K6_BINARY));
  const scriptFile = scriptOf(scenario, names);
  const script = scriptFile === undefined ? undefined : await openScript(scriptFile);
  const own = ownSettings(script, options);
  const given: Record<string, string | undefined> = {
    ...orRefused(() => gatherSettings(options, process.env, Object.keys(own))),
  };
  const secrets = secretsLine(options);
  if (secrets !== undefined) console.error(`tokenclock: ${secrets}`);
  const bare = !named && k6Args.length === 0 && Object.keys(given).every((name) => ofMachine.has(name));
  const simulated = isSimulated(bare, given);
  const between = readBetween(scenario, given);
  if (script === undefined) await bundleScenarios();
  const k6 = await ensureK6();
  const { dir, made } = cleared
    ? { dir: cleared, made: makeFolder(cleared) }
    : newResultsFolder(path.basename(scenario).replace(/\.[jt]s$/, ""));

  let simulator: Simulator | undefined;
  try {
    if (simulated) {
      simulator = await startSimulator(k6);
      console.log(
        `tokenclock: ${bare ? "no server is named, so" : "SIMULATE=true:"} the simulated server answers at ${simulator.baseUrl}`,
      );
      Object.assign(given, { SIMULATE: "true", BASE_URL: simulator.baseUrl });
    }
    const run = { k6, scenario, script, given: { ...given, ...own }, k6Args };
    let code = between ? await runPhases(run, between, dir) : await runScenario(run, dir);
    if (!between && !(await renderReport([dir], dir))) code = together(code, notValid);
    const published = await publishVerdict(dir, code);
    // k6 refused the settings and has logged why.
    if (!removeEmpty(made)) console.log(`tokenclock: results are in ${shownToUser(dir)}`);
    return published;
  } finally {
    await simulator?.stop();
  }
}

if (process.argv[1] === __filename) void runProgram(() => start(process.argv.slice(2)));
