/**
 * `npm run kills [-- --kills 40 --seed 1]`: kill -9 of a runner or of the coordinator at a random time of a run, again and again.
 * Prints what survived and what the merge made of it, and ends with 1 where a kill led to a pass, to a loss of what had
 * arrived, or to a process that did not end.
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { Command } from "commander";
import { bundleScenarios } from "../build/bundle";
import { ensureK6 } from "../build/k6";
import { runProgram } from "../build/program";
import { seededRng } from "../lib/workload/rng";
import { main as gate } from "../report/cli/gate";
import { main as merge } from "../report/cli/merge";
import type { ChildEnd } from "./support/child";
import { type RunSettings, readRecords, requestsIn, startRun } from "./support/run";
import { startCoordinator, startRunner, token } from "./support/runners";
import { scratchDir } from "./support/scratch";
import { type SimulatedServer, startServer } from "./support/simulated";

/** What is killed: a process that is alone, one of two runners, or their coordinator. */
const victims = ["process", "runner 1", "runner 2", "coordinator"] as const;
type Victim = (typeof victims)[number];

/** Loads that last a second or two. */
const loads: readonly { scenario: string; settings: RunSettings }[] = [
  { scenario: "concurrency-sweep", settings: { CONCURRENCY: "2,4", REQUESTS: 40, OUTPUT_TOKENS: 8 } },
  { scenario: "arrival-rate-ramp", settings: { STAGES: "1500ms:60", OUTPUT_TOKENS: 8 } },
  { scenario: "batch-burst", settings: { BATCH_SIZES: "4,8", RUNS: 8, OUTPUT_TOKENS: 8 } },
  {
    scenario: "conversations",
    settings: { CONCURRENCY: 4, SESSIONS: 12, SESSION_TURNS: 4, THINK_TIME: 0, OUTPUT_TOKENS: 8 },
  },
];

/** A kill, and what came of it. */
interface Killed {
  readonly victim: Victim;
  readonly scenario: string;
  /** From the release of the load. */
  readonly atMs: number;
  /** Whether the victim had ended by itself before. */
  readonly tooLate: boolean;
  /** Exit codes of those that were not killed, by name. */
  readonly codes: Readonly<Record<string, number | undefined>>;
  /** The exit code of merge, of one process that of gate. */
  readonly verdict: number;
  /** Requests in the records, and those that the server had. */
  readonly kept: number;
  readonly served: number;
  /** Empty where all is as it should be. */
  readonly wrong: readonly string[];
}

const limitMs = 45_000;

/** The latest moment of a kill, at which most loads still go on. */
const mostMs = 1400;

/** Resolves to the end of a child; undefined where it goes on for longer than it may. */
async function endOf(ended: Promise<ChildEnd>): Promise<ChildEnd | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, limitMs, undefined);
  });
  try {
    return await Promise.race([ended.catch(() => undefined), late]);
  } finally {
    clearTimeout(timer);
  }
}

const after = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const silent = () => {};

/** Whether the records of a part say that it ended as a whole. */
const isWhole = (dir: string) => recordsIn(dir).some((line) => line.type === "end" && line.ended === "complete");

const recordsIn = (dir: string) => {
  const file = path.join(dir, "records.ndjson");
  return existsSync(file) ? readRecords(file) : [];
};

const passes = (dir: string): boolean => {
  const file = path.join(dir, "summary.json");
  return existsSync(file) && JSON.parse(readFileSync(file, "utf8")).verdict.pass === true;
};

async function killAlone(server: SimulatedServer, load: (typeof loads)[number], atMs: number): Promise<Killed> {
  const started = startRun(load.scenario, { ...load.settings, BASE_URL: server.baseUrl });
  await after(atMs);
  started.child.kill("SIGKILL");
  const end = await endOf(started.child.ended);
  const wrong = end ? [] : ["it did not end"];
  const tooLate = end?.signal !== "SIGKILL";
  const kept = requestsIn(started.records()).length;
  const verdict = await gate([started.dir, "--slo-ttft", "60000", "--output", scratchDir()], silent).catch(() => 104);
  if (!tooLate && verdict === 0) wrong.push("the gate passed a run that was killed");
  const { requestCount: served } = await server.truth();
  if (kept > served) wrong.push(`${kept} requests were recorded, and ${served} served`);
  return { victim: "process", scenario: load.scenario, atMs, tooLate, codes: {}, verdict, kept, served, wrong };
}

