/**
 * `npm run suite -- --base-url ...`: the serving suite. Measures prompt ingestion, KV cache profiles and generation speed
 * for all pairs of lengths, a k6 run a step, and writes raw_results/ and report/ with its page. Lengths that the server refuses are
 * left out, with its words. What was measured before is kept: the
 * same command goes on where an interrupted one stopped.
 */
import { spawn } from "node:child_process";
import { createWriteStream, existsSync, readFileSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Command } from "commander";
import { bundleScenarios } from "../build/bundle";
import { makeFolders } from "../build/folder";
import { ensureK6 } from "../build/k6";
import { distDir, shown } from "../build/paths";
import { Problem, runProgram } from "../build/program";
import { exitCodes } from "../lib/outcome/exit-codes";
import { asEnvironment } from "../lib/settings/given-settings";
import { exitCodeOf } from "../report/cli/options";
import { fullCache } from "../report/page/answers/kv-cache-profile";
import { readResults } from "../report/read/read";
import { k6Environment, type Simulator, startSimulator } from "./simulator";
import {
  candidates,
  ingestionCount,
  ingestionStep,
  type Lengths,
  lengthPairs,
  type Measured,
  nextParallel,
  optionName,
  parseEnvFile,
  profileStep,
  progressLine,
  type Step,
  type SuiteOptions,
  type SuiteSetting,
  speedStep,
  suiteDefaults,
  suiteOptions,
  suiteSettings,
} from "./suite-plan";
import { isLeftOut, type LeftOut, leftOutLine, lengthsWords, refusalOf } from "./suite-refusals";
import {
  commonParameters,
  type Done,
  failedLevels,
  flaws,
  rawResult,
  type ServerParameters,
  stepPoints,
  suitePage,
  writeSuiteReport,
} from "./suite-report";

/** Makes a folder and those above it. @throws Problem with 104 when it cannot be made. */
function makeFolder(folder: string): void {
  try {
    makeFolders(folder);
  } catch (error) {
    const { message, path = folder } = error as NodeJS.ErrnoException;
    throw new Problem(`${path} cannot be made: ${message}`, exitCodes.settings);
  }
}

/** Makes sure that the suite has where to write and what to read, before anything is started. */
function prepareFolders({ datasetFolder, outputFolder }: SuiteOptions): void {
  if (datasetFolder !== "" && !existsSync(datasetFolder))
    throw new Problem(`dataset-folder=${datasetFolder} does not exist`, exitCodes.settings);
  makeFolder(join(resolve(outputFolder), "raw_results"));
}

/** Answers of the server's own endpoints; one that it does not have is left out. */
async function serverParameters(options: SuiteOptions): Promise<ServerParameters> {
  const get = async (path: string): Promise<Record<string, unknown>> => {
    try {
      const reply = await fetch(`${options.baseUrl}${path}`, { signal: AbortSignal.timeout(10_000) });
      const value: unknown = reply.ok ? await reply.json() : {};
      return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
    } catch {
      return {};
    }
  };
  const { model_name, version, vllm_version } = await get(options.infoEndpoint);
  const launch = await get(options.launchArgumentsEndpoint);
  const { data } = await get("/v1/models");
  const model = Array.isArray(data) ? (data[0] as { id?: unknown } | undefined)?.id : undefined;
  const known = { model, model_name, happy_vllm_version: version, vllm_version };
  return { ...Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)), ...launch };
}

