/** Which settings a scenario uses: it declares them, and one that it does not use is refused. Pure. */
import { endsAsItLikes, generatesNothing } from "./apis";
import type { Environment } from "./parse-settings";
import { SettingError } from "./setting-error";
import { type SettingName, type Settings, settings } from "./settings";

/** Settings that go together, by the part of lib that reads them. */
export const settingGroups = {
  /** Levels of constant concurrency. */
  levels: ["CONCURRENCY", "REQUESTS", "DURATION", "CLIENTS_PER_VU"],
  /** A load that follows a schedule. */
  arrivals: [
    "RATE",
    "STAGES",
    "PATTERN",
    "RATE_FILE",
    "DURATION",
    "ARRIVAL",
    "LOOP",
    "MAX_IN_FLIGHT",
    "CLIENTS_PER_VU",
    "TRACE",
    "TRACE_UNIT",
    "TRACE_BLOCK",
    "TRACE_WINDOW",
    "SPEED",
  ],
  /** A recorded load. */
  trace: [
    ...(["TRACE", "TRACE_UNIT", "TRACE_BLOCK", "TRACE_WINDOW", "SPEED"] as const),
    ...(["DATASET_COLUMNS", "TURNS", "MAX_IN_FLIGHT", "CLIENTS_PER_VU"] as const),
  ],
  /** One load for a long time. */
  soak: [
    ...(["CONCURRENCY", "RATE", "DURATION", "ARRIVAL", "MAX_IN_FLIGHT", "CLIENTS_PER_VU"] as const),
    ...(["SLICES", "DRIFT_LIMIT", "CLIENT_MEMORY_LIMIT"] as const),
  ],
  /** The points of a curve of throughput by speed per user. */
  curve: ["CONCURRENCY", "DURATION", "CLIENTS_PER_VU", "CURVE_PROFILE", "CURVE_MIN", "CURVE_MAX"],
  /** Requests that are released at once. */
  bursts: ["BATCH_SIZES", "RUNS", "STAGGER"],
  /** Probes of a search for capacity. */
  search: [
    ...(["SEARCH_START", "SEARCH_MOST", "ATTAINMENT", "PRECISION", "CONFIDENCE"] as const),
    ...(["PROBES", "PROBE_TIME", "PROBE_REQUESTS", "PROBE_MOST_REQUESTS", "PROBE_SD"] as const),
  ],
  /** Where prompts come from. */
  prompts: [
    "DATASET",
    "DATASET_LIMIT",
    "DATASET_SHUFFLE",
    "DATASET_COLUMNS",
    "TURNS",
    "TARGETS",
    "INPUT_TOKENS",
    "MAX_INPUT_TOKENS",
    "SHARED_PREFIX",
    "PREFIX_GROUPS",
    "PREFIX_POPULARITY",
    "TOKEN_IDS",
  ],
  /** Conversations, closed or open. */
  sessions: [
    ...(["CONCURRENCY", "SESSIONS", "REQUESTS", "DURATION", "CLIENTS_PER_VU"] as const),
    ...(["RATE", "STAGES", "PATTERN", "RATE_FILE", "ARRIVAL", "MAX_IN_FLIGHT"] as const),
    ...(["TRACE", "TRACE_UNIT", "TRACE_BLOCK", "TRACE_WINDOW", "SPEED"] as const),
    ...(["DATASET", "DATASET_LIMIT", "DATASET_SHUFFLE", "DATASET_COLUMNS"] as const),
    ...(["SESSION_TURNS", "INPUT_TOKENS", "MAX_INPUT_TOKENS", "SHARED_PREFIX"] as const),
    ...(["PREFIX_GROUPS", "PREFIX_POPULARITY", "HISTORY", "THINK_TIME", "TOOL_TIME", "WAIT_CAP"] as const),
    ...(["WAIT_SCALE", "SESSION_HEADER", "SESSION_ECHO", "ABANDON", "TOOL_ROUNDS", "TOOL_TOKENS"] as const),
  ],
  /** Classes of load that run at once. */
  classes: [
    "RATE",
    "DURATION",
    "ARRIVAL",
    "MAX_IN_FLIGHT",
    "CLIENTS_PER_VU",
    "INPUT_TOKENS",
    "SHARED_PREFIX",
    "PREFIX_GROUPS",
    "PREFIX_POPULARITY",
  ],
  /** What is asked of a model that generates. */
  generation: [
    "PRESET",
    "OUTPUT_TOKENS",
    "MAX_OUTPUT_TOKENS",
    "IGNORE_EOS",
    "STREAM",
    "CONTINUOUS_USAGE",
    "TEMPERATURE",
  ],
  /** The two phases of prefill-decode. */
  phases: ["PHASE", "PAUSE", "RESET_URL", "BETWEEN", "BETWEEN_TIMEOUT"],
} as const satisfies Readonly<Record<string, readonly SettingName[]>>;

