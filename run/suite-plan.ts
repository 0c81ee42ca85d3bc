/** What the serving suite does: its arguments, its steps and the search for thresholds. Pure. */
import { parseEnv } from "node:util";

/** Parallel requests at which generation speed is measured (benchmark_llm_serving's sweep). */
export const parallelRequests = [1, 2, 3, 4, 6, 8, 10, 14, 18, 22, 26, 30, 34, 38];
const quickParallelRequests = [1, 2, 4, 8, 16];

const backends = ["happy_vllm", "vllm", "llama.cpp", "sglang", "simulator"] as const;
export type Backend = (typeof backends)[number];

/** The suite's arguments; names and defaults are those of benchmark_llm_serving 1.0.3 where it has them. */
export interface SuiteOptions {
  /** Without /v1. */
  baseUrl: string;
  model: string;
  modelName: string;
  gpuName: string;
  datasetFolder: string;
  outputFolder: string;
  /** Time between two polls of the metrics endpoint, s. */
  stepLiveMetrics: number;
  maxQueries: number;
  maxDurationPromptIngestion: number;
  maxDurationKvCacheProfile: number;
  maxDurationSpeedGeneration: number;
  minDurationSpeedGeneration: number;
  targetQueriesNbSpeedGeneration: number;
  backend: Backend;
  completionsEndpoint: string;
  metricsEndpoint: string;
  infoEndpoint: string;
  launchArgumentsEndpoint: string;
  speedThreshold: number;
  /** Input and output lengths that the suite crosses, tokens, ascending. */
  inputLengths: readonly number[];
  outputLengths: readonly number[];
  /** Prompt lengths of the ingestion, tokens, ascending. */
  ingestionLengths: readonly number[];
  quick: boolean;
  /** Measure every number of parallel requests instead of searching. */
  sweep: boolean;
}

export const suiteDefaults = {
  baseUrl: "",
  host: "localhost",
  port: 8000,
  model: "",
  modelName: "",
  gpuName: "",
  datasetFolder: "",
  outputFolder: "results/suite",
  stepLiveMetrics: 0.01,
  maxQueries: 1000,
  maxDurationPromptIngestion: 900,
  maxDurationKvCacheProfile: 900,
  maxDurationSpeedGeneration: 900,
  minDurationSpeedGeneration: 60,
  targetQueriesNbSpeedGeneration: 100,
  backend: "happy_vllm",
  completionsEndpoint: "/v1/completions",
  metricsEndpoint: "",
  infoEndpoint: "/v1/info",
  launchArgumentsEndpoint: "/v1/launch_arguments",
  speedThreshold: 20,
  inputLengths: "32,1024,4096",
  outputLengths: "16,128,1024",
  ingestionLengths: "32,128,512,1024,2048,3072,4096",
} as const;
export type SuiteSetting = keyof typeof suiteDefaults;
export const suiteSettings = Object.keys(suiteDefaults) as SuiteSetting[];

/** "maxQueries" -> "max-queries" for the command line, -> "MAX_QUERIES" for the environment. */
export const optionName = (setting: string): string =>
  setting.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
export const variableName = (setting: string): string => optionName(setting).replaceAll("-", "_").toUpperCase();

/** The settings of a .env file, with names in any case, as theirs. */
export function parseEnvFile(text: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parseEnv(text)).map(([name, value]) => [name.toUpperCase(), value ?? ""] as const),
  );
}

/**
 * Options by precedence: command line, environment, .env, default.
 * @throws Error naming the setting, the value and what is allowed.
 */
