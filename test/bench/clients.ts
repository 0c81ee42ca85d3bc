import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { runCommand } from "../../build/command";
import { distDir } from "../../build/paths";
import { Problem } from "../../build/program";
import type { Summary } from "../../lib/figures/level-summary";
import { statsOf } from "../../lib/figures/percentile";
import type { SessionLine } from "../../lib/figures/records";
import { asEnvironment } from "../../lib/settings/given-settings";
import { k6Environment } from "../../run/simulator";
import { readRecords, requestsIn } from "../support/run";
import type { RequestTruth } from "../support/simulated";
import { type TurnFigures, turnFigures } from "../support/turns";
import { bodyOf, type ClientName, type Load } from "./cases";
import type { Measured } from "./figures";
import {
  aiperfArguments,
  aiperfResult,
  commandWords,
  guidellmArguments,
  inferencePerfArguments,
  inferencePerfPath,
  inferencePerfResult,
  type PeerRun,
  readAiperf,
  readGuidellm,
  readInferencePerf,
  readVllm,
  vllmArguments,
  vllmRsArguments,
  writeTokenizer,
} from "./peers";
import { vllmRsBinary, vllmRsVersion } from "./vllm-rs";

/** One run to be made. */
export interface Job {
  readonly k6: string;
  /** http://127.0.0.1:PORT */
  readonly origin: string;
  readonly path: string;
  readonly load: Load;
  /** Whether a client of this project keeps a record of every request. */
  readonly records: boolean;
  /** Whether a client of this project speaks HTTP/2. */
  readonly http2: boolean;
  /** Folder of the job's own files. */
  readonly dir: string;
}

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** A load client that the benchmark knows how to run. */
export interface BenchClient {
  readonly name: ClientName;
  readonly about: string;
  /** Why it cannot run here; undefined: it can. */
  missing(k6: string): Promise<string | undefined>;
  command(job: Job): Command;
  read(job: Job): Measured;
  /** Where it sends its requests, where that is not the case's path. */
  readonly path?: string;
  /** It comes in versions that this project does not choose: a run that fails leaves it out of the case. */
  readonly optional?: boolean;
}

const sseBundle = path.join(distDir, "xk6-sse", "concurrency-sweep.js");
const summaryFile = "summary.json";
const recordsFile = (job: Job) => path.join(job.dir, "records.ndjson");
const here = (file: string) => path.join(__dirname, "clients", file);

/** What the scripts take from the environment. */
function environment(job: Job): NodeJS.ProcessEnv {
  const body = path.join(job.dir, "body.json");
  writeFileSync(body, bodyOf(job.load));
  return {
    LOAD: job.load.kind,
    URL: job.origin + job.path,
    BODY: body,
    STREAMS: String(job.load.streams),
    REQUESTS: String(job.load.requests),
    TOKENS: String(job.load.tokens),
    RESULT: path.join(job.dir, "result.json"),
    HTTP2: String(job.http2),
    // The server makes its certificate itself.
    K6_INSECURE_SKIP_TLS_VERIFY: "true",
  };
}

function readResult(job: Job): Measured {
  return JSON.parse(readFileSync(path.join(job.dir, "result.json"), "utf8")) as Measured;
}

async function extensionsOf(k6: string): Promise<string> {
  return (await runCommand(k6, ["version"], { env: k6Environment() })).stdout;
}

function k6Client(
  name: ClientName,
  about: string,
  script: string,
  module: string,
  env: NodeJS.ProcessEnv = {},
): BenchClient {
  return {
    name,
    about,
    missing: async (k6) =>
      new RegExp(`\\b${module}\\b`).test(await extensionsOf(k6)) ? undefined : `the k6 binary has no ${module}`,
    command: (job) => ({
      file: job.k6,
      args: ["run", "--quiet", ...(job.records ? ["--out", `records=${recordsFile(job)}`] : []), here(script)],
      env: k6Environment({ ...environment(job), ...env }),
    }),
    read: (job) => ({
      ...readResult(job),
      ...(job.records && { recordsMB: statSync(recordsFile(job)).size / 1e6 }),
    }),
  };
}

