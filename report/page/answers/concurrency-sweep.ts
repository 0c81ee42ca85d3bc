/** How do latency and throughput change as more clients wait at once? */
import { requestBenchmark } from "../../../lib/figures/request-benchmark";
import { formatMs, formatNumber, formatShare } from "../../format";
import { keepsSlos, levelFails, slosOf, sloWords } from "../../judge/level-state";
import { type LevelSummary, type Results, type SloMs, type Stats, setting } from "../../read/read";
import { mean, median } from "../../statistics";
import type { Answer } from "../answer";
import { drawCurves, failureColor, latencyAxis, levelAxis, type Panel, type Picture } from "../chart";
import { rowsByLevel } from "../sections/runs";
import { knee } from "../sections/throughput-latency";
import { filled, type Table } from "../table";
import {
  type DistributionKey,
  failureSentence,
  failuresTable,
  levelsTable,
  levelWords,
  measured,
  percentilesTable,
  present,
  statusTable,
} from "./levels";

const concurrencyOf = (level: LevelSummary): number => level.concurrency ?? Number.NaN;

export function concurrencySweep([run]: [Results, ...Results[]]): Answer {
  const levels = [...run.levelSummaries].sort((a, b) => concurrencyOf(a) - concurrencyOf(b));
  const json = String(setting(run.config, "API") ?? "").toLowerCase() === "json";
  const axisTitle = "Concurrency (clients)";
  return {
    sentences: sentences(run, levels),
    sections: [
      {
        heading: "Throughput and latency",
        pictures: [...latencyPictures(run, levels, axisTitle), ...throughputPictures(levels, axisTitle)],
        tables: [
          levelsTable(
            levels,
            { key: "concurrency", title: "Clients", format: "integer" },
            (level) => level.concurrency ?? level.name,
          ),
        ],
      },
      ...(json ? [{ heading: "Request benchmark", pictures: [], tables: benchmarkTables(levels, run) }] : []),
      {
        heading: "Failures and details",
        pictures: failurePictures(levels, axisTitle),
        tables: present([failuresTable(levels), statusTable(levels), percentilesTable(levels)]),
      },
    ],
    files: [],
  };
}

function latencyWords(level: LevelSummary): string {
  const parts = (
    [
      ["TTFT", "ttftMs"],
      ["ITL", "itlMs"],
      ["e2e latency", "e2eMs"],
    ] as [string, DistributionKey][]
  ).flatMap(([name, key]) => {
    const stats = measured(level, key);
    return stats ? [`${name} p50 ${formatMs(stats.p50)}, p99 ${formatMs(stats.p99)}`] : [];
  });
  return parts.slice(0, 2).join("; ");
}

function sentences(run: Results, levels: LevelSummary[]): string[] {
  const tokens = levels.some((level) => level.outputTokens > 0);
  const throughput = (level: LevelSummary) => (tokens ? level.outputThroughput : level.requestThroughput);
  const unit = tokens ? "tokens/s" : "requests/s";
  const worked = levels.filter((level) => level.completed > 0);
  if (worked.length === 0)
    return ["No request completed, so there is no latency and no throughput to report.", failureSentence(levels)];
  // A level that failed its gate did not deliver what it was measured by: it is none to recommend.
  const passing = worked.filter((level) => !levelFails(run, level));
  const failing = levels.filter((level) => !passing.includes(level));
  const found = knee(passing, throughput);
  if (!found)
    return [
      "Every level violated a threshold, so there is no throughput to recommend.",
      ...otherSentences(run, levels),
    ];
  const { peak, knee: bend } = found;
  const speed = `${formatNumber(throughput(peak))} ${unit} (${latencyWords(peak)})`;
  const among = failing.length > 0 ? ", of the levels that passed" : "";
  const result = [
    levels.length === 1
      ? `With ${levelWords(peak)} the server delivers ${speed}.`
      : `Throughput is highest with ${levelWords(peak)}${among}: ${speed}.`,
  ];
  if (failing.length > 0) result.push(`Limits were violated with ${failing.map(levelWords).join(", ")}.`);
  if (bend !== peak) {
    const share = formatShare(throughput(bend) / throughput(peak));
    result.push(
      `${levelWords(bend)} already reach ${share} of that (${latencyWords(bend)}); more clients mostly wait.`.replace(
        /^1 client already reach/,
        "1 client already reaches",
      ),
    );
  }
  return [...result, ...otherSentences(run, levels)];
}

const otherSentences = (run: Results, levels: LevelSummary[]): string[] => [
  ...sloSentences(run, levels),
  failureSentence(levels),
];

