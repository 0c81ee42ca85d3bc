/** What the server says of itself, for the terminal. Pure. */
import type { RunReport } from "../figures/level-summary";
import type { BucketedPercentile, HeldAgainst, ServerFigures } from "../figures/server";
import { type Column, percent, shortNumber, textTable } from "../figures/table";

const optional = (value: number | undefined, shown: (value: number) => string = shortNumber): string =>
  value === undefined ? "" : shown(value);

const both = (gauge: { mean: number; max: number } | undefined, shown: (value: number) => string = shortNumber) =>
  gauge === undefined ? "" : `${shown(gauge.mean)}, ${shown(gauge.max)}`;

const whole = (value: number) => shortNumber(Math.round(value * 10) / 10);

/** A level, or all that ran at once. */
interface Polled {
  readonly name: string;
  readonly server?: ServerFigures;
}

const columns: Column<Polled>[] = [
  { heading: "server", left: true, cell: ({ name }) => name },
  { heading: "running mean, max", cell: ({ server }) => both(server?.running, whole) },
  { heading: "waiting mean, max", cell: ({ server }) => both(server?.waiting, whole) },
  { heading: "KV mean, max", cell: ({ server }) => both(server?.kvUsage, percent) },
  { heading: "preempted", cell: ({ server }) => optional(server?.preemptions, whole) },
  { heading: "prefix hits", cell: ({ server }) => optional(server?.prefixHitShare, percent) },
  { heading: "drafts accepted", cell: ({ server }) => optional(server?.acceptance, percent) },
  { heading: "GPU", cell: ({ server }) => optional(server?.gpuUse, percent) },
  { heading: "W", cell: ({ server }) => optional(server?.powerW) },
  { heading: "J a token", cell: ({ server }) => optional(server?.joulesPerOutputToken) },
];

interface Held {
  readonly level: string;
  readonly what: string;
  readonly held: HeldAgainst;
}

const bucket = (of: BucketedPercentile | undefined): string =>
  of === undefined ? "" : `${shortNumber(of.low)} to ${of.high === undefined ? "more" : shortNumber(of.high)}`;

const heldColumns: Column<Held>[] = [
  { heading: "by the server's clock", left: true, cell: ({ level, what }) => `${level} ${what}` },
  { heading: "mean ms", cell: ({ held }) => shortNumber(held.meanMs) },
  { heading: "ours", cell: ({ held }) => shortNumber(held.ours.meanMs) },
  { heading: "outside of it", cell: ({ held }) => shortNumber(held.outsideMs ?? Number.NaN) },
  { heading: "p50 in bucket", cell: ({ held }) => bucket(held.p50Ms) },
  { heading: "ours", cell: ({ held }) => shortNumber(held.ours.p50Ms) },
  { heading: "p99 in bucket", cell: ({ held }) => bucket(held.p99Ms) },
  { heading: "ours", cell: ({ held }) => shortNumber(held.ours.p99Ms) },
  { heading: "counted", cell: ({ held }) => whole(held.count) },
  { heading: "ours", cell: ({ held }) => String(held.ours.count) },
];

/**
 * Tables of what the server says of each level, and of levels that ran at once together: its load, cache and power; and its own TTFT and ITL beside ours. The difference is
 * what passes outside of its clock: the network, its HTTP server, and with some servers the tokenizer. Nothing where it says nothing.
 */
export function serverTables({ levels, server: shared }: Pick<RunReport, "levels" | "server">): string[] {
  const rows: readonly Polled[] = shared ? [...levels, { name: "together", server: shared }] : levels;
  const polled = rows.filter(({ server }) => server !== undefined);
  const used = columns.filter((column) => polled.some((level) => column.cell(level) !== ""));
  const held = polled.flatMap(({ name: level, server }) => [
    ...(server?.ttft ? [{ level, what: "TTFT", held: server.ttft }] : []),
    ...(server?.itl ? [{ level, what: "ITL", held: server.itl }] : []),
  ]);
  return [
    ...(used.length > 1 ? [textTable(used, polled)] : []),
    ...(held.length > 0 ? [textTable(heldColumns, held)] : []),
  ];
}