/** A scenario's bundle for a stock k6 with xk6-sse, as its users run it, on the module of that name in this k6. */
const sseScenario: BenchClient = {
  name: "sse-scenario",
  about: "dist/xk6-sse/concurrency-sweep.js on the same binary's k6/x/sse",
  missing: async (k6) => {
    if (!/\bk6\/x\/sse\b/.test(await extensionsOf(k6))) return "the k6 binary has no k6/x/sse";
    return existsSync(sseBundle) ? undefined : "the bundles are missing (npm run build)";
  },
  command: ({ k6, origin, load, dir }) => ({
    file: k6,
    args: ["run", "--quiet", sseBundle],
    env: k6Environment(
      asEnvironment({
        ...{ BASE_URL: `${origin}/v1`, RESULTS: dir, THRESHOLDS: "none", WARMUP: "0", INPUT_TOKENS: "16" },
        ...{ CONCURRENCY: String(load.streams), REQUESTS: String(load.streams * load.requests) },
        OUTPUT_TOKENS: String(load.tokens),
      }),
    ),
  }),
  read: ({ dir }) => {
    const { levels } = JSON.parse(readFileSync(path.join(dir, summaryFile), "utf8")) as Summary;
    const [level] = levels;
    if (!level) throw new Problem("the summary has no level");
    const { completed, failed, outputTokens, durationS, ttftMs, chunkGapMs } = level;
    return { requests: completed, failed, tokens: outputTokens, spanS: durationS, ttftMs, itlMs: chunkGapMs };
  },
};

/** This project's scenarios as users run them, with a record of every request. */
const scenario: BenchClient = {
  name: "tokenclock-scenario",
  about: "dist/conversations.js and dist/arrival-rate-ramp.js of this project",
  missing: async (k6) => {
    if (!/\bk6\/x\/tokenclock\b/.test(await extensionsOf(k6))) return "the k6 binary has no k6/x/tokenclock";
    return existsSync(path.join(distDir, "conversations.js")) ? undefined : "the bundles are missing (npm run build)";
  },
  command: (job) => {
    const { streams, requests, tokens, beginsPerS = 1, inputTokens = 16, think = "0" } = job.load;
    const begins = { RATE: beginsPerS, DURATION: `${(streams / beginsPerS) * 1000}ms`, MAX_IN_FLIGHT: streams };
    const sessions = { ...begins, SESSION_TURNS: requests, THINK_TIME: think };
    const rate = { RATE: streams, DURATION: `${requests}s`, MAX_IN_FLIGHT: 8_000 };
    const open = job.load.kind === "rate";
    const own = Object.entries({ ...(open ? rate : sessions), INPUT_TOKENS: inputTokens, OUTPUT_TOKENS: tokens });
    return {
      file: job.k6,
      args: [
        ...["run", "--quiet", "--out", `records=${recordsFile(job)}`],
        path.join(distDir, open ? "arrival-rate-ramp.js" : "conversations.js"),
      ],
      env: k6Environment(
        asEnvironment({
          ...{ BASE_URL: `${job.origin}/v1`, RESULTS: job.dir, THRESHOLDS: "none", METRICS_URL: "none" },
          ...Object.fromEntries(own.map(([name, value]) => [name, String(value)])),
        }),
      ),
    };
  },
  read: ({ dir }) => {
    const { levels, total, validity } = JSON.parse(readFileSync(path.join(dir, summaryFile), "utf8")) as Summary;
    const { sentRate, scheduledRate } = levels[0] ?? {};
    // Later turns of an open load are sent behind its window: the total has them.
    const { completed, failed, outputTokens, whole, ttftMs, itlMs } = total;
    return {
      ...{ requests: completed, failed, tokens: outputTokens, spanS: whole.durationS, ttftMs, itlMs },
      validity: [validity.state, ...validity.reasons].join(": "),
      ...(sentRate !== undefined && scheduledRate !== undefined && { sentShare: sentRate / scheduledRate }),
    };
  },
};

/** The turns of a run of conversations against their truth. */
export function turnsOf(job: Job, truths: readonly RequestTruth[]): TurnFigures {
  const lines = readRecords(recordsFile(job));
  const sessions = lines.filter((line): line is SessionLine => line.type === "session");
  return turnFigures(requestsIn(lines), sessions, truths);
}