/** Runs k6 for one step, its output into a log; resolves to its exit code. */
function runStep(k6: string, step: Step, dir: string): Promise<number> {
  return new Promise((done, reject) => {
    const log = createWriteStream(join(dir, "k6.log"));
    const records = join(dir, "records.ndjson.gz");
    const child = spawn(k6, ["run", "--quiet", join(distDir, `${step.scenario}.js`), "--out", `records=${records}`], {
      env: k6Environment(asEnvironment({ ...step.env, RESULTS: dir })),
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    // k6 winds down on the first signal; a terminal sends Ctrl-C to it as well.
    const interrupt = () => {
      child.kill("SIGINT");
      interrupted = true;
    };
    let interrupted = false;
    process.once("SIGINT", interrupt);
    process.once("SIGTERM", interrupt);
    child.on("error", reject);
    child.on("close", (code) => {
      process.removeListener("SIGINT", interrupt);
      process.removeListener("SIGTERM", interrupt);
      log.end();
      if (interrupted)
        reject(new Problem("interrupted; the same command goes on with this step", exitCodes.interrupted));
      else done(code ?? 1);
    });
  });
}

/** A suite that runs: what is done, and how long things take. */
class Suite {
  readonly done: Done[] = [];
  /** Lengths that the server does not serve. */
  readonly leftOut: LeftOut[] = [];
  readonly parameters: Record<string, unknown> = {};
  private readonly durationsS = new Map<string, number[]>();
  expected = 0;
  private interrupted = false;

  constructor(
    readonly options: SuiteOptions,
    private readonly k6: string,
    private readonly folder: string,
    private readonly say: (line: string) => void,
  ) {}

  /**
   * Measures a step, or takes over what an earlier, interrupted suite measured with the same settings. Undefined where the server
   * does not serve its lengths, which are then left out.
   */
  async measure(step: Step): Promise<Done | undefined> {
    if (this.interrupted)
      throw new Problem("interrupted; the same command goes on with the next step", exitCodes.interrupted);
    const dir = join(this.folder, "runs", step.name);
    const raw = join(this.folder, "raw_results", `${step.name}.json`);
    const stepFile = join(dir, "step.json");
    const wanted = JSON.stringify(step);
    if (existsSync(raw) && existsSync(stepFile) && (await readFile(stepFile, "utf8")) === wanted) {
      const found: Done = { step, run: await readResults(dir) };
      this.say(progressLine(this.done.length, this.expected, `${step.name} (measured before)`, this.leftS()));
      this.take(found);
      return found;
    }
    this.say(progressLine(this.done.length, this.expected, step.name, this.leftS()));
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { recursive: true });
    const startedMs = Date.now();
    const code = await runStep(this.k6, step, dir);
    const run = await readResults(dir).catch((error: Error) => error);
    if (run instanceof Error || run.levelSummaries.every(({ completed }) => completed === 0)) {
      if (!(run instanceof Error) && this.leaveOut({ step, run })) return undefined;
      const log = (await readFile(join(dir, "k6.log"), "utf8")).trim().split("\n").at(-1) ?? "";
      // k6's own reason, such as 108: the server cannot be reached. A run that passes without a request is not valid.
      throw new Problem(
        `${step.name}: no request completed (k6 ended with ${code}): ${log}`,
        code || exitCodes.notValid,
      );
    }
    const durations = this.durationsS.get(step.scenario) ?? [];
    durations.push((Date.now() - startedMs) / 1000);
    this.durationsS.set(step.scenario, durations);
    const measured: Done = { step, run };
    await writeFile(stepFile, wanted);
    await writeFile(raw, `${JSON.stringify(rawResult(measured, this.parameters), null, 4)}\n`);
    this.take(measured);
    return measured;
  }

  private take(measured: Done): void {
    this.done.push(measured);
    this.leaveOut(measured);
    for (const flaw of flaws(measured)) this.say(`  ${measured.step.name}: ${flaw}`);
  }

  /** Leaves out the lengths of a step's levels that the server refused; whether all of them were. */
  private leaveOut({ step, run }: Done): boolean {
    const refused = run.levelSummaries.flatMap((level) => {
      const refusal = refusalOf(run, level);
      if (!refusal) return [];
      const pair = { inputTokens: Number(step.env.INPUT_TOKENS), outputTokens: Number(step.env.OUTPUT_TOKENS) };
      const ofIngestion = { inputTokens: Number(level.labels?.inputTokens) };
      return [{ step: step.name, ...(step.scenario === "prompt-ingestion" ? ofIngestion : pair), ...refusal }];
    });
    const all = refused.length > 0 && refused.length === run.levelSummaries.length;
    // Levels of a pair of lengths differ in their number of requests: where one completed, the lengths are served.
    const news = step.scenario === "prompt-ingestion" ? refused : all ? refused.slice(0, 1) : [];
    for (const each of news) {
      this.leftOut.push(each);
      this.say(`  ${leftOutLine(each)}`);
    }
    return all;
  }

  /** No further step begins. */
  interrupt(): void {
    this.interrupted = true;
  }

  /** Time for the steps that are still expected, by the mean of those measured now; undefined before the first. */
  private leftS(): number | undefined {
    const all = [...this.durationsS.values()].flat();
    return all.length === 0
      ? undefined
      : ((this.expected - this.done.length) * all.reduce((a, b) => a + b, 0)) / all.length;
  }

  /** The numbers of parallel requests of one pair of lengths, by search. */
  async speeds(lengths: Lengths): Promise<void> {
    const { options } = this;
    const numbers = candidates(options);
    const measured: (Measured & { rate: number })[] = [];
    for (;;) {
      const parallel = nextParallel(numbers, measured, options.speedThreshold, fullCache, options.sweep);
      if (parallel === undefined) break;
      // Request throughput grows with the number of parallel requests: that of the next smaller one is a lower bound.
      const smaller = measured.filter((each) => each.parallel < parallel).sort((a, b) => b.parallel - a.parallel)[0];
      const point = await this.speed(lengths, parallel, smaller?.rate ?? 0);
      if (!point) break;
      measured.push(point);
    }
    this.expected += measured.length - this.searchSteps();
  }

  /** One number of parallel requests, which is measured once; undefined where the server does not serve the lengths. */
  private async speed(
    lengths: Lengths,
    parallel: number,
    rateBefore: number,
  ): Promise<(Measured & { rate: number }) | undefined> {
    const step = speedStep(this.options, lengths, parallel, rateBefore, existsSync);
    const done = this.done.find((each) => each.step.name === step.name) ?? (await this.measure(step));
    if (!done) return undefined;
    const [point] = stepPoints(done);
    return {
      parallel,
      speed: point?.fromBeginning.median ?? 0,
      kvUsage: point?.maxKvUsage,
      rate: point?.level.requestThroughput ?? 0,
    };
  }

  /** Prompt ingestion; a length that the server refuses is sent once. */
  async ingestion(): Promise<void> {
    const count = ingestionCount(this.options);
    for (let instance = 0; instance < count; instance++) {
      const refused = this.leftOut.map(({ inputTokens }) => inputTokens);
      const done =
        refused.length < this.options.ingestionLengths.length &&
        (await this.measure(ingestionStep(this.options, instance, refused)));
      if (!done) this.expected--;
    }
  }

  /** Whether the server serves a pair of lengths, by one request at a time, of which every picture needs the figures. */
  async serves(lengths: Lengths): Promise<boolean> {
    const served = (await this.speed(lengths, candidates(this.options)[0] ?? 1, 0)) !== undefined;
    if (!served) this.expected -= 1 + this.searchSteps();
    return served;
  }

  /** Steps that a search of one pair of lengths is expected to take. */
  searchSteps(): number {
    const count = candidates(this.options).length;
    return this.options.sweep ? count : Math.min(count, 2 + Math.ceil(Math.log2(count)));
  }
}

/** Runs the whole suite; resolves to 0, 99 when requests failed, 98 when steps are not valid for another reason. */
async function runSuite(options: SuiteOptions, say: (line: string) => void = console.log): Promise<number> {
  const folder = resolve(options.outputFolder);
  await bundleScenarios();
  const k6 = await ensureK6();
  const suite = new Suite(options, k6, folder, say);

  const pairs = lengthPairs(options);
  suite.expected = ingestionCount(options) + pairs.length * (1 + suite.searchSteps());
  const server = await serverParameters(options);
  const suiteId = await firstSuiteId(folder);
  const modelOf = ({ run }: Done) => String(run.config.MODEL ?? "");
  Object.assign(
    suite.parameters,
    commonParameters(options, options.model || String(server.model_name ?? server.model ?? ""), server, suiteId),
  );

  // Between two steps no k6 runs that would take the signal.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => suite.interrupt());
  await suite.ingestion();
  const [first] = suite.done;
  if (first && !suite.parameters.model)
    Object.assign(suite.parameters, { model: modelOf(first), model_name: options.modelName || modelOf(first) });
  let haveGauge = true;
  const served: Lengths[] = [];
  for (const lengths of pairs) {
    if (!(await suite.serves(lengths))) continue;
    served.push(lengths);
    if (!haveGauge) {
      suite.expected--;
      continue;
    }
    const profile = await suite.measure(profileStep(options, lengths, existsSync));
    haveGauge = profile === undefined || profile.run.points.some(({ points }) => points.length > 0);
    if (!haveGauge)
      say("the server serves no gauges at its metrics endpoint: KV cache profiles and thresholds are left out");
  }
  for (const lengths of served) if (!isLeftOut(suite.leftOut, lengths)) await suite.speeds(lengths);
  await writeSuiteReport(folder, suite.done, options, suite.parameters, suite.leftOut);
  say(
    progressLine(suite.done.length, suite.done.length, `done: ${shown(join(folder, "report", suitePage))}`, undefined),
  );
  return concluded(suite, say);
}

/** Says what the suite came to: 0, 99 when requests failed, 98 when lengths were left out or steps are not valid otherwise. */
function concluded({ done, leftOut }: Suite, say: (line: string) => void): number {
  const flawed = done.filter((each) => flaws(each).length > 0);
  if (leftOut.length > 0)
    say(
      `NOT VALID: the server does not serve ${leftOut.map(lengthsWords).join("; ")} (its words are above). They were not measured; ` +
        "give it a larger context, or leave them out with --input-lengths, --output-lengths and --ingestion-lengths.",
    );
  if (flawed.length > 0)
    say(
      `NOT VALID: ${flawed.length} of ${done.length} steps had failed requests or no valid client (named above). ` +
        "Lengths with such a generation_speed step have no thresholds. Without its folder in runs/ a step is measured again.",
    );
  if (flawed.some(({ run }) => failedLevels(run).length > 0)) return exitCodes.failed;
  return flawed.length + leftOut.length > 0 ? exitCodes.notValid : 0;
}

/** The time at which the suite in this folder was begun; a resumed one keeps it. */
async function firstSuiteId(folder: string): Promise<string> {
  const file = join(folder, "raw_results", ".suite_id");
  if (existsSync(file)) return (await readFile(file, "utf8")).trim();
  const id = new Date().toISOString();
  await writeFile(file, `${id}\n`);
  return id;
}

const help: Partial<Record<SuiteSetting, string>> = {
  baseUrl: "address of the server, with or without /v1 (instead of --host and --port)",
  model: "name of the model in requests; by default the server is asked",
  datasetFolder: "folder with prompts_length_N.json; by default synthetic prompts",
  outputFolder: "where raw_results/, report/ and runs/ go",
  stepLiveMetrics: "time between two polls of the metrics endpoint, s",
  backend: "happy_vllm, vllm, llama.cpp, sglang or simulator (started here unless an address is given)",
  speedThreshold: "tokens/s that each parallel request shall get",
  inputLengths: "input lengths that are crossed with the output lengths, tokens",
  outputLengths: "output lengths, tokens",
  ingestionLengths: "prompt lengths of the ingestion, tokens",
};

export function commandLine(): Command {
  const program = new Command("suite")
    .description("Runs the serving suite and writes raw_results/ and report/")
    .allowExcessArguments(false);
  for (const name of suiteSettings) {
    const initial = suiteDefaults[name];
    program.option(
      `--${optionName(name)} <value>`,
      `${help[name] ?? optionName(name).replaceAll("-", " ")}${initial === "" ? "" : ` (default: ${initial})`}`,
    );
  }
  // Their spelling of this one, beside ours.
  program.option("--target-queries-nb-speed_generation <value>", "the same as --target-queries-nb-speed-generation");
  program.option("--quick", "few requests and few numbers of parallel requests: minutes instead of hours");
  program.option("--sweep", "measure every number of parallel requests instead of searching for the thresholds");
  return program;
}

/** The command; resolves to the exit code. @throws Problem with 104 for what is asked wrongly. */
export async function main(argv: readonly string[]): Promise<number> {
  const program = commandLine();
  try {
    program.exitOverride().parse([...argv], { from: "user" });
  } catch (error) {
    // Commander has printed its own.
    return exitCodeOf(error);
  }
  const { targetQueriesNbSpeed_generation: theirs, ...given } = program.opts<Record<string, string>>();
  if (theirs !== undefined) given.targetQueriesNbSpeedGeneration ??= theirs;
  const envFile = existsSync(".env") ? parseEnvFile(readFileSync(".env", "utf8")) : {};

  let options: SuiteOptions;
  try {
    options = suiteOptions(given as Parameters<typeof suiteOptions>[0], process.env, envFile);
  } catch (error) {
    throw new Problem((error as Error).message, exitCodes.settings);
  }
  prepareFolders(options);
  let simulator: Simulator | undefined;
  try {
    if (
      options.backend === "simulator" &&
      given.baseUrl === undefined &&
      given.host === undefined &&
      given.port === undefined
    ) {
      simulator = await startSimulator(await ensureK6());
      options = { ...options, baseUrl: simulator.baseUrl.replace(/\/v1$/, "") };
      console.log(`tokenclock: the simulated server answers at ${simulator.baseUrl}`);
    }
    return await runSuite(options);
  } finally {
    await simulator?.stop();
  }
}

if (process.argv[1] === __filename) void runProgram(() => main(process.argv.slice(2)));