/** Settings that every scenario uses: the server, the seed, the gate and the results. */
export const commonSettings: readonly SettingName[] = [
  ...([
    "BASE_URL",
    "SIMULATE",
    "API",
    "WIRE",
    "MODEL",
    "API_KEY",
    "HEADERS",
    "KEY_ORIGINS",
    "TIMEOUT",
    "HTTP2",
    "EXTRA_BODY",
  ] as const),
  ...(["API_KEY_FILE", "API_KEY_COMMAND", "API_KEY_LIFETIME", "AWS_SERVICE", "AWS_REGION"] as const),
  ...(["OAUTH_TOKEN_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_CLIENT_SECRET_FILE"] as const),
  ...(["OAUTH_SCOPE", "OAUTH_AUDIENCE", "TRACEPARENT", "TLS_CERT", "TLS_KEY", "TLS_CA", "TLS_SKIP_VERIFY"] as const),
  ...(["METHOD", "ENDPOINT", "BODY", "INPUT_TOKENS_POINTER", "OUTPUT_TOKENS_POINTER"] as const),
  ...([
    "WARMUP",
    "MAX_DURATION",
    "MAX_STOLEN",
    "SEED",
    "SALT",
    "CACHE",
    "STAMPS",
    "LIVE",
    "DESCRIPTION",
    "RESULTS",
  ] as const),
  ...(["METRICS_URL", "METRICS", "METRICS_INTERVAL", "POWER_METRIC"] as const),
  ...(["PRICE_INPUT", "PRICE_OUTPUT", "PRICE_CACHED", "PRICE_HOUR"] as const),
  "SMOKE",
  ...(["RUNNERS", "COORDINATOR", "COORDINATOR_TOKEN", "COORDINATOR_TOKEN_FILE"] as const),
  ...(["THRESHOLDS", "SLO_TTFT", "SLO_TPOT", "SLO_E2E", "SLO_PERCENTILE"] as const),
];

/** A group of settings, or a single one. */
export type Use = keyof typeof settingGroups | SettingName;

/** The settings that these stand for, in the order in which they are declared. */
export function settingsOf(uses: readonly Use[]): SettingName[] {
  return [...new Set(uses.flatMap((use) => [...(isGroup(use) ? settingGroups[use] : [use])]))];
}

function isGroup(use: Use): use is keyof typeof settingGroups {
  return Object.hasOwn(settingGroups, use);
}

/** All settings that a scenario uses which declares these, in the table's order. */
export function usedSettings(uses: readonly Use[]): SettingName[] {
  const used = new Set([...commonSettings, ...settingsOf(uses)]);
  return (Object.keys(settings) as SettingName[]).filter((name) => used.has(name));
}

/**
 * @throws SettingError for a setting that the scenario does not use. `given` has what the user set, by name; what a scenario
 * has as its own default is never refused.
 */
