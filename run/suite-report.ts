/**
 * What the serving suite writes: raw_results/ and report/ with the file names, keys and rules of benchmark_llm_serving
 * 1.0.3, folded from our own results folders. Seconds and tokens/s, as there. Tokens are the server's count, not chunks.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gaugesOf, profilePicture, spanOf } from "../report/page/answers/kv-cache-profile";
import { failureSentence } from "../report/page/answers/levels";
import { ingestionOf, ingestionPicture } from "../report/page/answers/prompt-ingestion";
import {
  type SpeedPoint,
  speedPicture,
  speedPoints,
  type ThresholdRow,
  thresholdsCsv,
  thresholdsOf,
  totalSpeedPicture,
} from "../report/page/answers/speed-generation";
import type { Picture } from "../report/page/chart";
import { picturePng } from "../report/page/png";
import { type GaugePoint, gaugeFigures, within } from "../report/read/gauges";
import type { LevelSummary, RequestRow, Results } from "../report/read/read";
import { type Combination, speedFromBeginning, speedWithoutWaiting, ttftMs } from "../report/read/request";
import { Rows } from "../report/read/rows";
import { ascending, mean, quantile, sum } from "../report/statistics";
import { type SuiteProfile, type SuiteSpeeds, suitePageHtml } from "./suite-page";
import type { Lengths, Step, SuiteOptions } from "./suite-plan";
import { type LeftOut, refusalOf } from "./suite-refusals";

/** A step that was measured. */
export interface Done {
  step: Step;
  run: Results;
}

/** Levels with failed requests, without those whose lengths the server refuses: these are left out. */
export const failedLevels = (run: Results): LevelSummary[] =>
  run.levelSummaries.filter((level) => level.failed > 0 && refusalOf(run, level) === undefined);

/** Why a step does not count: "8 of 16 requests failed (http_5xx 8)", "CLIENT-BOUND: ..."; empty where it does. */
export function flaws({ run }: Done): string[] {
  const { summary, levelSummaries, damage } = run;
  const served = levelSummaries.filter((level) => refusalOf(run, level) === undefined);
  const failed = failedLevels(run).length > 0 ? [failureSentence(served)] : [];
  const { state, reasons = [] } = summary?.validity ?? {};
  const bound = state === undefined || state === "VALID" ? [] : [[state, ...reasons].join(": ")];
  return [...failed, ...bound, ...damage].map((words) => words.replace(/\.$/, ""));
}

/** What the server says of itself: versions and launch arguments, flat. */
export type ServerParameters = Record<string, unknown>;

/** The parameters that all steps of a suite share, as far as they are known. */
export function commonParameters(
  options: SuiteOptions,
  model: string,
  server: ServerParameters,
  suiteId: string,
): Record<string, unknown> {
  const { model: _, model_name: servedName, ...rest } = server;
  return {
    model,
    step_live_metrics: options.stepLiveMetrics,
    max_queries: options.maxQueries,
    request_rate: 0,
    backend: options.backend,
    suite_id: suiteId,
    model_name: options.modelName || servedName || model,
    ...rest,
  };
}

const seconds = (ns: number): number => ns / 1e9;

/** One query under their names. Times of day are seconds from the run's start. */
function query(row: RequestRow): Record<string, number | string | boolean> {
  const endNs = row.lastOutputNs || row.endNs;
  const firstNs = row.firstOutputNs || endNs;
  return {
    starting_timestamp: seconds(row.sentNs),
    ending_timestamp: seconds(endNs),
    prompt_length: row.inputTokens,
    response_length: row.outputTokens,
    total_query_time: seconds(endNs - row.sentNs),
    timestamp_of_first_token: seconds(row.firstOutputNs),
    time_to_first_token: (ttftMs(row) ?? 0) / 1000,
    completion_time_from_first_token: seconds(endNs - firstNs),
    median_time_between_tokens: seconds(row.medianGapNs),
    total_waiting_time: seconds(firstNs - row.sentNs + row.pausesNs),
    speed_from_beginning: speedFromBeginning(row) ?? 0,
    speed_from_first_token: endNs > firstNs ? (1e9 * row.outputTokens) / (endNs - firstNs) : 0,
    speed_without_waiting_time: speedWithoutWaiting(row) ?? 0,
    success: row.completed,
    error: row.failure,
    timeout: row.failure === "timeout",
  };
}

