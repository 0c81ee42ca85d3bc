/**
 * `npm run bench [-- --quick] [--case NAME]... [--client NAME]... [--runs N] [--json FILE]`: load clients side by side,
 * one after the other and all over again, against one simulated server a case that knows the truth of each run.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { bundleScenarios } from "../../build/bundle";
import { runCommand } from "../../build/command";
import { ensureK6 } from "../../build/k6";
import { root, shown } from "../../build/paths";
import { Problem, runProgram } from "../../build/program";
import { startSimulator } from "../../run/simulator";
import { call } from "../support/simulated";
import { type BenchCase, cases, type Load, type RateSearch } from "./cases";
import { type BenchClient, compileUsage, type Job, knownClients, left, turnsOf } from "./clients";
import {
  type CaseResult,
  type Cost,
  caseTable,
  figuresOf,
  judge,
  mediansOf,
  notes,
  type Run,
  type Truth,
  verdictLine,
} from "./figures";
import { processors, watchProcessors } from "./processors";
import { limitCores } from "./quota";
import { largestValid } from "./search";

/** What is asked for; undefined lists stand for all. */
export interface BenchOptions {
  quick?: boolean;
  case?: string[];
  client?: string[];
  runs?: number;
  json?: string;
}

/** A run that hangs must not hold the whole benchmark up. */
const longestRunS = 180;

/** Keeps one processor busy until its end is called, or this process is gone. */
function startBusyLoop(processor: number): () => void {
  const loop = "const parent = process.ppid; while (process.ppid === parent) for (let i = 0; i < 1e8; i++);";
  const child = spawn("taskset", ["-c", String(processor), process.execPath, "-e", loop], { stdio: "ignore" });
  return () => child.kill("SIGKILL");
}

/** Makes one run and reads what it cost, what the client says and what is true. */
async function runOnce(
  client: BenchClient,
  each: BenchCase,
  job: Job,
  usage: string,
  before: readonly string[],
  server: number,
): Promise<Run> {
  await call(`${job.origin}/reset`, "POST");
  const { file, args, env } = client.command(job);
  const costFile = path.join(job.dir, "cost.json");
  const { frozen } = each;
  const stops = frozen ? ["-stop", frozen.atS.join(","), "-stop-for", `${frozen.forS}s`] : [];
  const limited = [...stops, costFile, String(longestRunS), ...before, file, ...args];
  const used = watchProcessors(server);
  const { stdout, stderr } = await runCommand(usage, limited, { env: env ?? process.env });
  const { residentMB, ...rest } = JSON.parse(readFileSync(costFile, "utf8")) as Cost;
  const cost: Cost = each.soak ? { ...rest, residentMB } : rest;
  const meanwhile = used(cost.userS + cost.systemS, cost.wallS);
  if (!left(job)) {
    const said = `${stdout}${stderr}`.trim().split("\n").slice(-5).join("\n");
    throw new Problem(`${client.name} ended with code ${cost.code} and without a result:\n${said}`);
  }
  const asked = client.path ?? each.path;
  const turns = job.load.kind === "sessions";
  const page = await call(`${job.origin}/truth?requests=${turns ? 1 : 0}&path=${asked}`);
  const { requests: truths = [], ...truth } = JSON.parse(page) as Truth;
  const measured = client.read(job);
  if (truth.requestCount < measured.requests) {
    const seen = `the server saw ${truth.requestCount} at ${asked}`;
    throw new Problem(`${client.name} reports ${measured.requests} requests where ${seen}`);
  }
  const figures = figuresOf(job.load, cost, measured, truth, turns ? { ...turnsOf(job, truths) } : {});
  return { client: client.name, load: job.load, cost, measured, truth, ...meanwhile, figures };
}

/** The largest rate at which the client calls itself valid and sends what was scheduled, requests a second. */
async function searchRate(search: RateSearch, trial: (load: Pick<Load, "streams" | "requests">) => Promise<Run>) {
  return await largestValid(async (rate) => {
    const { measured } = await trial({ streams: Math.round(rate), requests: search.trialS });
    const { validity = "", sentShare = 0, failed } = measured;
    const valid = /^VALID\b/.test(validity) && failed === 0 && sentShare >= 0.99;
    process.stderr.write(`bench: ${Math.round(rate)} requests/s: ${valid ? "valid" : "not valid"}\n`);
    return valid;
  }, search);
}

