/** What prefill and decode took, from the levels of both phases. Pure: from summaries. */
import type { LevelSummary } from "./level-summary";
import { shortNumber } from "./table";

/** Latencies and throughputs of prefill and decode apart; in seconds and tokens/s. */
export interface PhaseSplit {
  inputTokens: number;
  outputTokens: number;
  e2eLatencyS: number;
  summarizationLatencyS: number;
  generationLatencyS: number;
  summarizationThroughput: number;
  e2eThroughput: number;
  /** undefined where noise made the short phase the longer one: there is no generation to speak of. */
  generationThroughput?: number;
}

/**
 * Prefill and decode of the prompts together. Phase 1 (`full`) asked for the whole output, phase 2 (`prefill`) for one
 * token of the same prompts. The latency of a phase is its first send to its last output, completed steady requests
 * only, as the tokens are: summarization = phase 2; generation = phase 1 - phase 2.
 */
export function phaseSplit(full: LevelSummary, prefill: LevelSummary): PhaseSplit {
  return splitOf(full.inputTokens, full.outputTokens, full.spanS, prefill.spanS);
}

/** Prefill and decode of one request: the means over the completed ones of each phase, waiting in the server included. */
export function meanPhaseSplit(full: LevelSummary, prefill: LevelSummary): PhaseSplit {
  return splitOf(
    full.inputTokens / full.completed,
    full.outputTokens / full.completed,
    full.e2eMs.mean / 1000,
    prefill.e2eMs.mean / 1000,
  );
}

function splitOf(
  inputTokens: number,
  outputTokens: number,
  e2eLatencyS: number,
  summarizationLatencyS: number,
): PhaseSplit {
  const generationLatencyS = e2eLatencyS - summarizationLatencyS;
  return {
    inputTokens,
    outputTokens,
    e2eLatencyS,
    summarizationLatencyS,
    generationLatencyS,
    summarizationThroughput: inputTokens / summarizationLatencyS,
    e2eThroughput: outputTokens / e2eLatencyS,
    generationThroughput: generationLatencyS > 0 ? outputTokens / generationLatencyS : undefined,
  };
}

/** The figures of both phases in lines; undefined where one of them completed nothing. */
export function phaseFigures(levels: readonly LevelSummary[]): string | undefined {
  const [full, prefill] = ["full", "prefill"].map((phase) => levels.find(({ name }) => name === phase));
  if (!full?.completed || !prefill?.completed) return undefined;
  const split = phaseSplit(full, prefill);
  const generationThroughput = shortNumber(split.generationThroughput ?? Number.NaN);
  return [
    `input tokens ${split.inputTokens}, generated tokens ${split.outputTokens}`,
    `e2e ${shortNumber(split.e2eLatencyS)} s = summarization ${shortNumber(split.summarizationLatencyS)} s + generation ${shortNumber(split.generationLatencyS)} s`,
    `summarization ${shortNumber(split.summarizationThroughput)} tokens/s, generation ${generationThroughput} tokens/s, e2e ${shortNumber(split.e2eThroughput)} tokens/s`,
    `queue delay: the client waited ${shortNumber(full.queueDelayMs.mean)} ms on average before it sent a request`,
  ].join("\n");
}