/** How far the load may go until the SLOs are missed as the gate takes them; nothing where none is set. */
function sloSentences(run: Results, levels: LevelSummary[]): string[] {
  const judged = levels.filter((level) => level.goodShare !== undefined);
  const [lowest] = judged;
  if (!lowest) return [];
  const firstMiss = judged.findIndex((level) => !keepsSlos(run, level));
  const missed = judged[firstMiss];
  const share = (level: LevelSummary) => `${formatShare(level.goodShare)} of its requests meet every limit`;
  const words = `the SLOs (${sloWords(run)})`;
  if (missed === lowest) return [`Already ${levelWords(lowest)}, the lowest level, misses ${words}: ${share(lowest)}.`];
  const last = (missed ? judged[firstMiss - 1] : judged.at(-1)) as LevelSummary;
  const then = missed
    ? `with ${levelWords(missed)} they are missed: ${share(missed)}`
    : "the highest level that was tried";
  return [`The server keeps ${words} up to ${levelWords(last)} (${then}).`];
}

function latencyPictures(run: Results, levels: LevelSummary[], axisTitle: string): Picture[] {
  const metrics: [DistributionKey, string, (keyof SloMs)?][] = [
    ["ttftMs", "TTFT", "ttft"],
    ["itlMs", "ITL"],
    ["tpotMs", "TPOT", "tpot"],
    ["e2eMs", "E2e latency", "e2e"],
  ];
  return metrics.flatMap(([key, title, sloName]) => {
    const known = levels.filter((level) => level.concurrency !== undefined && measured(level, key));
    const series = (["p50", "p90", "p99"] as (keyof Stats)[]).map((p, index) => ({
      name: p,
      color: index,
      points: known.map((level) => [concurrencyOf(level), measured(level, key)?.[p] ?? null] as const),
    }));
    const values = series.flatMap(({ points }) => points.map(([, y]) => y ?? 0));
    const slo = sloName && slosOf(run)[sloName];
    const panel: Panel = {
      x: levelAxis(axisTitle, known.map(concurrencyOf)),
      y: latencyAxis(`${title} (ms)`, values, slo === undefined ? [] : [slo]),
      series,
      ...(slo === undefined ? {} : { limits: [[slo, `SLO ${slo} ms`]] as [number, string][] }),
    };
    const name = `${key.replace("Ms", "")}-by-concurrency`;
    return drawCurves({
      name,
      title: `${title} by concurrency`,
      alt: `${title} p50, p90 and p99 in ms against the number of clients`,
      panels: [panel],
    });
  });
}

function throughputPictures(levels: LevelSummary[], axisTitle: string): Picture[] {
  const known = levels.filter((level) => level.concurrency !== undefined && level.completed > 0);
  const tokens = known.some((level) => level.outputTokens > 0);
  const throughput = (level: LevelSummary) => (tokens ? level.outputThroughput : level.requestThroughput);
  const unit = tokens ? "output tokens/s" : "requests/s";
  return drawCurves({
    name: "throughput-by-concurrency",
    title: "Throughput by concurrency",
    alt: `Throughput in ${unit} against the number of clients`,
    panels: [
      {
        x: levelAxis(axisTitle, known.map(concurrencyOf)),
        y: { title: `Throughput (${unit})`, min: 0 },
        series: [
          { name: "all", points: known.map((level) => [concurrencyOf(level), throughput(level)]) },
          ...(known.some((level) => level.requestGoodput !== undefined)
            ? [
                {
                  name: tokens ? "of requests within the SLOs" : "within SLOs",
                  dash: "dashed" as const,
                  points: known.map(
                    (level) => [concurrencyOf(level), (level.goodShare ?? 0) * throughput(level)] as const,
                  ),
                },
              ]
            : []),
        ],
      },
    ],
  });
}

function failurePictures(levels: LevelSummary[], axisTitle: string): Picture[] {
  const names = [...new Set(levels.flatMap((level) => Object.keys(level.failures ?? {})))].sort();
  if (names.length === 0) return [];
  const share = (level: LevelSummary, name: string) =>
    (100 * ((level.failures as Record<string, number>)[name] ?? 0)) / Math.max(1, level.requests);
  return drawCurves({
    name: "failures-by-concurrency",
    // One class needs no legend, but a name.
    title: `Failed requests by concurrency${names.length === 1 ? ` (${names[0]})` : ""}`,
    alt: "Share of failed requests by class against the number of clients",
    panels: [
      {
        x: { title: axisTitle, categories: levels.map((level) => String(level.concurrency ?? level.name)) },
        y: { title: "Failed requests (%)", min: 0 },
        series: names.map((name, index) => ({
          name,
          kind: "bar",
          stack: "failures",
          color: failureColor + index,
          points: levels.map((level, i) => [i, share(level, name)]),
        })),
        height: 180,
      },
    ],
  });
}

/**
 * The report of a plain request benchmark, level by level: first with failed requests left out, then with them mixed in as
 * replies of no tokens, which is how such a benchmark often averages and why its averages look better than they are.
 */
