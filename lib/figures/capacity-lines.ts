/** What a search for capacity shows and writes. Pure. */
import type { CapacityResult, Interval, ProbeAt } from "../load/capacity-search";
import type { OwnResults } from "./level-summary";
import { type Column, percent, shortNumber, textTable } from "./table";

const columns: Column<ProbeAt>[] = [
  { heading: "probed", cell: ({ level }) => shortNumber(level) },
  { heading: "verdict", left: true, cell: ({ state }) => state },
  { heading: "requests", cell: ({ requests }) => String(requests) },
  { heading: "independent", cell: ({ independent }) => String(Math.round(independent)) },
  { heading: "good", cell: ({ good, requests }) => (requests > 0 ? percent(good / requests) : "-") },
  { heading: "req/s", cell: ({ throughput }) => shortNumber(throughput) },
  {
    heading: "goodput req/s",
    cell: ({ throughput, good, requests }) => (requests > 0 ? shortNumber((throughput * good) / requests) : "-"),
  },
  { heading: "mean ms", cell: ({ meanMs }) => (Number.isFinite(meanMs) ? shortNumber(meanMs) : "-") },
  { heading: "s", cell: ({ tookS }) => shortNumber(tookS) },
];

/** What capacity.json holds. */
export interface FoundCapacity extends CapacityResult {
  /** The unit of the levels: "req/s" or "clients". */
  readonly unit: string;
}

/** The table of probes, the answer below it, and capacity.json with both. */
export function capacityResults(found: CapacityResult | undefined, unit: string): OwnResults {
  if (!found) return { text: "capacity: the search did not end" };
  const whole: FoundCapacity = { unit, ...found };
  return {
    text: `${textTable(columns, found.probes)}\n\n${capacitySentences(whole).join("\n")}`,
    files: { "capacity.json": `${JSON.stringify(whole, undefined, 2)}\n` },
  };
}

/** The answer in words: the capacity, DistServe's goodput, the knee, and what a reader must know of them. */
export function capacitySentences(found: FoundCapacity): string[] {
  const { unit, ninety, knee, notes } = found;
  const lines = [answerLine(found, unit), ...probedLine(found)];
  if (ninety.low !== undefined || ninety.high !== undefined) {
    lines.push(`goodput (DistServe: 90 % of requests within the SLOs): ${intervalText(ninety, unit)}`);
  }
  if (knee !== undefined) lines.push(`knee (most throughput by latency): ${shortNumber(knee)} ${unit}`);
  return [...lines, ...notes.map((note) => `note: ${note}`)];
}

function answerLine({ state, interval, confidence, precise }: CapacityResult, unit: string): string {
  if (interval.low === undefined && interval.high === undefined && state !== "drifted")
    return "capacity: unknown, no probe showed a bound";
  if (state === "drifted") return "capacity: unknown, the server changed during the search";
  const width = state !== "found" || precise ? "" : ", wider than PRECISION asks for";
  return `capacity: ${intervalText(interval, unit)}, with ${percent(confidence)} confidence${width}`;
}

/** What the interval is made of; nothing of a search that widened none. */
function probedLine({ state, probed, probeSd, unit }: FoundCapacity): string[] {
  // Results of earlier versions have neither.
  if (state === "drifted" || !probed || !(probeSd > 0)) return [];
  const bounds = [
    ...(probed.low === undefined ? [] : [`${shortNumber(probed.low)} passed`]),
    ...(probed.high === undefined ? [] : [`${shortNumber(probed.high)} failed`]),
  ];
  if (bounds.length === 0) return [];
  return [`${bounds.join(", ")} (${unit}); PROBE_SD: a server differs by ${percent(probeSd)} from probe to probe`];
}

function intervalText({ low, high }: Interval, unit: string): string {
  if (low === undefined) return `below ${shortNumber(high ?? Number.NaN)} ${unit}`;
  if (high === undefined) return `at least ${shortNumber(low)} ${unit}`;
  return `from ${shortNumber(low)} to ${shortNumber(high)} ${unit}`;
}
