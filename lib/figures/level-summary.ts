/** What a run came to, in numbers. The same shapes as `report()` of the k6 module gives; client.ts checks that they agree. */
import type { Cost } from "./cost";
import type { Profile } from "./profile";
import type { ServerFigures } from "./server";
import type { SteadyState } from "./steady";

/** Statistics of one quantity: ms unless the name says otherwise. All are 0 where count is 0. */
export interface Stats {
  count: number;
  mean: number;
  /** Standard deviation of the values themselves (divided by count, not by count - 1). */
  std: number;
  min: number;
  p50: number;
  p90: number;
  p95: number;
  p99: number;
  p999: number;
  max: number;
}

/** One level of load (or a whole run). Latencies are those of completed steady requests. */
export interface LevelSummary {
  name: string;
  concurrency?: number;
  rate?: number;
  batchSize?: number;
  labels: Record<string, string | number>;
  /** Steady requests: all, and by how they ended. */
  requests: number;
  completed: number;
  failed: number;
  /** Given up on purpose: neither completed nor failed. Absent where none was. */
  abandoned?: number;
  failures: Partial<Record<string, number>>;
  /** The first message of each class of failure. */
  failureMessages?: Partial<Record<string, string>>;
  statuses: Record<string, number>;
  /** Tokens of completed steady requests. */
  inputTokens: number;
  outputTokens: number;
  /** Input tokens that the server took from its prefix cache; 0 where cachedShare is absent. */
  cachedTokens?: number;
  /** Share of the input that the server took from its prefix cache, 0 to 1; absent where the server does not tell. */
  cachedShare?: number;
  /** usage: of the completed steady requests; server: its own counters, over the whole level with its warm-up. */
  cachedSource?: "usage" | "server";
  /** The steady window, in seconds from the run's start. */
  windowStartS: number;
  durationS: number;
  /** Of an open load: steady requests that were scheduled, and those that were sent in the window, a second of it. */
  scheduledRate?: number;
  sentRate?: number;
  requestThroughput: number;
  outputThroughput: number;
  /** undefined where no SLO is set. */
  requestGoodput?: number;
  goodShare?: number;
  /** Output tokens of the completed steady requests that met every SLO; absent where none is set. */
  goodOutputTokens?: number;
  /** What its requests cost; absent without prices and where it is not known. */
  cost?: Cost;
  /** Whether its steady window was steady; absent where it need not be (ramps, bursts) and in runs of earlier versions. */
  steady?: SteadyState;
  /** What the server says of itself in the steady window; absent where it was not polled. */
  server?: ServerFigures;
  /** Tokens a second of one request, 1000 / TPOT. */
  outputSpeed: Stats;
  ttftMs: Stats;
  ttftScheduledMs: Stats;
  ttfoMs: Stats;
  tpotMs: Stats;
  itlMs: Stats;
  chunkGapMs: Stats;
  maxStallMs: Stats;
  e2eMs: Stats;
  e2eScheduledMs: Stats;
  queueDelayMs: Stats;
  /** First to last send of the level, ms. */
  releaseSpreadMs: number;
  /** First send to last output of the completed steady requests, s: what they took as a whole, warm-up left out. */
  spanS: number;
  tokenSources: Record<string, number>;
  tokenMismatches: number;
  /** Share of the output chunks that came in one receive with the chunk of their choice before them. */
  coalescedShare: number;
  /** By how much an output chunk may have arrived before its stamp, over all output chunks; 0 where its arrival is known. */
  arrivalUncertaintyMs: Stats;
  /** Steady requests with a latency or gap below zero, an error of a clock. They feed no percentile. */
  clockErrors: number;
  /** Of the receives: those that the packet ring stamped; absent in runs of a version without it. */
  ringStampShare?: number;
  /** Those that the ring or the socket stamped. */
  kernelStampShare: number;
  warmupRequests: number;
  /** The whole level, warm-up and drain included. */
  whole: { requests: number; completed: number; durationS: number; outputTokens: number; outputThroughput: number };
  /** Pooled ITL in ns by phase (warmup, steady, drain), in HdrHistogram's compressed V2 encoding as base64. */
  itlHistograms?: Partial<Record<string, string>>;
  /** The conversations of the level, those of its warm-up left out; absent where it had none. */
  sessions?: SessionSummary;
  /** Its steady requests by the turn of their conversation. */
  turns?: TurnSummary[];
  /** Equal parts of the window of a level of a soak. */
  slices?: Slice[];
}