export function suiteOptions(
  given: Partial<Record<SuiteSetting, string>> & { quick?: boolean; sweep?: boolean },
  environment: Readonly<Record<string, string | undefined>>,
  envFile: Readonly<Record<string, string>>,
): SuiteOptions {
  const text = (name: SuiteSetting): string => {
    const variable = variableName(name);
    return (
      given[name] ??
      environment[variable] ??
      environment[variable.toLowerCase()] ??
      envFile[variable] ??
      String(suiteDefaults[name])
    );
  };
  const number = (name: SuiteSetting, lowest: number): number => {
    const value = Number(text(name));
    if (!Number.isFinite(value) || value < lowest || text(name).trim() === "")
      throw new Error(`${optionName(name)}=${text(name)} is not a number from ${lowest}`);
    return value;
  };
  const lengths = (name: SuiteSetting): number[] => {
    const given = text(name)
      .split(",")
      .map((each) => each.trim());
    const values = given.map(Number).sort((a, b) => a - b);
    const known = values.every((value, i) => Number.isSafeInteger(value) && value >= 1 && value !== values[i - 1]);
    if (!known || given.includes(""))
      throw new Error(
        `${optionName(name)}=${text(name)} is not a list of different whole numbers from 1, such as 32,1024`,
      );
    return values;
  };
  const backend = backends.find((name) => name === text("backend"));
  if (!backend) throw new Error(`backend=${text("backend")} is not one of ${backends.join(", ")}`);
  const baseUrl = (text("baseUrl") || `http://${text("host")}:${number("port", 1)}`)
    .replace(/\/+$/, "")
    .replace(/\/v1$/, "");
  if (!/^https?:\/\/\S+$/.test(baseUrl))
    throw new Error(`base-url=${baseUrl} is not an address with http:// or https://`);
  return {
    baseUrl,
    model: text("model"),
    modelName: text("modelName"),
    gpuName: text("gpuName"),
    datasetFolder: text("datasetFolder"),
    outputFolder: text("outputFolder"),
    stepLiveMetrics: number("stepLiveMetrics", 0.001),
    maxQueries: number("maxQueries", 1),
    maxDurationPromptIngestion: number("maxDurationPromptIngestion", 1),
    maxDurationKvCacheProfile: number("maxDurationKvCacheProfile", 1),
    maxDurationSpeedGeneration: number("maxDurationSpeedGeneration", 1),
    minDurationSpeedGeneration: number("minDurationSpeedGeneration", 0),
    targetQueriesNbSpeedGeneration: number("targetQueriesNbSpeedGeneration", 1),
    backend,
    completionsEndpoint: text("completionsEndpoint"),
    // llama-server answers 404 on a trailing slash; vLLM and happy_vllm answer both ways.
    metricsEndpoint: text("metricsEndpoint") || "/metrics",
    infoEndpoint: text("infoEndpoint"),
    launchArgumentsEndpoint: text("launchArgumentsEndpoint"),
    speedThreshold: number("speedThreshold", 0),
    inputLengths: lengths("inputLengths"),
    outputLengths: lengths("outputLengths"),
    ingestionLengths: lengths("ingestionLengths"),
    quick: given.quick ?? false,
    sweep: given.sweep ?? false,
  };
}

export interface Lengths {
  inputTokens: number;
  outputTokens: number;
}

/** All pairs of lengths, the cheap ones first: an interrupted suite has the most to show. */
export function lengthPairs({ inputLengths, outputLengths }: SuiteOptions): Lengths[] {
  return outputLengths.flatMap((outputTokens) => inputLengths.map((inputTokens) => ({ inputTokens, outputTokens })));
}

/** One k6 run of the suite. */
export interface Step {
  /** Stem of its file in raw_results/ and folder in runs/. */
  name: string;
  scenario: "prompt-ingestion" | "kv-cache-profile" | "speed-generation";
  /** Settings of the scenario. */
  env: Record<string, string>;
  parameters: Record<string, string | number>;
}

function common(options: SuiteOptions, maxDurationS: number): Record<string, string> {
  return {
    BASE_URL: `${options.baseUrl}/v1`,
    API: "completions",
    ENDPOINT: options.completionsEndpoint,
    MAX_DURATION: `${Math.ceil(maxDurationS)}s`,
    THRESHOLDS: "none",
    ...(options.model ? { MODEL: options.model } : {}),
  };
}