const aggregated = [
  "time_to_first_token",
  "prompt_length",
  "response_length",
  "total_query_time",
  "completion_time_from_first_token",
  "median_time_between_tokens",
  "total_waiting_time",
  "speed_from_beginning",
  "speed_from_first_token",
  "speed_without_waiting_time",
];
const percentiles = [1, 5, 10, 25, 75, 90, 95, 99];

function steady(run: Results): Rows {
  return (run.requests ?? Rows.of([])).filter((row) => row.phase === "steady" && row.level !== "");
}

/** Gauge points of the measured part of a run. */
function gaugesWithin(run: Results): { kvUsage: GaugePoint[]; running: GaugePoint[]; waiting: GaugePoint[] } {
  const all = gaugesOf(run);
  const [from, to] = spanOf(run, run.levelSummaries);
  return {
    kvUsage: within(all.kvUsage, from, to),
    running: within(all.running, from, to),
    waiting: within(all.waiting, from, to),
  };
}

/** A file of raw_results/: parameters, general_metrics, aggregated_metrics, errored_queries, and what its kind adds. */
export function rawResult({ step, run }: Done, parameters: Record<string, unknown>): Record<string, unknown> {
  const rows = steady(run);
  const completed = rows.filter((row) => row.completed).map(query);
  const values = (name: string): number[] => completed.map((each) => each[name] as number);
  const { kvUsage, running, waiting } = gaugesWithin(run);
  const [from, to] = spanOf(run, run.levelSummaries);
  const total = (name: string): number => sum(values(name));
  const withoutWaiting = sum(
    completed.map((each) => (each.total_query_time as number) - (each.total_waiting_time as number)),
  );
  const tokens = total("response_length");
  const general = {
    max_kv_cache: gaugeFigures(kvUsage)?.max ?? -1,
    max_requests_running: gaugeFigures(running)?.max ?? -1,
    max_requests_waiting: gaugeFigures(waiting)?.max ?? -1,
    total_number_of_queries: rows.length,
    nb_timeout_queries: rows.filter((row) => row.failure === "timeout").length,
    nb_errored_queries: rows.length - completed.length,
    total_time: total("total_query_time"),
    total_time_from_first_token: total("completion_time_from_first_token"),
    total_time_without_waiting_time: withoutWaiting,
    total_number_of_ingested_tokens: total("prompt_length"),
    total_number_of_generated_tokens: tokens,
    speed: total("total_query_time") > 0 ? tokens / total("total_query_time") : 0,
    speed_without_waiting_time: withoutWaiting > 0 ? tokens / withoutWaiting : 0,
    speed_from_first_token:
      total("completion_time_from_first_token") > 0 ? tokens / total("completion_time_from_first_token") : 0,
    actual_total_time: seconds(to - from),
  };
  const statistics = Object.fromEntries(
    aggregated.map((name) => {
      const sorted = ascending(values(name));
      return [
        name,
        sorted.length === 0
          ? {}
          : {
              mean: mean(sorted),
              median: quantile(sorted, 0.5),
              ...Object.fromEntries(percentiles.map((p) => [`percentile_${p}`, quantile(sorted, p / 100)])),
            },
      ];
    }),
  );
  return {
    parameters: { ...parameters, ...step.parameters },
    general_metrics: general,
    aggregated_metrics: statistics,
    errored_queries: rows.filter((row) => !row.completed).map(query),
    ...(step.scenario === "prompt-ingestion" ? { individual_query: completed } : {}),
    ...(step.scenario === "kv-cache-profile" ? { kv_cache_profile: profileRows(kvUsage, running, waiting) } : {}),
  };
}