async function killOneOf(
  server: SimulatedServer,
  { scenario, settings }: (typeof loads)[number],
  victim: Exclude<Victim, "process">,
  atMs: number,
): Promise<Killed> {
  const coordinator = await startCoordinator(2, { args: ["--judge", "none", "--lost-after", "1s"] });
  const own = { ...settings, BASE_URL: server.baseUrl, COORDINATOR: coordinator.address, COORDINATOR_TOKEN: token };
  const runners = await Promise.all([1, 2].map((k) => startRunner(scenario, k, 2, own)));
  for (const runner of runners) await runner.ready();
  for (const runner of runners) await runner.release().catch(silent);
  await after(atMs);
  const children = { "runner 1": runners[0]?.child, "runner 2": runners[1]?.child, coordinator: coordinator.child };
  const dirs = [1, 2].map((k) => path.join(coordinator.dir, `part-${k}`));
  const had = dirs.map((dir) => requestsIn(recordsIn(dir)).length);
  children[victim]?.kill("SIGKILL");
  const wrong: string[] = [];
  const codes: Record<string, number | undefined> = {};
  let tooLate = false;
  for (const [name, child] of Object.entries(children)) {
    const end = child && (await endOf(child.ended));
    if (!end) {
      wrong.push(`${name} did not end`);
      child?.kill("SIGKILL");
    } else if (name === victim) tooLate = end.signal !== "SIGKILL";
    else codes[name] = end.code;
  }
  const counts = dirs.map((dir) => requestsIn(recordsIn(dir)).length);
  counts.forEach((count, k) => {
    if (count < (had[k] ?? 0)) wrong.push(`part ${k + 1} lost ${(had[k] ?? 0) - count} requests that had arrived`);
  });
  const output = scratchDir();
  const verdict = await merge([...dirs, "--parts", "2", "--output", output], silent).catch(() => 104);
  const whole = dirs.every(isWhole);
  if (verdict === 0 && !whole) wrong.push("merge passed parts that are not whole");
  if ([output, coordinator.dir, ...runners.map(({ dir }) => dir)].some(passes) && !whole)
    wrong.push("a summary says PASS");
  if (victim !== "coordinator" && !tooLate && !whole && codes.coordinator !== 98)
    wrong.push(`the coordinator ended with ${codes.coordinator}, not 98`);
  const kept = counts.reduce((sum, count) => sum + count, 0);
  const { requestCount: served } = await server.truth();
  if (kept > served) wrong.push(`${kept} requests were recorded, and ${served} served`);
  return { victim, scenario, atMs, tooLate, codes, verdict, kept, served, wrong };
}

async function main(argv: readonly string[]): Promise<number> {
  const program = new Command("kills")
    .option("--kills <n>", "how many", Number, 40)
    .option("--seed <n>", "of victims, loads and moments", Number, 1)
    .parse([...argv], { from: "user" });
  const { kills, seed } = program.opts<{ kills: number; seed: number }>();
  await bundleScenarios();
  await ensureK6();
  const random = seededRng(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const server = await startServer("--ttft", "20ms", "--itl", "4ms");
  const all: Killed[] = [];
  console.log(
    "| killed | load | after ms | ended with | merge or gate | requests kept, served | |\n|---|---|---|---|---|---|---|",
  );
  try {
    for (let i = 0; i < kills; i++) {
      const [victim, load, atMs] = [victims[i % victims.length] as Victim, pick(loads), Math.round(random() * mostMs)];
      await server.reset();
      const one =
        victim === "process" ? await killAlone(server, load, atMs) : await killOneOf(server, load, victim, atMs);
      all.push(one);
      const codes = Object.entries(one.codes).map(([name, code]) => `${name} ${code}`);
      const cells = [one.victim, one.scenario, one.atMs, codes.join(", "), one.verdict, `${one.kept}, ${one.served}`];
      console.log(`| ${cells.join(" | ")} | ${one.wrong.join("; ") || (one.tooLate ? "had ended" : "ok")} |`);
    }
  } finally {
    await server.stop();
  }
  for (const victim of victims) {
    const own = all.filter((one) => one.victim === victim);
    const hit = own.filter(({ tooLate }) => !tooLate);
    const verdicts = [...new Set(hit.map(({ verdict }) => verdict))].sort();
    const share = hit.reduce((sum, { kept }) => sum + kept, 0) / hit.reduce((sum, { served }) => sum + served, 1e-9);
    console.log(
      `${victim}: ${own.length} kills, ${own.length - hit.length} after its end; of the others the verdicts ${verdicts.join(", ")}, ${Math.round(share * 100)} % of the requests kept`,
    );
  }
  const wrong = all.filter((one) => one.wrong.length > 0).length;
  console.log(`${all.length} kills, seed ${seed}: ${wrong} wrong`);
  return wrong > 0 ? 1 : 0;
}

if (process.argv[1] === __filename) void runProgram(() => main(process.argv.slice(2)));
