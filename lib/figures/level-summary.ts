/**
 * What a run came to, in numbers: what `report()` of the k6 module gives, by the module's own types, and what lib adds to it. Results of
 * earlier versions and of xk6-sse lack some of it.
 */

import type {
  LevelSummary as MeasuredLevel,
  HostPauses as MeasuredPauses,
  Validity as MeasuredValidity,
  Report,
  Stats,
} from "k6/x/tokenclock";
import type { Cost } from "./cost";
import type { Freed } from "./freed";
import type { Profile } from "./profile";
import type { ServerFigures } from "./server";
import type { SteadyState } from "./steady";

export type { Pauses, Second, SessionSummary, Slice, Stamps, Stats, TurnSummary } from "k6/x/tokenclock";

/** `T` without what only newer versions of the module give, which is optional. */
type Since<T, Newer extends keyof T> = Omit<T, Newer> & Partial<Pick<T, Newer>>;

/** What lib gives another type in a level's summary: names of failures and phases that a reader need not know. */
type ByName = "failures" | "failureMessages" | "itlHistograms";

/** One level of load (or a whole run). Latencies are those of completed steady requests. */
export interface LevelSummary extends Since<Omit<MeasuredLevel, ByName>, "cachedTokens" | "ringStampShare"> {
  failures: Partial<Record<string, number>>;
  /** The first message of each class of failure. */
  failureMessages?: Partial<Record<string, string>>;
  /** Pooled ITL in ns by phase (warmup, steady, drain), in HdrHistogram's compressed V2 encoding as base64. */
  itlHistograms?: Partial<Record<string, string>>;
  /** What its requests cost; absent without prices and where it is not known. */
  cost?: Cost;
  /** Whether its steady window was steady; absent where it need not be (ramps, bursts) and in runs of earlier versions. */
  steady?: SteadyState;
  /** What the server says of itself in the steady window; absent where it was not polled, and where another level ran at once. */
  server?: ServerFigures;
}

/** What the host did to the process in some time; what it does not tell of is absent. */
export interface HostPauses extends Partial<MeasuredPauses> {}

/** What runs of earlier versions of the module, or of xk6-sse, do not say of their client. */
type NewerValidity =
  | keyof MeasuredPauses
  | ("notes" | "stamps" | "readerWaitShare" | "reader" | "clockSteps" | "rejectedStamps");

/** The run's judgement of its own client. */
export interface Validity extends Since<Omit<MeasuredValidity, "state" | "hostLevels">, NewerValidity> {
  /** UNJUDGED: measured through xk6-sse, where a run cannot judge its client. */
  state: MeasuredValidity["state"] | "UNJUDGED";
  /** The pauses by level; levels without are left out. */
  hostLevels?: (HostPauses & { name: string })[];
}

/** Everything measured in a run. */
export interface RunReport extends Since<Omit<Report, "levels" | "total" | "validity">, "ended"> {
  levels: LevelSummary[];
  /** Everything outside a level's steady window included. */
  total: LevelSummary;
  validity: Validity;
  /** What the server says of itself through the steady windows of levels that ran at once, which is no single level's own. */
  server?: ServerFigures;
  /** How the server's metrics pages were polled; absent where it has none. */
  serverPages?: PolledPage[];
}

/** What a scenario shows and writes beside the table of levels and summary.json. */
export interface OwnResults {
  /** Shown below the table. */
  readonly text?: string;
  /** Contents by file name, written into RESULTS. */
  readonly files?: Readonly<Record<string, string>>;
  /** Limits of the test's own, which the verdict rests on beside those that k6 judges. */
  readonly limits?: readonly JudgedLimit[];
  /** What became of the abandoned requests of a run with ABANDON. */
  readonly freed?: readonly Freed[];
}

/** A limit of the run and what became of it. */
export interface JudgedLimit {
  metric: string;
  /** The level that it is for; absent where it is for the whole run. */
  level?: string;
  /** The other tags of the samples that it is on, but for phase:steady; absent where there are none. */
  tags?: Record<string, string>;
  /** The script named it (test.threshold): k6's judgement is the only one that there is. */
  script?: true;
  /** The metric whose samples llm_samples counts. */
  of?: string;
  /** As in the profile, e.g. "p(95)<450". */
  expression: string;
  /** The value that was compared, in the metric's unit; absent where there is none. */
  value?: number;
  /** How far the value is on the limit's good side, in the metric's unit; negative where the limit is violated. */
  margin?: number;
  result: "passed" | "violated" | "not measured";
}

/** A metric of the script's own as k6 aggregated it over the whole run, or over the samples with the tags of a threshold on it. */
export interface ScriptMetric {
  name: string;
  /** Absent where they are all of its samples. */
  tags?: Record<string, string>;
  type: "counter" | "gauge" | "rate" | "trend";
  /** The unit of its values, where k6 knows it. */
  unit?: "ms" | "bytes";
  /** By aggregate, as thresholds name them: count, rate, value, min, avg, p(95), ... */
  values: Record<string, number>;
  /** No value was ever added; the values stand for none. */
  empty?: true;
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
  /** The metrics of the script's own; absent where it has none. */
  scriptMetrics?: ScriptMetric[];
  /** Whether each server stopped working on what was abandoned; absent without ABANDON and where no metrics page is read. */
  freed?: Freed[];
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