/** The gauges are of one poll each, so that the points of all three stand at the same times. */
function profileRows(kvUsage: GaugePoint[], running: GaugePoint[], waiting: GaugePoint[]): Record<string, number>[] {
  const at = (points: GaugePoint[]) => new Map(points.map(({ tNs, value }) => [tNs, value]));
  const [runningAt, waitingAt] = [at(running), at(waiting)];
  return kvUsage.map(({ tNs, value }) => ({
    timestamp: seconds(tNs),
    gpu_cache_usage_perc: value,
    num_requests_running: runningAt.get(tNs) ?? 0,
    num_requests_waiting: waitingAt.get(tNs) ?? 0,
  }));
}

const combinationOf = (run: Results, { inputTokens, outputTokens }: Lengths): Combination => ({
  inputTokens,
  outputTokens,
  words: `${inputTokens} in, ${outputTokens} out`,
  stem: `input_${inputTokens}_output_${outputTokens}`,
  levels: run.levelSummaries,
});

const lengthsOf = (step: Step): Lengths => ({
  inputTokens: Number(step.env.INPUT_TOKENS),
  outputTokens: Number(step.env.OUTPUT_TOKENS),
});

/** Speed points of a step; its level has the number of parallel requests as concurrency. */
export const stepPoints = ({ run }: Done): SpeedPoint[] =>
  speedPoints(
    run,
    run.levelSummaries.filter((level) => level.completed > 0),
  );

/** The page of the suite, in report/. */
export const suitePage = "report.html";

/**
 * Writes report/ of an output folder from the steps that are done and the lengths that were left out; returns the files, relative
 * to report/.
 */
export async function writeSuiteReport(
  outputFolder: string,
  done: readonly Done[],
  options: SuiteOptions,
  parameters: Record<string, unknown>,
  leftOut: readonly LeftOut[] = [],
): Promise<string[]> {
  const folder = join(outputFolder, "report");
  const files: string[] = [];
  const write = async (name: string, content: string | Buffer): Promise<void> => {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
    files.push(name);
  };
  const json = (name: string, value: unknown) => write(name, `${JSON.stringify(value, null, 4)}\n`);
  const png = (name: string, picture: Picture) => write(name, picturePng(picture));

  await json("parameters.json", { ...parameters, gpu_name: options.gpuName || null });

  // One of an earlier report would say what is measured now.
  await rm(join(folder, "left_out.json"), { force: true });
  if (leftOut.length > 0) await json("left_out.json", leftOut);

  const ingestions = done.filter(({ step }) => step.scenario === "prompt-ingestion").map(({ run }) => run);
  const ingestion = ingestionOf(
    ingestions.flatMap((run) => run.levelSummaries),
    ingestions.flatMap((run) => [...steady(run)]),
  );
  const ingestionPictures = ingestion.points.length > 0 ? [ingestionPicture(ingestion)] : [];
  for (const picture of ingestionPictures) {
    await png("prompt_ingestion_graph.png", picture);
    const fit = ingestion.cleaned ?? ingestion.all;
    await json(join("data", "prompt_ingestion_graph_data.json"), {
      fit_coefficients: fit ? [fit.slope / 1000, fit.intercept / 1000] : [],
      prompt_lengths: ingestion.cleanedPoints.map(([tokens]) => tokens),
      times_to_first_token: ingestion.cleanedPoints.map(([, ms]) => ms / 1000),
    });
  }

  const profiles: SuiteProfile[] = [];
  for (const { step, run } of done.filter(({ step: { scenario } }) => scenario === "kv-cache-profile")) {
    const combination = combinationOf(run, lengthsOf(step));
    const picture = profilePicture(run, gaugesOf(run), combination);
    profiles.push({ run, combination, picture });
    await png(join("kv_cache_profile", `graph_kv_cache_profile_${combination.stem}.png`), picture);
  }

  const known = speedsOf(done, options.speedThreshold);
  for (const { combination, points, picture } of known) {
    await png(join("speed_generation", `speed_generation_graph_${combination.stem}.png`), picture);
    await json(
      join("speed_generation", "data", `speed_generation_graph_data_${combination.stem}.json`),
      Object.fromEntries(points.map((point) => [point.parallelRequests, speedData(point)])),
    );
  }
  const thresholds = [...known.map(({ row }) => row), ...leftOutRows(leftOut)].sort(byLengths);
  if (thresholds.length > 0) await write("thresholds.csv", thresholdsCsv(thresholds));
  const total = known.length > 0 ? [totalSpeedPicture(known)] : [];
  for (const picture of total) {
    await png("total_speed_generation_graph.png", picture);
    await json(
      join("data", "total_speed_generation_graph_data.json"),
      Object.fromEntries(known.map((each, i) => [i, totalSpeedData(each)])),
    );
  }
  const measured = { ingestion, ingestionPictures, profiles, speeds: known, total, thresholds, leftOut };
  const steps = done.map((each) => ({ ...each, flaws: flaws(each) }));
  await write(suitePage, suitePageHtml(parameters, options, steps, measured));
  return files;
}