/** Compiles a program beside this file's into the cache folder; resolves to its path, or throws what the compiler said. */
async function compile(cache: string, name: string, compiler: string, args: readonly string[]): Promise<string> {
  const out = path.join(cache, name);
  const { code, stderr } = await runCommand(compiler, [...args.slice(0, -1), "-o", out, args.at(-1) ?? ""]);
  if (code !== 0) throw new Problem(`compiling ${args.at(-1)} failed: ${stderr.trim()}`);
  return out;
}

/** Compiles the program that counts what another one cost. */
export async function compileUsage(cache: string): Promise<string> {
  if (process.platform === "win32")
    throw new Problem("the benchmark counts processor time as Unix systems do; run it there");
  return compile(cache, "usage", "go", ["build", path.join(__dirname, "usage.go")]);
}

/** Nanoseconds as 64-bit integers in a file, as statistics in ms. */
function statsOfFile(file: string) {
  const bytes = readFileSync(file);
  const ns = new BigInt64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  return statsOf(Float64Array.from(ns, (value) => Number(value) / 1e6));
}

/** The floor, compiled here. */
class Floor implements BenchClient {
  readonly name = "floor";
  readonly about = "one epoll loop in C with kernel receive times, which parses nothing (clients/floor.c)";
  #binary = "";

  constructor(readonly cache: string) {}

  async missing(): Promise<string | undefined> {
    if (process.platform !== "linux") return "it is made of epoll and SO_TIMESTAMPNS, so it needs Linux";
    if ((await runCommand("cc", ["--version"])).code !== 0) return "there is no C compiler (cc)";
    this.#binary = await compile(this.cache, "floor", "cc", ["-O2", here("floor.c")]);
    return undefined;
  }

  command(job: Job): Command {
    const body = bodyOf(job.load);
    const request = path.join(job.dir, "request.http");
    const head = [
      `POST ${job.path} HTTP/1.1`,
      `Host: ${new URL(job.origin).host}`,
      "Content-Type: application/json",
      `Content-Length: ${Buffer.byteLength(body)}`,
    ];
    writeFileSync(request, `${head.join("\r\n")}\r\n\r\n${body}`);
    const marker = job.load.kind === "json" ? "" : '"content":"';
    const { hostname, port } = new URL(job.origin);
    const { streams, requests } = job.load;
    return {
      file: this.#binary,
      args: [hostname, port, request, marker, String(streams), String(requests), path.join(job.dir, "floor")],
    };
  }

  read(job: Job): Measured {
    const file = (ending: string) => path.join(job.dir, `floor.${ending}`);
    const said = JSON.parse(readFileSync(file("json"), "utf8")) as {
      tokens: number;
      broken: number;
      spanS: number;
      peakMB: number;
    };
    const ttftMs = statsOfFile(file("ttft"));
    return {
      requests: ttftMs.count,
      failed: said.broken,
      tokens: said.tokens,
      spanS: said.spanS,
      ttftMs,
      itlMs: statsOfFile(file("itl")),
    };
  }
}

/** Nothing is reported or fetched behind the user's back. AIPerf, told to be offline, refuses a tokenizer's folder. */
const unreported: NodeJS.ProcessEnv = { VLLM_NO_USAGE_STATS: "1", DO_NOT_TRACK: "1" };
const offline: NodeJS.ProcessEnv = {
  ...unreported,
  HF_HUB_OFFLINE: "1",
  TRANSFORMERS_OFFLINE: "1",
  HF_DATASETS_OFFLINE: "1",
};

/** vLLM's Rust client, which the benchmark downloads. */
class VllmRs implements BenchClient {
  readonly name = "vllm-rs";
  readonly about = `vllm-rs bench serve ${vllmRsVersion}, the Rust client inside vLLM's wheel`;
  readonly optional = true;
  #command: [string, ...string[]] = ["vllm-rs"];

  constructor(readonly cache: string) {}

