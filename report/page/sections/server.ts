/** What the server says of each level's window, and what its requests cost. */
import type { HeldAgainst, ServerFigures } from "../../../lib/figures/server";
import type { LevelSummary } from "../../read/read";
import type { Section } from "../answer";
import type { Cell, Column, Table } from "../table";
import { runColumn, type ShownRun } from "./runs";

/** A level, or all that ran at once. */
type Row = Pick<LevelSummary, "name" | "server" | "cost">;

interface LevelColumn extends Column {
  readonly of: (level: Row) => number | undefined;
}

const gauge = (key: "running" | "waiting" | "kvUsage", name: string, title: string): LevelColumn[] =>
  (["mean", "max"] as const).map((which) => ({
    key: `${name}_${which}`,
    title: `${title} ${which}`,
    ...(key === "kvUsage" ? { format: "share" as const } : {}),
    of: ({ server }) => server?.[key]?.[which],
  }));

const figure = (key: keyof ServerFigures, column: Column): LevelColumn => ({
  ...column,
  of: ({ server }) => server?.[key] as number | undefined,
});

const columns: readonly LevelColumn[] = [
  ...gauge("running", "running", "Running"),
  ...gauge("waiting", "waiting", "Waiting"),
  ...gauge("kvUsage", "kv_usage", "KV cache"),
  figure("preemptions", { key: "preemptions", title: "Preempted" }),
  figure("prefixHitShare", { key: "prefix_hit_share", title: "Prefix hits", format: "share" }),
  figure("acceptance", { key: "draft_acceptance", title: "Drafts accepted", format: "share" }),
  figure("gpuUse", { key: "gpu_use", title: "GPU use", format: "share" }),
  figure("powerW", { key: "power_w", title: "Power", unit: "W" }),
  figure("energyJ", { key: "energy_j", title: "Energy", unit: "J" }),
  figure("joulesPerOutputToken", { key: "joules_per_output_token", title: "Energy", unit: "J a token" }),
];

const costs: readonly LevelColumn[] = [
  { key: "cost_per_request", title: "A request", unit: "$", of: ({ cost }) => cost?.perRequest },
  { key: "cost_per_good_request", title: "A request within SLOs", unit: "$", of: ({ cost }) => cost?.perGoodRequest },
  {
    key: "cost_per_million_output_tokens",
    title: "A million output tokens",
    unit: "$",
    of: ({ cost }) => cost?.perMillionOutputTokens,
  },
  {
    key: "cost_per_million_good_output_tokens",
    title: "A million within SLOs",
    unit: "$",
    of: ({ cost }) => cost?.perMillionGoodOutputTokens,
  },
];

/** What the server says something of: the levels, or where they ran at once all of them together. */
function polledOf({ levelSummaries, summary }: ShownRun["run"]): readonly Row[] {
  const server = summary?.server;
  if (!server) return levelSummaries;
  return [...levelSummaries.filter((level) => level.server), { name: "together", server }];
}

/** A line a level, of the columns that have a value; undefined where none has. */
function levelTable(
  shown: readonly ShownRun[],
  rowsOf: (run: ShownRun["run"]) => readonly Row[],
  wanted: readonly LevelColumn[],
  about: Omit<Table, "columns" | "rows">,
) {
  const levels = shown.flatMap(({ run, label }) => rowsOf(run).map((level) => ({ level, label })));
  const used = wanted.filter(({ of }) => levels.some(({ level }) => of(level) !== undefined));
  if (used.length === 0) return [];
  const rows = levels.map(
    ({ level, label }): Record<string, Cell> => ({
      ...{ run: label, level: level.name },
      ...Object.fromEntries(used.map(({ key, of }) => [key, of(level) ?? null])),
    }),
  );
  const plain = used.map(({ of: _, ...column }): Column => column);
  return [{ ...about, columns: [...runColumn(shown), { key: "level", title: "Level" }, ...plain], rows }];
}

/** TTFT and ITL by the server's own histograms beside ours. */
function heldTable(shown: readonly ShownRun[]): Table[] {
  const rows = shown.flatMap(({ run, label }) =>
    polledOf(run).flatMap(({ name, server }) => [
      ...heldRow(label, name, "TTFT", server?.ttft),
      ...heldRow(label, name, "ITL", server?.itl),
    ]),
  );
  if (rows.length === 0) return [];
  return [
    {
      name: "server_latencies",
      title: "Latencies by the server's own clock",
      note: "The difference of the means passes outside of what the server measures: the network, its HTTP server, with some servers the tokenizer. It has no value where server and client counted other requests.",
      columns: [
        ...runColumn(shown),
        { key: "level", title: "Level" },
        { key: "latency", title: "Latency" },
        { key: "server_mean_ms", title: "Server mean", unit: "ms" },
        { key: "client_mean_ms", title: "Client mean", unit: "ms" },
        { key: "outside_ms", title: "Outside", unit: "ms" },
        { key: "server_p50_from_ms", title: "Server p50 from", unit: "ms" },
        { key: "server_p50_to_ms", title: "to", unit: "ms" },
        { key: "client_p50_ms", title: "Client p50", unit: "ms" },
        { key: "server_count", title: "Server counted", format: "integer" },
        { key: "client_count", title: "Client counted", format: "integer" },
      ],
      rows,
    },
  ];
}

function heldRow(run: string, level: string, latency: string, held: HeldAgainst | undefined): Record<string, Cell>[] {
  if (!held) return [];
  return [
    {
      ...{ run, level, latency, server_mean_ms: held.meanMs, client_mean_ms: held.ours.meanMs },
      ...{ outside_ms: held.outsideMs ?? null, client_p50_ms: held.ours.p50Ms },
      ...{ server_p50_from_ms: held.p50Ms?.low ?? null, server_p50_to_ms: held.p50Ms?.high ?? null },
      ...{ server_count: held.count, client_count: held.ours.count },
    },
  ];
}

export function serverSection(shown: readonly ShownRun[]): Section {
  return {
    heading: "The server's side, and costs",
    pictures: [],
    tables: [
      ...levelTable(shown, polledOf, columns, {
        name: "server",
        title: "What the server says of each level",
        note: "From its metrics pages, in the steady window of each level. Levels that ran at once, as classes do, are one row: the pages do not tell them apart.",
      }),
      ...heldTable(shown),
      ...levelTable(shown, ({ levelSummaries }) => levelSummaries, costs, {
        name: "costs",
        title: "Costs",
        note: "By the PRICE settings. A request that met every SLO has to pay for those that did not.",
      }),
    ],
  };
}
