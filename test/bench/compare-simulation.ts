/**
 * How often does compare err? Pairs of simulated servers, each measured by several runs that differ from each other:
 * `node build/bootstrap.cjs test/bench/compare-simulation.ts [pairs]` prints the table of docs/statistics.md.
 */
import type { LevelSummary } from "../../lib/figures/level-summary";
import { comparisonState } from "../../report/cli/compare";
import { type CompareOptions, compareSides, defaultOptions, type Side } from "../../report/judge/comparison";
import { runFailures, runFigures } from "../../report/judge/run-figures";
import type { RequestRow, Results } from "../../report/read/read";
import { Rows } from "../../report/read/rows";
import { randomSource } from "../support/synthetic";

export interface Simulation {
  pairs: number;
  /** Runs of side A and side B. */
  runs: [number, number];
  requests: number;
  /** B's times are A's times this. */
  slower: number;
  /** Standard deviation of TTFT's and of TPOT's logarithm between runs of one server. */
  runSd: number;
  seed: number;
}

/** How many pairs ended how. */
export interface SimulationResult {
  regression: number;
  passed: number;
  unclear: number;
}

/** Compares `pairs` pairs of simulated servers. */
export function simulate(of: Simulation, options: CompareOptions = defaultOptions): SimulationResult {
  const random = randomSource(of.seed);
  const result: SimulationResult = { regression: 0, passed: 0, unclear: 0 };
  const side = (runs: number, slower: number): Side => {
    const all = Array.from({ length: runs }, () => simulatedRun(random, of.requests, slower, of.runSd));
    return { figures: all.map(runFigures), failures: all.map(runFailures) };
  };
  for (let pair = 0; pair < of.pairs; pair++) {
    const rows = compareSides(side(of.runs[0], 1), side(of.runs[1], of.slower), options);
    const { state } = comparisonState(rows, options);
    if (state === "failed") result.regression++;
    else if (state === "passed") result.passed++;
    else result.unclear++;
  }
  return result;
}

const clients = 8;
const tokens = 64;

/**
 * One run of a server with eight clients: TTFT lognormal around 200 ms with a deviation of 25 %, TPOT around 20 ms with 5 %, and
 * a factor of its own for each of the two.
 */
function simulatedRun(
  random: ReturnType<typeof randomSource>,
  requests: number,
  slower: number,
  runSd: number,
): Results {
  const [prefill, decode] = [0, 1].map(() => slower * Math.exp(random.normal(0, runSd))) as [number, number];
  const rows = Array.from({ length: requests }, () => {
    const ttftMs = prefill * 200 * Math.exp(random.normal(0, 0.25));
    const tpotMs = decode * 20 * Math.exp(random.normal(0, 0.05));
    const endNs = 1e6 * (ttftMs + (tokens - 1) * tpotMs);
    const maxStallNs = 1e6 * tpotMs * (1.5 + random.uniform());
    return {
      level: "c8",
      phase: "steady",
      completed: true,
      ttftMs,
      tpotMs,
      maxStallNs,
      sentNs: 0,
      lastOutputNs: endNs,
      endNs,
    };
  }) as RequestRow[];
  const durationS = rows.reduce((sum, { endNs }) => sum + endNs / 1e9, 0) / clients;
  const level = { name: "c8", requests, completed: requests, failed: 0 } as LevelSummary;
  const throughput = { requestThroughput: requests / durationS, outputThroughput: (tokens * requests) / durationS };
  return { levelSummaries: [{ ...level, ...throughput }], requests: Rows.of(rows) } as Partial<Results> as Results;
}

function main(pairs: number): void {
  const percent = (count: number) => `${((100 * count) / pairs).toFixed(1)} %`;
  console.log("| runs A, B | requests a level | B is | REGRESSION | pass | unclear |\n|---|---:|---|---:|---:|---:|");
  for (const runs of [
    [1, 1],
    [3, 3],
    [5, 5],
    [10, 10],
    [16, 16],
    [40, 8],
  ] as [number, number][]) {
    for (const [slower, words] of [
      [1, "equal"],
      [1.05, "5 % slower"],
      [1.1, "10 % slower"],
    ] as const) {
      const result = simulate({ pairs, runs, requests: 300, slower, runSd: 0.03, seed: 1 });
      const cells = [result.regression, result.passed, result.unclear].map(percent).join(" | ");
      console.log(`| ${runs.join(", ")} | 300 | ${words} | ${cells} |`);
    }
  }
}

if (process.argv[1] === __filename) main(Number(process.argv[2] ?? 1000));
