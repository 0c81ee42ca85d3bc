/**
 * kill -9 of a process, of one of two runners or of their coordinator at a random time of a run: what survives is compared with
 * what had arrived, with the server's own count and with every verdict.
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { main as gate } from "../../report/cli/gate";
import { main as merge } from "../../report/cli/merge";
import type { ChildEnd } from "./child";
import { type RunSettings, readRecords, requestsIn, startRun } from "./run";
import { startCoordinator, startRunner, token } from "./runners";
import { scratchDir } from "./scratch";
import type { SimulatedServer } from "./simulated";

/** What is killed: a process that is alone, one of two runners, or their coordinator. */
export const victims = ["process", "runner 1", "runner 2", "coordinator"] as const;
type Victim = (typeof victims)[number];

interface Load {
  readonly scenario: string;
  readonly settings: RunSettings;
}

/** Loads that last a second or two. */
const loads: readonly Load[] = [
  { scenario: "concurrency-sweep", settings: { CONCURRENCY: "2,4", REQUESTS: 40, OUTPUT_TOKENS: 8 } },
  { scenario: "arrival-rate-ramp", settings: { STAGES: "1500ms:60", OUTPUT_TOKENS: 8 } },
  { scenario: "batch-burst", settings: { BATCH_SIZES: "4,8", RUNS: 8, OUTPUT_TOKENS: 8 } },
  {
    scenario: "conversations",
    settings: { CONCURRENCY: 4, SESSIONS: 12, SESSION_TURNS: 4, THINK_TIME: 0, OUTPUT_TOKENS: 8 },
  },
];

/** A kill, and what came of it. */
export interface Killed {
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

async function killAlone(server: SimulatedServer, load: Load, atMs: number): Promise<Killed> {
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
  { scenario, settings }: Load,
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
  for (const [name, code] of Object.entries(codes))
    if (victim === "coordinator" && !tooLate && code === 0) wrong.push(`${name} ended with 0 without a coordinator`);
  const kept = counts.reduce((sum, count) => sum + count, 0);
  const { requestCount: served } = await server.truth();
  if (kept > served) wrong.push(`${kept} requests were recorded, and ${served} served`);
  return { victim, scenario, atMs, tooLate, codes, verdict, kept, served, wrong };
}

/** The i-th kill of a series (from 0): victims in turn, of a load and at a moment that are drawn from `random` (0 to 1). */
export async function nthKill(server: SimulatedServer, i: number, random: () => number): Promise<Killed> {
  const victim = victims[i % victims.length] as Victim;
  const load = loads[Math.floor(random() * loads.length)] as Load;
  const atMs = Math.round(random() * mostMs);
  await server.reset();
  return victim === "process" ? await killAlone(server, load, atMs) : await killOneOf(server, load, victim, atMs);
}