/** The polls of the server's gauges, for the scenarios that make them. */
function gauges(options: SuiteOptions): Record<string, string> {
  return {
    METRICS_URL: `${options.baseUrl}${options.metricsEndpoint}`,
    METRICS_INTERVAL: `${Math.max(1, Math.round(options.stepLiveMetrics * 1000))}ms`,
  };
}

/** As token ids prompts have exactly the asked length; as words a tokenizer makes them some per cent shorter or longer. */
const synthetic = { TOKEN_IDS: "true" };

/** Prompts of a dataset folder: prompts_length_1024.json and growing_prompts.json, where they exist. */
function prompts(options: SuiteOptions, file: string, exists: (path: string) => boolean): Record<string, string> {
  const path = `${options.datasetFolder.replace(/\/+$/, "")}/${file}`;
  return options.datasetFolder !== "" && exists(path) ? { DATASET: path } : synthetic;
}

/** How often prompt ingestion is measured. */
export const ingestionCount = ({ quick }: SuiteOptions): number => (quick ? 1 : 4);

/** One of the measurements of prompt ingestion, each with a seed of its own, without the lengths that the server refuses. */
export function ingestionStep(options: SuiteOptions, instance: number, refused: readonly number[] = []): Step {
  const lengths = options.ingestionLengths.filter((length) => !refused.includes(length));
  return {
    name: `prompt_ingestion_${instance}`,
    scenario: "prompt-ingestion",
    env: {
      ...common(options, options.maxDurationPromptIngestion),
      ...synthetic,
      INPUT_LENGTHS: lengths.join(","),
      OUTPUT_TOKENS: "1",
      REQUESTS: options.quick ? "3" : "10",
      SEED: String(1000 + instance),
    },
    parameters: { prompt_length: "0", output_length: 1, n_workers: 1, query_profile: "constant_number_of_queries" },
  };
}

/** 1, 2, 3, ... requests at once until they are max-queries together (with --quick a few numbers only). */
export function profileStep(
  options: SuiteOptions,
  { inputTokens, outputTokens }: Lengths,
  exists: (path: string) => boolean,
): Step {
  const growing: number[] = [];
  for (let n = 1, sum = 0; sum + n <= options.maxQueries; n++) {
    growing.push(n);
    sum += n;
  }
  const concurrency = options.quick ? growing.filter((n) => [1, 2, 4, 8].includes(n)) : growing;
  return {
    name: `kv_cache_profile_input_${inputTokens}_output_${outputTokens}`,
    scenario: "kv-cache-profile",
    env: {
      ...common(options, options.maxDurationKvCacheProfile),
      ...gauges(options),
      ...prompts(options, `prompts_length_${inputTokens}.json`, exists),
      CONCURRENCY: concurrency.join(","),
      INPUT_TOKENS: String(inputTokens),
      OUTPUT_TOKENS: String(outputTokens),
      SEED: String(2000 + inputTokens + outputTokens),
    },
    parameters: { prompt_length: String(inputTokens), output_length: outputTokens, query_profile: "growing_requests" },
  };
}

/**
 * One number of parallel requests. It runs until both the target number of queries and the least duration are reached,
 * as far as the request rate measured before (requests/s; 0: unknown) tells, and within the longest duration.
 */