/** A part of a level's window. Requests count where they were scheduled, tokens where they arrived. */
export interface Slice {
  /** Seconds from the run's start. */
  startS: number;
  durationS: number;
  /** Steady requests. */
  requests: number;
  completed: number;
  failed: number;
  ttftMs: Stats;
  tpotMs: Stats;
  outputThroughput: number;
  /** What the client's process took of the memory, MB; absent where it is not known. */
  clientMB?: number;
}

/** Conversations that have ended. */
export interface SessionSummary {
  sessions: number;
  /** All of their turns were sent, and none failed. */
  completed: number;
  /** A turn failed, and the rest was not sent. */
  failed: number;
  /** A turn was given up on purpose. */
  abandoned: number;
  /** The load ended before they did. */
  cut: number;
  /** Turns that were sent, and those that were planned and were not. */
  turns: number;
  notSent: number;
  /** From scheduled to the last end, of completed ones; their tasks, each from a user's turn to the last end before the next;
   * and of that the waits, of each session together. */
  durationMs: Stats;
  taskMs: Stats;
  waitMs: Stats;
}

/** The steady requests that were the same turn of their conversations. */
export interface TurnSummary {
  /** From 1; beyond 1000 all are one. */
  turn: number;
  requests: number;
  completed: number;
  inputTokens: number;
  cachedTokens: number;
  /** Absent where no usage of the level names cached tokens. */
  cachedShare?: number;
  ttftMs: Stats;
  outputSpeed: Stats;
}

/** One second of the run. Requests scheduled before second 0 are in none. */
export interface Second {
  /** From the opening of the first steady window: a ramp's seconds begin with the ramp. */
  t: number;
  /** Requests scheduled, sent, succeeded and failed in this second, each by its own moment. */
  scheduled: number;
  sent: number;
  succeeded: number;
  failed: number;
  /** Of the requests scheduled for in this second: how many failed in the end. */
  scheduledFailed: number;
  /** Response times of those that succeeded in this second; 0 of none. */
  meanMs: number;
  p50Ms: number;
  p95Ms: number;
  /** When the second ends. */
  inFlight: number;
  outputTokens: number;
}

/** What arrival times were taken by, as shares of the receives. */
export interface Stamps {
  /** The best one that the process had, and why it had no better one. */
  source: "ring" | "socket" | "user";
  why?: string;
  /** The kernel's time of each packet; of the last packet that a receive brought; the time behind the read. */
  ring: number;
  socket: number;
  user: number;
}

/** Times in which the process did not run; ms. */
export interface Pauses {
  count: number;
  total: number;
  /** Of those that made the process 20 ms late or more; 0: none did. */
  longest: number;
}

/** What the host did to the process in some time; what it does not tell of is absent. */
export interface HostPauses {
  stoppedMs?: Pauses;
  suspendedMs?: Pauses;
  /** Total summed over processors, count in quota periods. */
  throttledMs?: Pauses;
  /** Total of the whole machine, summed over processors. */
  stolenMs?: Pauses;
}

/** The run's judgement of its own client. What runs of earlier versions lack is optional. */
export interface Validity extends HostPauses {
  /** UNJUDGED: measured through xk6-sse, where a run cannot judge its client. */
  /** CACHE-BOUND: with CACHE=cold the server took more than 1 % of a level's input from its prefix cache. */
  state: "VALID" | "CLIENT-BOUND" | "CACHE-BOUND" | "NOT-MEASURED" | "UNJUDGED";
  reasons: string[];
  /** What happened to the client and did its measurements no harm, or none that is judged. */
  notes?: string[];
  stamps?: Stamps;
  /** The pauses by level; levels without are left out. */
  hostLevels?: (HostPauses & { name: string })[];
  /** Absent where there was no packet ring. */
  ring?: {
    packets: number;
    drops: number;
    lostBytes: number;
    duplicates: number;
    reordered: number;
    mixedRequests: number;
  };
  schedulingLagMs: Stats;
  queueDelayMs: Stats;
  kernelStampShare: number;
  coalescedShare: number;
  /** As in LevelSummary, of the whole run. */
  arrivalUncertaintyMs: Stats;
  clockErrors: number;
  /** Share of the time that the reader thread waited for a core in waits above 3 ms; absent in runs that had no such thread. */
  readerWaitShare?: number;
  sendUncertaintyMs: Stats;
  cpuShare: number;
  droppedIterations: number;
  retriedOnReuse: number;
  /** How streams are read: "detached", "attached", or "none: " and why not; absent in runs of earlier versions and of xk6-sse. */
  reader?: string;
  /** How the kernel schedules the reader thread. */
  readerClass?: string;
  /** How often the wall clock was set during the run, and how many time stamps were rejected for it. */
  clockSteps?: number;
  rejectedStamps?: number;
}