  async missing(): Promise<string | undefined> {
    const own = process.env.VLLM_RS_BENCH;
    try {
      this.#command = own ? commandWords(own, this.name) : [await vllmRsBinary(this.cache)];
    } catch (error) {
      return `${error instanceof Error ? error.message : String(error)} (VLLM_RS_BENCH can name a command)`;
    }
    return onPath(this.#command[0]) ? undefined : `${this.#command[0]} is not there (VLLM_RS_BENCH)`;
  }

  command(job: Job): Command {
    const tokenizer = path.join(job.dir, "tokenizer");
    writeTokenizer(tokenizer);
    const [file, ...own] = this.#command;
    const { origin, load } = job;
    const args = vllmRsArguments({ origin, load, tokenizer, file: path.join(job.dir, "result.json") });
    return { file, args: [...own, ...args], env: { ...process.env, ...offline } };
  }

  read(job: Job): Measured {
    return readVllm(readFileSync(path.join(job.dir, "result.json"), "utf8"));
  }
}

function onPath(file: string): boolean {
  if (path.isAbsolute(file)) return existsSync(file);
  return (process.env.PATH ?? "").split(path.delimiter).some((dir) => dir !== "" && existsSync(path.join(dir, file)));
}

/** A load client of others, found on PATH or by a command in the environment. */
function peer(
  name: ClientName,
  about: string,
  variable: string,
  argumentsOf: (run: PeerRun) => string[],
  read: (text: string) => Measured,
  env: NodeJS.ProcessEnv = offline,
  resultName = "result.json",
): BenchClient {
  const [file, ...own] = commandWords(process.env[variable], name);
  const result = (job: Job) => path.join(job.dir, resultName);
  return {
    name,
    about,
    optional: true,
    // Nothing is started to find out: some take half a minute to say their version.
    missing: async () => (onPath(file) ? undefined : `${name} is not installed (${variable} can name a command)`),
    command: (job) => {
      const tokenizer = path.join(job.dir, "tokenizer");
      writeTokenizer(tokenizer);
      const args = argumentsOf({ origin: job.origin, load: job.load, tokenizer, file: result(job) });
      return { file, args: [...own, ...args], env: { ...process.env, ...env } };
    },
    read: (job) => read(readFileSync(result(job), "utf8")),
  };
}

/** Every client, those that are not installed included. */
export function knownClients(cache: string): BenchClient[] {
  return [
    k6Client("tokenclock", "this project's k6 module (clients/tokenclock.js)", "tokenclock.js", "k6/x/tokenclock"),
    k6Client(
      "xk6-sse",
      "k6/x/sse of the same binary, used as xk6-sse's users write it (clients/xk6-sse.js)",
      "xk6-sse.js",
      "k6/x/sse",
    ),
    sseScenario,
    scenario,
    k6Client(
      "tokenclock-socket",
      "the same without a packet ring, as without privilege (STAMPS=socket)",
      "tokenclock.js",
      "k6/x/tokenclock",
      { STAMPS: "socket" },
    ),
    new VllmRs(cache),
    new Floor(cache),
    {
      name: "locust",
      about: "locust with a streaming locustfile (clients/locustfile.py)",
      missing: async () =>
        (await runCommand("locust", ["--version"])).code === 0 ? undefined : "locust is not installed",
      command: (job) => ({
        file: "locust",
        args: [
          ...["--headless", "--only-summary", "--loglevel", "ERROR", "-f", here("locustfile.py"), "-H", job.origin],
          ...["-u", String(job.load.streams), "-r", String(job.load.streams)],
        ],
        env: { ...process.env, ...environment(job) },
      }),
      read: readResult,
    },
    peer("vllm", "vllm bench serve", "VLLM_BENCH", vllmArguments, readVllm),
    peer("guidellm", "guidellm run, version 0.8", "GUIDELLM_BENCH", guidellmArguments, readGuidellm),
    peer(
      "aiperf",
      "aiperf profile, version 0.13",
      "AIPERF_BENCH",
      aiperfArguments,
      readAiperf,
      unreported,
      aiperfResult,
    ),
    {
      ...peer(
        "inference-perf",
        "inference-perf, version 0.7",
        "INFERENCE_PERF_BENCH",
        inferencePerfArguments,
        readInferencePerf,
        offline,
        inferencePerfResult,
      ),
      path: inferencePerfPath,
    },
  ];
}

/** That a run left what it measured. */
export function left(job: Job): boolean {
  return ["result.json", "floor.json", summaryFile, aiperfResult, inferencePerfResult].some((name) =>
    existsSync(path.join(job.dir, name)),
  );
}
