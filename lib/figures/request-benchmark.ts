/** A level in the figures that request benchmarks print. Pure: from summaries. */
import type { LevelSummary, Stats } from "./level-summary";
import { type Column, percent, shortNumber, textTable } from "./table";

/** The figures that request benchmarks print; undefined where nothing gives them. */
export interface RequestBenchmark {
  statuses: [status: string, count: number][];
  successRatio?: number;
  /** The whole level, from its first request scheduled to its last end, warm-up and drain included. */
  totalS: number;
  /** The steady window, which the rates are taken in. */
  windowS: number;
  /** The latency of completed requests, ms. */
  e2eMs?: Stats;
  /** llm_request_throughput: requests that completed inside the window. */
  requestsPerS: number;
  /** Tokens are those that were counted: undefined where none was, as without a pointer to the count in the reply. */
  inputTokensPerRequest?: number;
  outputTokensPerRequest?: number;
  /** The same with failed requests mixed in as replies of no tokens, as some benchmarks do. */
  inputTokensMixed?: number;
  outputTokensMixed?: number;
  /** Requests a second times the mean input. */
  inputTokensPerS?: number;
  /** llm_output_throughput: output tokens that arrived inside the window. */
  outputTokensPerS?: number;
}

/** A level as a request benchmark. A failed request counts in the status codes, the success ratio and the mixed averages only. */
export function requestBenchmark(level: LevelSummary): RequestBenchmark {
  const { requests, completed, inputTokens, outputTokens, e2eMs } = level;
  const over = (amount: number, count: number) => (count > 0 ? amount / count : undefined);
  return {
    statuses: Object.entries(level.statuses).sort(([a], [b]) => (a < b ? -1 : 1)),
    successRatio: over(completed, requests),
    totalS: level.whole.durationS,
    windowS: level.durationS,
    ...(e2eMs.count > 0 ? { e2eMs } : {}),
    requestsPerS: level.requestThroughput,
    ...(inputTokens > 0 && {
      inputTokensPerRequest: over(inputTokens, completed),
      inputTokensMixed: over(inputTokens, requests),
      inputTokensPerS: level.requestThroughput * (inputTokens / completed),
    }),
    ...(outputTokens > 0 && {
      outputTokensPerRequest: over(outputTokens, completed),
      outputTokensMixed: over(outputTokens, requests),
      outputTokensPerS: level.outputThroughput,
    }),
  };
}

/** The request benchmark of a level in lines. */
export function requestFigures(level: LevelSummary): string {
  const figures = requestBenchmark(level);
  const { e2eMs } = figures;
  const number = (value: number | undefined) => (value === undefined ? "-" : shortNumber(value));
  const latency = (ms: number | undefined) => (ms === undefined ? "-" : `${shortNumber(ms / 1000)} s`);
  const rate = (tokens: number | undefined) => (tokens === undefined ? "-" : `${shortNumber(tokens)} tokens/s`);
  const lines: [string, string][] = [
    ["Status codes", figures.statuses.map(([status, count]) => `${status}: ${count}`).join(", ") || "none"],
    ["Success ratio", figures.successRatio === undefined ? "-" : percent(figures.successRatio)],
    ["Total time", `${shortNumber(figures.totalS)} s`],
    ["Steady window", `${shortNumber(figures.windowS)} s`],
    ["Median request latency", latency(e2eMs?.p50)],
    ["Average request latency", latency(e2eMs?.mean)],
    ["Shortest request latency", latency(e2eMs?.min)],
    ["Longest request latency", latency(e2eMs?.max)],
    ["90th, 95th, 99th percentile", [e2eMs?.p90, e2eMs?.p95, e2eMs?.p99].map(latency).join(", ")],
    ["Requests per second", shortNumber(figures.requestsPerS)],
    ["Average input tokens per request", number(figures.inputTokensPerRequest)],
    ["Average output tokens per request", number(figures.outputTokensPerRequest)],
    ["... with failures counted as zero", `${number(figures.inputTokensMixed)}, ${number(figures.outputTokensMixed)}`],
    ["Input token throughput", rate(figures.inputTokensPerS)],
    ["Output token throughput", rate(figures.outputTokensPerS)],
  ];
  const columns: Column<[string, string]>[] = [
    { heading: "", cell: ([name]) => `  ${name}`, left: true },
    { heading: "", cell: ([, value]) => value, left: true },
  ];
  return `${level.name}\n${textTable(columns, lines)}`;
}
