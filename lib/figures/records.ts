/**
 * The lines of records.ndjson(.gz), as the records output writes them. All times are whole nanoseconds from the run's
 * start on its one clock; a field that is 0 or "" may be left out of a line.
 */
import type { LevelSummary, RunReport, SloMs, Stamps, Validity } from "./level-summary";

/** Part of a level that a request belongs to, decided when it is scheduled. */
export type Phase = "warmup" | "steady" | "drain";

/** The first line. */
export interface RunLine {
  type: "run";
  schema: 1;
  scenario: string;
  startUnixNs: number;
  /** Effective settings without secrets. */
  config: Record<string, unknown>;
  sloMs: SloMs;
  versions: Record<string, string>;
  /** The best source of arrival times that the process had, and why it had no better one. */
  stamps?: Pick<Stamps, "source" | "why">;
  /** As in the verdict; absent in records of earlier versions. */
  reader?: string;
  readerClass?: string;
  /** The threshold profile: its name, or the whole of the user's own. */
  profile?: unknown;
  /** sha256 in hex of the files that DATASET, TRACE and TARGETS name, by setting. */
  digests?: Record<string, string>;
  /** The runners that merged records come from. */
  parts?: { part: number; build: string; offsetNs: number; uncertaintyNs: number }[];
}

/**
 * What one runner of several has: its part of the load, and how its clock stands to the coordinator's. Written before the load, and
 * again when the clock was measured anew.
 */
export interface PartLine {
  type: "part";
  /** The run's id, the same for all runners. */
  run: string;
  /** From 1. */
  part: number;
  of: number;
  /** sha256 in hex of the runner's program. */
  build: string;
  /** When the clock was measured. */
  atNs: number;
  /** The coordinator's clock at 0 of the run's, ns since 1970; and by how much that may be wrong. */
  zeroUnixNs: number;
  uncertaintyNs: number;
  /** The coordinator's clock less the runner's wall clock. */
  offsetNs: number;
}

/** Written when a level is over. */
export interface LevelLine {
  type: "level";
  name: string;
  concurrency?: number;
  rate?: number;
  batchSize?: number;
  labels?: Record<string, string | number>;
  /** The steady window. */
  openNs: number;
  closeNs: number;
  /** The last end of a request of the level. */
  endNs: number;
  /** As in the level's summary. */
  clockErrors?: number;
  /** As in the level's summary. */
  itlHistograms?: LevelSummary["itlHistograms"];
  /** MB of each client (one, or of merged records the runners in their order) by part of the window; 0 is not known. */
  clientMB?: number[][];
  /** By how much the server's own counters of its prefix cache grew from the level's begin to its end, tokens. */
  cacheHits?: number;
  cacheQueries?: number;
}

interface AnyRequestLine {
  type: "request";
  id?: string;
  scenario?: string;
  level: string;
  phase: Phase;
  /** Number in its level, from 0, warm-up included; of a turn that of its session. */
  index?: number;
  /** A turn of a conversation has its session's id, which turn it is (from 1), and whether it hands over results of tools. */
  session?: string;
  turn?: number;
  tool?: boolean;
  /** Tags that a script gave the request. */
  tags?: Record<string, string>;
  vu?: number;
  iter?: number;
  scheduledNs?: number;
  startedNs?: number;
  sentNs?: number;
  sentUncertaintyNs?: number;
  firstByteNs?: number;
  firstOutputNs?: number;
  firstNonReasonNs?: number;
  lastOutputNs?: number;
  endNs?: number;
  /**
   * One entry an output chunk: ns since the previous one (the first: since sentNs), its output tokens, its choice, and by how many
   * ns it may have arrived before that. A width of 0 (the arrival is exact) is left out, and so is then a choice of 0.
   */
  arrivals?: [deltaNs: number, tokens: number, choice?: number, widthNs?: number][];
  status?: number;
  inputTokens?: number;
  outputTokens?: number;
  /** Input tokens that the server took from its prefix cache; absent, not 0, where its usage does not tell. */
  cachedTokens?: number;
  reasoningTokens?: number;
  /** A part of outputTokens: reasoning that the usage names and the response did not show, so that it arrived in no chunk. */
  hiddenTokens?: number;
  tokenSource?: string;
  tokenMismatch?: boolean;
  finishReason?: string;
  streamed?: boolean;
  reused?: boolean;
  retries?: number;
  /** Times it was sent again with another key, because the server had refused the first with 401. */
  keyRetries?: number;
  /** The id in its header traceparent. */
  traceId?: string;
  /** The worst source of its arrival times; "kernel" is what "socket" was called before there was a ring. */
  stamp?: "ring" | "socket" | "kernel" | "user";
  coalesced?: number;
  bodyBytes?: number;
  connectNs?: number;
  tlsNs?: number;
}

/** A request that completed. */
export interface CompletedLine extends AnyRequestLine {
  outcome: "completed";
}

/** A request that failed, under its one failure class. */
export interface FailedLine extends AnyRequestLine {
  outcome: "failed";
  failure: string;
  message?: string;
}

/** One request, written when it has ended. */
export type RequestLine = CompletedLine | FailedLine;

/** A conversation, written when it has ended. */
export interface SessionLine {
  type: "session";
  id: string;
  level: string;
  phase: Phase;
  outcome: "completed" | "failed" | "abandoned" | "cut";
  /** Turns that were sent, and those that were planned and were not. */
  turns?: number;
  notSent?: number;
  /** Scheduled, and the last end of a turn. */
  startNs?: number;
  endNs?: number;
  /** Think time and tool waits together. */
  waitNs?: number;
}

/** The last line of a run that was not killed. */
export interface EndLine {
  type: "end";
  endNs: number;
  /** How the run ended: only "complete" is whole. Absent in records of runs before there was one. */
  ended?: RunReport["ended"];
  /** What of the load was not sent, in words. */
  unsent?: string;
  /** The whole schedule of an open load, also where several runners divide it. */
  schedule?: RunReport["schedule"];
  validity: Validity;
}

/** Any line of the file. */
export type RecordLine = RunLine | PartLine | LevelLine | RequestLine | SessionLine | EndLine;