/** The measured speeds by pair of lengths, with the thresholds that follow from them. */
function speedsOf(done: readonly Done[], minSpeed: number): SuiteSpeeds[] {
  const speeds = new Map<string, { combination: Combination; points: SpeedPoint[]; flawed: boolean }>();
  for (const each of done.filter(({ step: { scenario } }) => scenario === "speed-generation")) {
    const combination = combinationOf(each.run, lengthsOf(each.step));
    const found = speeds.get(combination.stem) ?? { combination, points: [], flawed: false };
    // Fewer requests really ran at once than the number says, or the client slowed them: no threshold follows from that.
    found.flawed ||= flaws(each).length > 0;
    found.points.push(...stepPoints(each));
    found.points.sort((a, b) => a.parallelRequests - b.parallelRequests);
    speeds.set(combination.stem, found);
  }
  return [...speeds.values()]
    .filter(({ points }) => points.length > 0)
    .sort((a, b) => byLengths(a.combination, b.combination))
    .map(({ combination, points, flawed }) => ({
      ...{ combination, points, picture: speedPicture(combination, points, minSpeed) },
      row: {
        ...(flawed ? {} : thresholdsOf(points, minSpeed)),
        inputTokens: combination.inputTokens,
        outputTokens: combination.outputTokens,
      },
    }));
}

/** Pairs that were left out have no thresholds. */
const leftOutRows = (leftOut: readonly LeftOut[]): ThresholdRow[] =>
  leftOut.flatMap(({ inputTokens, outputTokens }) =>
    outputTokens === undefined ? [] : [{ inputTokens, outputTokens }],
  );

const byLengths = (a: Partial<Lengths>, b: Partial<Lengths>): number =>
  (a.inputTokens ?? 0) - (b.inputTokens ?? 0) || (a.outputTokens ?? 0) - (b.outputTokens ?? 0);

/** [median - p25, median, p75 - median], their error bars. */
const errorBar = ({ p25, median, p75 }: { p25: number; median: number; p75: number }, scale = 1): number[] => [
  (median - p25) * scale,
  median * scale,
  (p75 - median) * scale,
];

function speedData(point: SpeedPoint): Record<string, unknown> {
  return {
    speed_generation: errorBar(point.fromBeginning),
    time_to_first_token: errorBar(point.ttftMs, 1e-3),
    max_kv_cache: point.maxKvUsage ?? -1,
    parallel_requests_nb: point.parallelRequests,
  };
}

function totalSpeedData({
  combination,
  points,
}: {
  combination: Combination;
  points: SpeedPoint[];
}): Record<string, unknown> {
  return {
    data: points.map(({ parallelRequests, level, totalSpeed }) => ({
      nb_parallel_requests: parallelRequests,
      total_time: (level.e2eMs.mean * level.e2eMs.count) / 1000,
      actual_total_time: level.durationS,
      total_number_of_generated_tokens: level.outputTokens,
      speed: totalSpeed,
    })),
    input_length: combination.inputTokens,
    output_length: combination.outputTokens,
  };
}
