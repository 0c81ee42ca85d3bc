/** The workload as it was: lengths, finish reasons, cached input, connections. */
import { Rows } from "../../read/rows";
import { ascending, greatest, least, mean, type Numbers, quantile, sum } from "../../statistics";
import type { Section } from "../answer";
import { draw, type Panel, type Picture } from "../chart";
import { type Cell, filled } from "../table";
import { rounded, rowsByLevel, runColumn, type ShownRun, seriesName } from "./runs";

export function workloadSection(shown: readonly ShownRun[]): Section {
  const rows = shown.flatMap(({ run, label }) => {
    const steady = rowsByLevel(run, ({ phase }) => phase === "steady");
    return run.levelSummaries.flatMap((level) => {
      const own = steady.get(level.name) ?? Rows.of([]);
      return own.length === 0
        ? []
        : [
            {
              run: label,
              level: level.name,
              ...figures(own),
              sources: counted(Object.entries(level.tokenSources ?? {})),
            },
          ];
    });
  });
  const table = filled({
    name: "workload",
    title: "Lengths, endings and connections",
    note: "Lengths, endings and cached tokens are those of completed steady requests; connections are those of all steady requests that were sent. A connection is opened by a request that reuses none.",
    columns: [
      ...runColumn(shown),
      { key: "level", title: "Level" },
      ...(["input", "output"] as const).flatMap((side) =>
        (["min", "mean", "p50", "p99", "max"] as const).map((name) => ({
          key: `${side}_tokens_${name}`,
          title: `${side === "input" ? "Input" : "Output"} ${name}`,
          unit: "tokens",
        })),
      ),
      { key: "cached_share", title: "Cached input", unit: "by usage", format: "share" as const },
      { key: "connections", title: "Connections opened", format: "integer" as const },
      { key: "reused_share", title: "Requests on a reused one", format: "share" as const },
      { key: "connect_p50_ms", title: "Connect p50", unit: "ms" },
      { key: "connect_max_ms", title: "Connect max", unit: "ms" },
      { key: "tls_p50_ms", title: "TLS p50", unit: "ms" },
      { key: "finish_reasons", title: "Finish reasons" },
      { key: "sources", title: "Token counts from" },
    ],
    rows,
  });
  return {
    heading: "The workload as it was",
    pictures: lengths(shown),
    tables: rows.length > 0 ? [table] : [],
  };
}

function figures(rows: Rows): Record<string, Cell> {
  const completed = rows.filter((row) => row.completed);
  const sent = rows.filter(({ sentNs }) => sentNs > 0);
  const opened = sent.filter(({ reused }) => !reused);
  const connects = ascending(opened.numbers(({ connectNs }) => connectNs / 1e6).filter((ms) => ms > 0));
  const tls = ascending(opened.numbers(({ tlsNs }) => tlsNs / 1e6).filter((ms) => ms > 0));
  const cached = completed.numbers(({ cachedTokens }) => cachedTokens);
  const input = sum(completed.numbers(({ inputTokens }) => inputTokens));
  const reasons = new Map<string, number>();
  for (const { finishReason } of completed) {
    if (finishReason !== "") reasons.set(finishReason, (reasons.get(finishReason) ?? 0) + 1);
  }
  return {
    ...lengthFigures(
      "input",
      completed.numbers(({ inputTokens }) => inputTokens),
    ),
    ...lengthFigures(
      "output",
      completed.numbers(({ outputTokens }) => outputTokens),
    ),
    cached_share: cached.length > 0 && input > 0 ? sum(cached) / input : null,
    connections: opened.length,
    reused_share: sent.length > 0 ? (sent.length - opened.length) / sent.length : null,
    connect_p50_ms: connects.length > 0 ? quantile(connects, 0.5) : null,
    connect_max_ms: connects.at(-1) ?? null,
    tls_p50_ms: tls.length > 0 ? quantile(tls, 0.5) : null,
    finish_reasons: counted([...reasons].sort((a, b) => b[1] - a[1])),
  };
}

function lengthFigures(side: string, tokens: Numbers): Record<string, Cell> {
  const sorted = ascending(tokens);
  const known = sorted.length > 0 && (sorted.at(-1) as number) > 0;
  const of = (value: number) => (known ? value : null);
  return {
    [`${side}_tokens_min`]: of(sorted[0] ?? 0),
    [`${side}_tokens_mean`]: of(mean(sorted)),
    [`${side}_tokens_p50`]: of(quantile(sorted, 0.5)),
    [`${side}_tokens_p99`]: of(quantile(sorted, 0.99)),
    [`${side}_tokens_max`]: of(sorted.at(-1) ?? 0),
  };
}

/** "stop 97, length 3"; null of nothing. A server may make up reasons: the commonest are named. */
function counted(counts: [string, number][]): string | null {
  if (counts.length === 0) return null;
  const named = counts.slice(0, 6).map(([name, count]) => `${name} ${count.toLocaleString("en-US")}`);
  return [...named, ...(counts.length > 6 ? [`${counts.length - 6} more`] : [])].join(", ");
}

const mostBars = 24;

/** How long inputs and outputs were, over all levels; nothing where all have one length. */
function lengths(shown: readonly ShownRun[]): Picture[] {
  const panels = (["inputTokens", "outputTokens"] as const).flatMap((key): Panel[] => {
    const values = shown.map(
      ({ run }) =>
        run.requests?.numbers((row) => (row.completed && row.phase === "steady" ? row[key] : undefined)) ?? [],
    );
    const [low, high] = [least(values.map(least)), greatest(values.map(greatest))];
    if (values.every(({ length }) => length === 0) || high <= 0 || low === high) return [];
    const width = Math.max(1, Math.ceil((high - low + 1) / mostBars));
    const count = Math.ceil((high - low + 1) / width);
    const begin = (i: number) => low + i * width;
    return [
      {
        x: {
          title: key === "inputTokens" ? "Input tokens" : "Output tokens",
          categories: Array.from({ length: count }, (_, i) =>
            width === 1 ? String(begin(i)) : `${begin(i)}–${begin(i) + width - 1}`,
          ),
        },
        y: { title: "Requests (%)", min: 0 },
        series: values.map((own, i) => {
          const bars = new Array<number>(count).fill(0);
          for (const value of own) {
            const bar = Math.floor((value - low) / width);
            bars[bar] = (bars[bar] as number) + 1;
          }
          return {
            name: seriesName(shown[i]?.label ?? "", "requests"),
            kind: "bar" as const,
            color: i,
            points: bars.map((bar, j) => [j, rounded((100 * bar) / Math.max(1, own.length))] as const),
          };
        }),
        height: 150,
      },
    ];
  });
  if (panels.length === 0) return [];
  return [
    draw({
      name: "lengths",
      title: "Lengths of completed requests",
      alt: "Share of requests by input and output tokens",
      panels,
      pageOnly: true,
    }),
  ];
}