function benchmarkTables(levels: LevelSummary[], run: Results): Table[] {
  const byLevel = rowsByLevel(run, ({ phase }) => phase === "steady");
  const tables: Table[] = [
    {
      name: "request_benchmark",
      title: "Request benchmark",
      note: "Latencies and tokens are those of completed requests. Total time is that of the whole level, warm-up and drain included; requests/s and token throughputs are those of the steady window, by the definitions of llm_request_throughput and llm_output_throughput.",
      columns: [
        { key: "concurrency", title: "Clients", format: "integer" },
        { key: "requests", title: "Requests", format: "integer" },
        { key: "status_codes", title: "Status codes" },
        { key: "success_ratio", title: "Success ratio", format: "share" },
        { key: "total_time_s", title: "Total time", unit: "s" },
        { key: "steady_window_s", title: "Steady window", unit: "s" },
        { key: "median_latency_ms", title: "Median latency", unit: "ms" },
        { key: "average_latency_ms", title: "Average latency", unit: "ms" },
        { key: "shortest_latency_ms", title: "Shortest latency", unit: "ms" },
        { key: "longest_latency_ms", title: "Longest latency", unit: "ms" },
        { key: "p90_latency_ms", title: "p90", unit: "ms" },
        { key: "p95_latency_ms", title: "p95", unit: "ms" },
        { key: "p99_latency_ms", title: "p99", unit: "ms" },
        { key: "requests_per_s", title: "Requests/s" },
        { key: "average_input_tokens_per_request", title: "Average input tokens per request" },
        { key: "average_output_tokens_per_request", title: "Average output tokens per request" },
        { key: "input_token_throughput_per_s", title: "Input token throughput", unit: "tokens/s" },
        { key: "output_token_throughput_per_s", title: "Output token throughput", unit: "tokens/s" },
      ],
      rows: levels.map((level) => {
        const figures = requestBenchmark(level);
        const latency = figures.e2eMs;
        return {
          concurrency: level.concurrency ?? level.name,
          requests: level.requests,
          status_codes: figures.statuses.map(([code, count]) => `${code}: ${count}`).join(", "),
          success_ratio: figures.successRatio ?? null,
          total_time_s: figures.totalS,
          steady_window_s: figures.windowS,
          median_latency_ms: latency?.p50 ?? null,
          average_latency_ms: latency?.mean ?? null,
          shortest_latency_ms: latency?.min ?? null,
          longest_latency_ms: latency?.max ?? null,
          p90_latency_ms: latency?.p90 ?? null,
          p95_latency_ms: latency?.p95 ?? null,
          p99_latency_ms: latency?.p99 ?? null,
          requests_per_s: figures.requestsPerS,
          average_input_tokens_per_request: figures.inputTokensPerRequest ?? null,
          average_output_tokens_per_request: figures.outputTokensPerRequest ?? null,
          input_token_throughput_per_s: figures.inputTokensPerS ?? null,
          output_token_throughput_per_s: figures.outputTokensPerS ?? null,
        };
      }),
    },
    {
      name: "request_benchmark_averages",
      title: "What failed requests do to the averages",
      note: "Completed: failed requests left out. Mixed: a failed request counts as a latency and as a reply of zero tokens, so that quick refusals make a server look faster.",
      columns: [
        { key: "concurrency", title: "Clients", format: "integer" },
        { key: "failed", title: "Failed", format: "integer" },
        { key: "average_latency_ms", title: "Average latency, completed", unit: "ms" },
        { key: "average_latency_mixed_ms", title: "mixed", unit: "ms" },
        { key: "median_latency_ms", title: "Median latency, completed", unit: "ms" },
        { key: "median_latency_mixed_ms", title: "mixed", unit: "ms" },
        { key: "average_input_tokens", title: "Average input tokens, completed" },
        { key: "average_input_tokens_mixed", title: "mixed" },
        { key: "average_output_tokens", title: "Average output tokens, completed" },
        { key: "average_output_tokens_mixed", title: "mixed" },
      ],
      rows: levels.map((level) => {
        const figures = requestBenchmark(level);
        const latenciesMs =
          byLevel
            .get(level.name)
            ?.numbers(
              (row) =>
                ((row.completed ? row.lastOutputNs || row.endNs : row.endNs) - (row.sentNs || row.startedNs)) / 1e6,
            ) ?? new Float64Array();
        return {
          concurrency: level.concurrency ?? level.name,
          failed: level.failed,
          average_latency_ms: measured(level, "e2eMs")?.mean ?? null,
          average_latency_mixed_ms: latenciesMs.length > 0 ? mean(latenciesMs) : null,
          median_latency_ms: measured(level, "e2eMs")?.p50 ?? null,
          median_latency_mixed_ms: latenciesMs.length > 0 ? median(latenciesMs) : null,
          average_input_tokens: figures.inputTokensPerRequest ?? null,
          average_input_tokens_mixed: figures.inputTokensMixed ?? null,
          average_output_tokens: figures.outputTokensPerRequest ?? null,
          average_output_tokens_mixed: figures.outputTokensMixed ?? null,
        };
      }),
    },
  ];
  return tables.map(filled);
}