export function requireUsed(scenario: string, uses: readonly Use[], given: Environment): void {
  const used = usedSettings(uses);
  for (const name of Object.keys(given)) {
    if (used.includes(name as SettingName)) continue;
    throw new SettingError(
      `${scenario} does not use ${name}; beside what every scenario uses it has ${settingsOf(uses).join(", ")}`,
    );
  }
}

/** Settings that another one makes useless. */
interface Idle {
  readonly names: readonly SettingName[];
  /** Why they are, in words that follow "has no effect"; "" where they are not. */
  readonly why: (settings: Settings, given: Environment, used: readonly SettingName[]) => string;
}

const { generation } = settingGroups;

const idle: readonly Idle[] = [
  {
    names: ["COORDINATOR_TOKEN", "COORDINATOR_TOKEN_FILE"],
    why: ({ COORDINATOR: coordinator }) => (coordinator === "" ? "without COORDINATOR" : ""),
  },
  {
    names: ["DATASET", "INPUT_TOKENS", "OUTPUT_TOKENS", "MAX_INPUT_TOKENS", "MAX_OUTPUT_TOKENS", "SHARED_PREFIX"],
    why: ({ TARGETS: targets }) => (targets === "" ? "" : "with TARGETS, whose requests have no prompt"),
  },
  {
    names: ["PRESET"],
    why: ({ DATASET: dataset, TARGETS: targets }) =>
      dataset !== "" || targets !== "" ? "with DATASET or TARGETS, which have lengths of their own" : "",
  },
  {
    names: ["DURATION"],
    why: ({ RATE_FILE: name, CURVE_PROFILE: profile }) => {
      if (name !== "") return "with RATE_FILE, which says how long the load lasts";
      return profile === "full" ? "with CURVE_PROFILE=full, whose durations are those of the rules" : "";
    },
  },
  {
    names: ["CURVE_MIN", "CURVE_MAX"],
    why: (_, { CONCURRENCY: points }) => (points === undefined ? "" : "with CONCURRENCY, which lists the points"),
  },
  {
    names: ["CONCURRENCY", "SESSIONS", "REQUESTS"],
    why: ({ TRACE: trace, RATE: rate, STAGES: stages, PATTERN: pattern, RATE_FILE: file }, { RATE: given }, used) => {
      // Of a test that uses it, a default counts as well.
      const arrives = given !== undefined || (used.includes("RATE") && rate.length > 0);
      const loads = {
        TRACE: trace !== "",
        STAGES: stages.length > 0,
        PATTERN: pattern !== undefined,
        RATE_FILE: file !== "",
        RATE: arrives,
      };
      const one = Object.entries(loads).find(([, set]) => set)?.[0] ?? "";
      return one === "" ? "" : `with ${one}, which says when sessions or requests arrive`;
    },
  },
  {
    names: ["ARRIVAL", "MAX_IN_FLIGHT"],
    why: ({ RATE: rate, STAGES: stages, PATTERN: pattern, RATE_FILE: file, TRACE: trace }) =>
      rate.length === 0 && stages.length === 0 && !pattern && file === "" && trace === ""
        ? "without RATE, STAGES, PATTERN, RATE_FILE or TRACE"
        : "",
  },
  {
    names: ["PREFIX_GROUPS", "PREFIX_POPULARITY"],
    why: ({ SHARED_PREFIX: prefix, PREFIX_GROUPS: groups }, { PREFIX_GROUPS: given }) => {
      if (prefix === 0) return "without SHARED_PREFIX";
      return groups === 1 && given === undefined ? "without PREFIX_GROUPS" : "";
    },
  },
  {
    names: ["SESSION_TURNS", "TOOL_ROUNDS", "TOOL_TOKENS", "PREFIX_GROUPS", "PREFIX_POPULARITY"],
    why: ({ DATASET: dataset, TRACE: trace }) =>
      dataset === "" && trace === "" ? "" : "with DATASET or TRACE, which has the prompts as they are",
  },
  {
    names: ["TOOL_TOKENS"],
    why: ({ TOOL_ROUNDS: rounds }) => (rounds === 0 ? "without TOOL_ROUNDS" : ""),
  },
  {
    names: ["TOOL_ROUNDS"],
    why: ({ API: api }) => (api === "chat" ? "" : "but with API=chat"),
  },
  {
    names: ["HISTORY"],
    why: ({ DATASET: dataset, TRACE: trace }) =>
      dataset === "" && trace === "" ? "without DATASET or TRACE: nothing is recorded" : "",
  },
  {
    names: ["INPUT_TOKENS", "SHARED_PREFIX", "TOKEN_IDS", "LENGTHS"],
    why: ({ DATASET: dataset }) => (dataset === "" ? "" : "with DATASET, which has the prompts as they are"),
  },
  {
    names: [
      ...(["RATE", "STAGES", "PATTERN", "RATE_FILE", "DURATION", "ARRIVAL", "DATASET", "TARGETS"] as const),
      ...(["INPUT_TOKENS", "OUTPUT_TOKENS", "PRESET"] as const),
      ...(["MAX_INPUT_TOKENS", "MAX_OUTPUT_TOKENS", "SHARED_PREFIX", "TOKEN_IDS", "LOOP"] as const),
    ],
    why: ({ TRACE: trace }) => (trace === "" ? "" : "with TRACE, which has the arrivals and lengths"),
  },
  {
    names: ["RATE", "PATTERN", "RATE_FILE", "DURATION", "ARRIVAL", "MAX_IN_FLIGHT"],
    why: ({ LOOP: loop }) => (loop === "closed" ? "with LOOP=closed, whose load is the users of STAGES" : ""),
  },
  {
    names: ["STAGGER"],
    why: ({ REFILL: refill }) => (refill ? "with REFILL, which starts a request whenever one has ended" : ""),
  },
  {
    names: ["PAUSE", "RESET_URL", "BETWEEN"],
    why: ({ PHASE: phase }) => (phase === "both" ? "" : `with PHASE=${phase}: it stands between both phases`),
  },
  {
    names: ["BETWEEN_TIMEOUT"],
    why: (_, { BETWEEN: between }) => (between === undefined ? "without BETWEEN" : ""),
  },
  {
    names: ["SLO_PERCENTILE"],
    why: ({ SLO_TTFT: ttft, SLO_TPOT: tpot, SLO_E2E: e2e }) =>
      [ttft, tpot, e2e].every((limit) => limit === undefined) ? "without SLO_TTFT, SLO_TPOT or SLO_E2E" : "",
  },
  {
    names: generation,
    why: ({ API: api }) => (generatesNothing(api) ? `with API=${api}, which generates nothing` : ""),
  },
  {
    names: ["IGNORE_EOS"],
    why: ({ API: api, IGNORE_EOS: forced }) =>
      forced && endsAsItLikes(api) ? `with API=${api}, which has no way to force the length of an output` : "",
  },
  {
    names: ["IGNORE_EOS", "STREAM", "CONTINUOUS_USAGE", "TEMPERATURE", "EXTRA_BODY"],
    why: ({ API: api }) => (api === "json" ? "with API=json, whose body is BODY" : ""),
  },
  {
    names: ["CONTINUOUS_USAGE"],
    why: ({ API: api, STREAM: stream }) =>
      stream && (api === "chat" || api === "completions") ? "" : "but in streams of API=chat and API=completions",
  },
];

/** @throws SettingError for a setting of the user's that another one makes useless, in a test that uses these. */
export function requireEffect(of: Settings, given: Environment, used: readonly SettingName[] = []): void {
  for (const { names, why } of idle) {
    for (const name of names) {
      const reason = given[name] === undefined ? "" : why(of, given, used);
      if (reason !== "") throw new SettingError(`${name} is set and has no effect ${reason}; leave it out`);
    }
  }
}
