/** How does the server serve several kinds of load at once? */
import { gateOf } from "../../../lib/figures/level-gate";
import { formatMs, formatShare } from "../../format";
import type { LevelSummary, Results, Stats } from "../../read/read";
import type { Answer } from "../answer";
import { draw, type Picture } from "../chart";
import type { Table } from "../table";
import { conversationTables } from "./conversations";
import {
  type DistributionKey,
  failureSentence,
  failuresTable,
  levelsTable,
  measured,
  percentilesTable,
  present,
  statusTable,
} from "./levels";

export function mixed([run]: [Results, ...Results[]]): Answer {
  const levels = run.levelSummaries;
  return {
    sentences: [...levels.map(classSentence), failureSentence(levels)],
    sections: [
      {
        heading: "Class by class",
        pictures: classPictures(levels),
        tables: present([
          levelsTable(levels, { key: "class", title: "Class" }, (level) => level.name),
          limitsTable(levels),
          togetherTable(run),
          ...conversationTables(levels),
        ]),
      },
      {
        heading: "Failures and details",
        pictures: [],
        tables: present([failuresTable(levels), statusTable(levels), percentilesTable(levels)]),
      },
    ],
    files: [],
  };
}

function classSentence(level: LevelSummary): string {
  const ttft = measured(level, "ttftMs");
  const words = ttft ? `TTFT p50 ${formatMs(ttft.p50)}, p99 ${formatMs(ttft.p99)}` : "no TTFT";
  const good = level.goodShare === undefined ? "" : `; ${formatShare(level.goodShare)} of its requests meet its SLOs`;
  return `${level.name}: ${level.requests.toLocaleString("en-US")} requests, ${words}${good}.`;
}

function classPictures(levels: readonly LevelSummary[]): Picture[] {
  const categories = levels.map(({ name }) => name);
  const panel = (key: DistributionKey, title: string) => ({
    x: { title: "Class", categories },
    y: { title: `${title} (ms)`, min: 0 },
    series: (["p50", "p99"] as (keyof Stats)[]).map((p) => ({
      name: p,
      kind: "bar" as const,
      points: levels.map((level, k) => [k, measured(level, key)?.[p] ?? null] as const),
    })),
    height: 160,
  });
  if (!levels.some((level) => measured(level, "e2eMs"))) return [];
  return [
    draw({
      name: "classes",
      title: "Latencies by class",
      alt: "Time to first token and end-to-end latency, p50 and p99, of each class",
      panels: [panel("ttftMs", "TTFT"), panel("e2eMs", "E2e latency")],
    }),
  ];
}

/** What each class must keep of its own. */
function limitsTable(levels: readonly LevelSummary[]): Table | undefined {
  const rows = levels.flatMap(({ name, labels }) => {
    const gate = gateOf(labels);
    if (!gate) return [];
    const limits = Object.entries(gate.limits).flatMap(([metric, each]) => each.map((limit) => `${metric} ${limit}`));
    const { ttft = null, tpot = null, e2e = null } = gate.sloMs;
    return [
      { class: name, slo_ttft_ms: ttft, slo_tpot_ms: tpot, slo_e2e_ms: e2e, thresholds: limits.join("; ") || "none" },
    ];
  });
  if (rows.length === 0) return undefined;
  return {
    name: "class_limits",
    title: "Limits of the classes",
    columns: [
      { key: "class", title: "Class" },
      { key: "slo_ttft_ms", title: "SLO TTFT", unit: "ms" },
      { key: "slo_tpot_ms", title: "SLO TPOT", unit: "ms" },
      { key: "slo_e2e_ms", title: "SLO e2e", unit: "ms" },
      { key: "thresholds", title: "Thresholds of its own" },
    ],
    rows,
  };
}

function togetherTable({ summary }: Results): Table | undefined {
  if (!summary) return undefined;
  const { requests, failed, outputTokens, outputThroughput, requestThroughput } = summary.total;
  return {
    name: "together",
    title: "All classes together",
    note: "The whole run, warm-up and drain included.",
    columns: [
      { key: "requests", title: "Requests", format: "integer" },
      { key: "failed", title: "Failed", format: "integer" },
      ...(outputTokens > 0 ? [{ key: "output_throughput_tokens_per_s", title: "Output", unit: "tok/s" }] : []),
      { key: "request_throughput_per_s", title: "Requests", unit: "1/s" },
    ],
    rows: [
      {
        ...{ requests, failed, output_throughput_tokens_per_s: outputThroughput },
        request_throughput_per_s: requestThroughput,
      },
    ],
  };
}
