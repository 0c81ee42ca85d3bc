/** Batches: how far apart a batch was sent, how long it took and what it gave. Pure: from summaries. */
import type { LevelSummary, Stats } from "./level-summary";
import { type Column, filledColumns, shortNumber, textTable } from "./table";

/** One release of a batch, or one batch that is refilled: completed steady requests only, but for the spread. */
export interface BurstFigures {
  /** First to last send, ms. */
  releaseSpreadMs: number;
  /** First send to last output, s. */
  totalS: number;
  /** The shortest and the longest end-to-end latency of a request, each from its own send, s. */
  fastestS: number;
  slowestS: number;
  /** Tokens of the batch over its total time; undefined where no token was counted, as of the output of embeddings. */
  inputTokensPerS?: number;
  outputTokensPerS?: number;
}

/** What the figures of a burst follow from: a level's summary, or the same of some of its requests. */
export type BurstSource = Pick<LevelSummary, "releaseSpreadMs" | "spanS" | "inputTokens" | "outputTokens"> & {
  e2eMs: Pick<Stats, "min" | "max">;
};

export function burstFigures({ releaseSpreadMs, spanS, e2eMs, inputTokens, outputTokens }: BurstSource): BurstFigures {
  const perS = (tokens: number) => (tokens > 0 ? tokens / spanS : undefined);
  return {
    ...{ releaseSpreadMs, totalS: spanS, fastestS: e2eMs.min / 1000, slowestS: e2eMs.max / 1000 },
    ...{ inputTokensPerS: perS(inputTokens), outputTokensPerS: perS(outputTokens) },
  };
}

/** Releases of a batch: how long it took, its fastest and slowest request, and the tokens that were counted. */
export function burstTable(levels: readonly LevelSummary[]): string {
  const cell = (of: (figures: BurstFigures) => number | undefined) => (level: LevelSummary) =>
    shortNumber(of(burstFigures(level)) ?? Number.NaN);
  const columns: Column<LevelSummary>[] = [
    { heading: "batch", left: true, cell: ({ name }) => name },
    { heading: "released in ms", cell: cell(({ releaseSpreadMs }) => releaseSpreadMs) },
    { heading: "total s", cell: cell(({ totalS }) => totalS) },
    { heading: "fastest s", cell: cell(({ fastestS }) => fastestS) },
    { heading: "slowest s", cell: cell(({ slowestS }) => slowestS) },
    { heading: "batch input tok/s", cell: cell(({ inputTokensPerS }) => inputTokensPerS) },
    { heading: "batch output tok/s", cell: cell(({ outputTokensPerS }) => outputTokensPerS) },
  ];
  const completed = levels.filter((level) => level.completed > 0);
  return textTable(filledColumns(columns, completed), completed);
}