/** Runs a case: every client once, and all over again. */
export async function runCase(
  each: BenchCase,
  clients: readonly BenchClient[],
  k6: string,
  usage: string,
  runs: number,
  quick: boolean,
): Promise<CaseResult> {
  const result: CaseResult = { name: each.name, what: each.what, runs: [], medians: {}, verdicts: [], skipped: {} };
  const taking: BenchClient[] = [];
  for (const client of clients) {
    if (!each.clients.includes(client.name)) continue;
    const reason = await client.missing(k6);
    if (reason === undefined) taking.push(client);
    else result.skipped[client.name] = reason;
  }
  let before: readonly string[] = [];
  let end = () => {};
  const leaveOut = (why: string) => {
    for (const client of taking) result.skipped[client.name] = why;
    return result;
  };
  if (each.crowded) {
    const [first] = processors();
    if (first === undefined || (await runCommand("taskset", ["--version"])).code !== 0) {
      return leaveOut("there is no taskset to pin it with");
    }
    before = ["taskset", "-c", String(first)];
    end = startBusyLoop(first);
  }
  if (each.coreShare !== undefined) {
    const quota = limitCores(each.coreShare);
    if (typeof quota === "string") return leaveOut(quota);
    before = quota.enter;
    end = () => quota.end();
  }
  let validRate: number | undefined;
  const simulator = await startSimulator(k6, [...each.simulator, "--parent-pid", String(process.pid)]);
  try {
    for (let run = 1; run <= runs; run++) {
      // Every second round goes the other way, so that what changes over time hits all alike.
      for (const client of run % 2 === 1 ? taking : [...taking].reverse()) {
        let load: Load = quick ? each.quick : (each.smaller?.[client.name] ?? each.load);
        if (result.skipped[client.name] !== undefined) continue;
        process.stderr.write(`bench: ${each.name}, run ${run} of ${runs}: ${client.name}\n`);
        const once = async (own: Load): Promise<Run> => {
          const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-bench-"));
          const job: Job = {
            k6,
            origin: simulator.baseUrl.replace(/\/v1$/, ""),
            path: each.path,
            load: own,
            records: each.records ?? false,
            http2: each.http2 ?? false,
            dir,
          };
          try {
            return await runOnce(client, each, job, usage, before, simulator.pid);
          } finally {
            rmSync(dir, { recursive: true, force: true });
          }
        };
        try {
          if (each.search) {
            const whole = load;
            const search = quick ? { ...each.search, trialS: 1, attempts: 1, most: each.search.from } : each.search;
            validRate ??= await searchRate(search, (trial) => once({ ...whole, ...trial }));
            if (validRate === 0) throw new Problem(`${client.name} is valid at no rate`);
            load = { ...load, streams: Math.floor(each.search.share * validRate) };
          }
          const ran = await once(load);
          result.runs.push(validRate === undefined ? ran : { ...ran, figures: { ...ran.figures, validRate } });
        } catch (error) {
          if (!client.optional) throw error;
          result.skipped[client.name] = (error instanceof Error ? error.message : String(error)).replaceAll(
            "\n",
            " | ",
          );
        }
      }
    }
  } finally {
    await simulator.stop();
    end();
  }
  result.medians = mediansOf(result.runs);
  // Small loads say nothing about speed: start-up is most of them.
  if (!quick) result.verdicts = each.targets.map((target) => judge(target, result.medians));
  return result;
}

/** The whole benchmark; resolves to the results after they were printed. */
async function bench(options: BenchOptions): Promise<CaseResult[]> {
  const k6 = await ensureK6();
  await bundleScenarios();
  const cache = path.join(root, ".cache", "bench");
  mkdirSync(cache, { recursive: true });
  const usage = await compileUsage(cache);
  const clients = knownClients(cache).filter(({ name }) => !options.client || options.client.includes(name));
  const results: CaseResult[] = [];
  for (const each of cases) {
    if (options.case ? !options.case.includes(each.name) : each.soak) continue;
    const result = await runCase(
      each,
      clients,
      k6,
      usage,
      options.runs ?? (options.quick ? 1 : 3),
      options.quick ?? false,
    );
    results.push(result);
    console.log(`\n${result.name}: ${result.what}`);
    if (result.runs.length > 0) console.log(caseTable(result));
    for (const [name, why] of Object.entries(result.skipped)) console.log(`left out    ${name}: ${why}`);
    for (const line of notes(result, each.crowded ?? false)) console.log(line);
    for (const verdict of result.verdicts) console.log(verdictLine(verdict));
  }
  return results;
}

function names<Name extends string>(what: string, allowed: readonly Name[]) {
  return (value: string, before: string[] = []): string[] => {
    if (!(allowed as readonly string[]).includes(value)) {
      throw new InvalidArgumentError(`There is no ${what} ${value}; there are ${allowed.join(", ")}.`);
    }
    return [...before, value];
  };
}

async function main(): Promise<number> {
  const command = new Command("bench")
    .description("Load clients side by side against a simulated server that knows the truth")
    .option("--quick", "small loads, once: does everything run? Says nothing about speed")
    .option(
      "--case <name>",
      "this case only; can be repeated",
      names(
        "case",
        cases.map(({ name }) => name),
      ),
    )
    .option(
      "--client <name>",
      "this client only; can be repeated",
      names(
        "client",
        knownClients("").map(({ name }) => name),
      ),
    )
    .option("--runs <n>", "runs of each client", (value) => {
      if (!/^[1-9]\d?$/.test(value)) throw new InvalidArgumentError("A number from 1 to 99.");
      return Number(value);
    })
    .option("--json <file>", "where to write the results")
    .parse(process.argv);
  const options = command.opts<BenchOptions>();
  const startMs = Date.now();
  const results = await bench(options);
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "").replace("T", "-");
  const file = path.resolve(options.json ?? path.join(root, "results", `${time}-bench.json`));
  mkdirSync(path.dirname(file), { recursive: true });
  const machine = {
    processors: os.availableParallelism(),
    model: os.cpus()[0]?.model ?? "",
    memoryGB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
  };
  writeFileSync(file, `${JSON.stringify({ schema: 1, quick: options.quick ?? false, machine, results }, null, 1)}\n`);
  console.log(`\nbench: ${Math.round((Date.now() - startMs) / 1000)} s; the results are in ${shown(file)}`);
  return 0;
}

if (process.argv[1] === __filename) void runProgram(main);