/** Everything measured in a run. */
export interface RunReport {
  startUnixMs: number;
  durationS: number;
  levels: LevelSummary[];
  /** Everything outside a level's steady window included. */
  total: LevelSummary;
  seconds: Second[];
  validity: Validity;
  versions: { tokenclock: string; k6: string; go: string; os: string };
  /** Of an open load: the sha256 of all times at which it was to send, in hex, and how many there are. */
  schedule?: { digest: string; requests: number };
  /** How the server's metrics pages were polled; absent where it has none. */
  serverPages?: PolledPage[];
  /** How the run ended: only a complete one may pass. Absent where that is not known (xk6-sse). */
  ended?: "complete" | "cut" | "interrupted";
  /** What of the load was not sent, in words. */
  unsent?: string;
  /** What kept the records from being written whole. */
  recordsError?: string;
  /** Which part of a load it was that several instances ran together: only all of them are judged. */
  part?: { number: number; of: number };
}

/** What a scenario shows and writes beside the table of levels and summary.json. */
export interface OwnResults {
  /** Shown below the table. */
  readonly text?: string;
  /** Contents by file name, written into RESULTS. */
  readonly files?: Readonly<Record<string, string>>;
  /** Limits of the test's own, which the verdict rests on beside those that k6 judges. */
  readonly limits?: readonly JudgedLimit[];
}

/** A limit of the run and what became of it. */
export interface JudgedLimit {
  metric: string;
  /** The level that it is for; absent where it is for the whole run. */
  level?: string;
  /** Of llm_samples: the metric whose samples are counted. */
  of?: string;
  /** As in the profile, e.g. "p(95)<450". */
  expression: string;
  /** The value that was compared, in the metric's unit; absent where there is none. */
  value?: number;
  /** How far the value is on the limit's good side, in the metric's unit; negative where the limit is violated. */
  margin?: number;
  result: "passed" | "violated" | "not measured";
}

/** Limits that make a request good; ms. */
export interface SloMs {
  ttft?: number;
  tpot?: number;
  e2e?: number;
}

/** summary.json of a results folder. */
export interface Summary extends RunReport {
  schema: 1;
  scenario: string;
  verdict: Verdict;
  config: Record<string, unknown>;
  sloMs: SloMs;
  /** What a reader of the figures should know of the load. */
  notes?: string[];
  /** First opening to last close of the levels' steady windows, seconds from the run's start. */
  window: { startS: number; endS: number };
  /** The whole of THRESHOLDS' profile; absent with THRESHOLDS=none. */
  profile?: Profile;
  /** Every limit that k6 judged. */
  thresholds?: JudgedLimit[];
  /** sha256 in hex of the files that settings name, by setting. */
  digests?: Record<string, string>;
}

/** How a page of the server's metrics was polled. */
export interface PolledPage {
  /** Without secrets. */
  url: string;
  polls: number;
  failed: number;
  /** Polls that were left out because the one before took too long. */
  skipped: number;
  /** Why the first poll that failed did; "" where none did. */
  error: string;
  /** The largest page. */
  bytes: number;
  /** First to last poll. */
  seconds: number;
  /** Time in which pages were read, over seconds: no less than the share of a core that it took. */
  cpuShare: number;
  /** From the request to the whole page, and from there until it was read. */
  pageMs: Stats;
  readMs: Stats;
}

/** What the run says about the server, and whether the run may say so. */
export interface Verdict {
  pass: boolean;
  validity: Validity["state"];
  /** One line a crossed threshold or doubt, with level, value and limit. */
  reasons: string[];
}