export function speedStep(
  options: SuiteOptions,
  { inputTokens, outputTokens }: Lengths,
  parallel: number,
  rateBefore: number,
  exists: (path: string) => boolean,
): Step {
  const wanted = Math.max(
    options.targetQueriesNbSpeedGeneration,
    Math.ceil(rateBefore * options.minDurationSpeedGeneration),
  );
  const possible =
    rateBefore > 0
      ? Math.max(2 * parallel, Math.floor(rateBefore * options.maxDurationSpeedGeneration))
      : Number.POSITIVE_INFINITY;
  const requests = options.quick ? Math.max(4, parallel) : Math.min(wanted, possible, options.maxQueries);
  const bound: Record<string, string> =
    !options.quick && rateBefore === 0
      ? { DURATION: `${Math.max(1, options.minDurationSpeedGeneration)}s` }
      : { REQUESTS: String(requests) };
  return {
    name: `generation_speed_input_${inputTokens}_output_${outputTokens}_nb_requests_${parallel}`,
    scenario: "speed-generation",
    env: {
      ...common(options, options.maxDurationSpeedGeneration),
      ...gauges(options),
      ...prompts(options, `prompts_length_${inputTokens}.json`, exists),
      ...bound,
      CONCURRENCY: String(parallel),
      WARMUP: "0",
      INPUT_TOKENS: String(inputTokens),
      OUTPUT_TOKENS: String(outputTokens),
      SEED: String(3000 + inputTokens + outputTokens + parallel),
    },
    parameters: {
      prompt_length: String(inputTokens),
      output_length: outputTokens,
      n_workers: parallel,
      query_profile: "constant_number_of_queries",
    },
  };
}

/** The numbers of parallel requests that the suite considers. */
export const candidates = (options: SuiteOptions): number[] =>
  options.quick ? quickParallelRequests : parallelRequests;

/** What a measured number of parallel requests decides. */
export interface Measured {
  parallel: number;
  /** Median tokens/s of a request, waiting included. */
  speed: number;
  /** Highest KV usage, 0..1; undefined where the server has no such gauge. */
  kvUsage?: number;
}

/**
 * The next number to measure, or undefined when all is known. Speed falls and KV usage rises with the number of parallel
 * requests, so each threshold is found by bisection between the largest number that keeps it and the smallest that does
 * not. Where measurements contradict that (a speed that rises again across the threshold), every number is measured.
 */
export function nextParallel(
  numbers: readonly number[],
  measured: readonly Measured[],
  speedThreshold: number,
  kvLimit: number,
  sweep = false,
): number | undefined {
  const known = new Map(measured.map((each) => [each.parallel, each]));
  const open = numbers.filter((n) => !known.has(n));
  // One request alone is the reference of every picture, the largest number shows where the curve goes.
  for (const end of [numbers[0], numbers.at(-1)]) if (end !== undefined && !known.has(end)) return end;
  const criteria: ((each: Measured) => boolean)[] = [({ speed }) => speed >= speedThreshold];
  if (measured.some(({ kvUsage }) => kvUsage !== undefined)) criteria.push(({ kvUsage }) => (kvUsage ?? 0) < kvLimit);
  if (sweep) return open[0];
  for (const keeps of criteria) {
    const keeping = numbers.filter((n) => known.has(n) && keeps(known.get(n) as Measured));
    const failing = numbers.filter((n) => known.has(n) && !keeps(known.get(n) as Measured));
    const low = Math.max(0, ...keeping);
    const high = Math.min(Number.POSITIVE_INFINITY, ...failing);
    if (low > high) return open[0];
    const between = open.filter((n) => n > low && n < high);
    if (between.length > 0 && Number.isFinite(high)) return between[Math.floor((between.length - 1) / 2)];
  }
  return undefined;
}

/** A bar with what is done, what runs and the time left: "[####------] 4/10 kv_cache_profile ..., about 3 min left". */
export function progressLine(done: number, all: number, what: string, leftS: number | undefined): string {
  const width = 20;
  const filled = Math.min(width, Math.round((width * done) / Math.max(1, all)));
  const left =
    leftS === undefined
      ? ""
      : `, about ${leftS < 90 ? `${Math.ceil(leftS)} s` : leftS < 5400 ? `${Math.round(leftS / 60)} min` : `${(leftS / 3600).toFixed(1)} h`} left`;
  return `[${"#".repeat(filled)}${"-".repeat(width - filled)}] ${done}/${all} ${what}${left}`;
}
