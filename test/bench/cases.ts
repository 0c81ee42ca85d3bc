import type { TurnFigures } from "../support/turns";

/** How a case loads the server. */
export interface Load {
  /**
   * closed: each of `streams` sends `requests` streamed requests one behind the other. vus: the same, and this project's
   * client has a VU for each. start: all at once, from four VUs that do not wait. batch: `requests` times `streams` requests released at once. json: as closed, without streams.
   * sessions: `streams` conversations of `requests` turns, `beginsPerS` of which begin a second. rate: `streams` requests a second for `requests` seconds.
   */
  readonly kind: "closed" | "vus" | "start" | "batch" | "json" | "sessions" | "rate";
  readonly streams: number;
  readonly requests: number;
  /** Output tokens a request. */
  readonly tokens: number;
  /** What the server takes for one request when nobody is in its way, s; undefined where nothing is paced. */
  readonly requestS?: number;
  /**
   * Of sessions: how many begin a second, the words that a turn adds, in tokens, and the time before each but the first, as
   * THINK_TIME takes it.
   */
  readonly beginsPerS?: number;
  readonly inputTokens?: number;
  readonly think?: string;
}

/** A rate that is first searched for: the case runs at a share of the largest at which the client calls itself valid. */
export interface RateSearch {
  /** Requests a second: the first one tried, the least and the most. */
  readonly from: number;
  readonly least: number;
  readonly most: number;
  /** How near the ends of the last interval are to each other. */
  readonly precision: number;
  /** Seconds of a trial, and how often one is made before a rate counts as too high. */
  readonly trialS: number;
  readonly attempts: number;
  /** Of the rate that was found. */
  readonly share: number;
}

/** Clients of a case, by the names in clients.ts. */
export type ClientName =
  | "tokenclock"
  | "tokenclock-socket"
  | "tokenclock-scenario"
  | "xk6-sse"
  | "sse-scenario"
  | "floor"
  | "vllm-rs"
  | "locust"
  | "vllm"
  | "guidellm"
  | "aiperf"
  | "inference-perf";

/** A figure of a case, a median over its runs, and what it has to be. */
export interface Target {
  readonly what: string;
  readonly figure: Figure;
  readonly of: ClientName;
  /** The figure is divided by another client's. */
  readonly per?: ClientName;
  readonly atMost?: number;
  readonly atLeast?: number;
  readonly unit: string;
}

/**
 * What is known of one run. Errors are the client's value minus the server's truth of that run; an allowance is the error of a
 * percentile of ITL over 2 % of the truth and 0.1 ms, so that 1 is the most that is allowed, also where the truth is 0.
 */
export type Figure =
  | "cpuS"
  | "cpuPerTokenUs"
  | "peakMB"
  | "tenthMB"
  | "laterMB"
  | "growthMB"
  | "recordsMB"
  | "tokensPerS"
  | "requestsPerS"
  | "deliveredShare"
  | "completedShare"
  | "mostInFlight"
  | "ttftMeanErrorMs"
  | "ttftP50ErrorMs"
  | "ttftP99ErrorMs"
  | "itlP50Error"
  | "itlP90Error"
  | "itlP99Error"
  | "itlP50Allowance"
  | "itlP90Allowance"
  | "itlP99Allowance"
  | "firstRequestS"
  | "valid"
  | "validRate"
  | "sentShare"
  | keyof TurnFigures;

export interface BenchCase {
  readonly name: string;
  readonly what: string;
  /** Flags of `k6 x tokenclock simulate`. */
  readonly simulator: readonly string[];
  readonly path: string;
  readonly load: Load;
  /** Loads of clients that would take minutes for the full one. */
  readonly smaller?: Partial<Record<ClientName, Load>>;
  /** With --quick. */
  readonly quick: Load;
  readonly clients: readonly ClientName[];
  /** The client shares one core with a busy loop; the server has the others. */
  readonly crowded?: boolean;
  /** The client is stopped (SIGSTOP) so many seconds after its start, each time for `forS`. */
  readonly frozen?: { readonly atS: readonly number[]; readonly forS: number };
  /** The client may use this share of one core (a cgroup's quota). */
  readonly coreShare?: number;
  /** The clients keep a record of every request in a file. */
  readonly records?: boolean;
  /** This project's client speaks HTTP/2. */
  readonly http2?: boolean;
  /** The load's rate is not given but found. */
  readonly search?: RateSearch;
  /** Memory over time is its subject. It takes too long for the default run, so it runs only when it is named. */
  readonly soak?: boolean;
  readonly targets: readonly Target[];
}

const chat = "/v1/chat/completions";
const paced = ["--ttft", "uniform:40ms,60ms", "--itl", "10ms"];

function closed(streams: number, requests: number, tokens: number): Load {
  return { kind: "closed", streams, requests, tokens, requestS: 0.05 + (tokens - 1) * 0.01 };
}

/** The server stops every half second for 25 ms; what fell due meanwhile then comes at once. */
const bursty = [...paced, "--stall-every", "500ms", "--stall-for", "25ms", "--catch-up"];

/** The bounds within which times are true. */
function trueTimes(of: ClientName): Target[] {
  const itl = (["P50", "P90", "P99"] as const).map(
    (p): Target => ({
      what: `${of}: ITL ${p.toLowerCase()}, of the allowed error`,
      figure: `itl${p}Allowance`,
      of,
      atMost: 1,
      unit: "",
    }),
  );
  return [{ what: `${of}: TTFT mean error`, figure: "ttftMeanErrorMs", of, atMost: 0.3, unit: "ms" }, ...itl];
}

/** CPU, start-up included, against another client's. */
const cpu = (per: ClientName, atMost: number): Target => ({
  what: `CPU / ${per}`,
  figure: "cpuS",
  of: "tokenclock",
  per,
  atMost,
  unit: "x",
});

const firstRequest: Target = {
  what: "first request behind the start",
  figure: "firstRequestS",
  of: "tokenclock",
  atMost: 0.3,
  unit: "s",
};

/** The clients that are compared in what every client can do. */
const compared = ["tokenclock", "vllm-rs", "floor"] as const;

const delivered: Target = {
  what: "share of the asked load",
  figure: "deliveredShare",
  of: "tokenclock",
  atLeast: 0.99,
  unit: "",
};

/** 20 million tokens: memory must not grow with them. */
const soak: Omit<BenchCase, "name" | "what"> = {
  simulator: [...["--itl", "0", "--events-per-write", "32"], ...["--max-model-len", "100000", "--keep-sends", "0"]],
  path: chat,
  load: { kind: "closed", streams: 8, requests: 625, tokens: 4000 },
  quick: { kind: "closed", streams: 8, requests: 10, tokens: 4000 },
  clients: ["tokenclock"],
  soak: true,
  targets: [{ what: "memory's growth after a tenth", figure: "growthMB", of: "tokenclock", atMost: 10, unit: "MB" }],
};

const ofScenario = (what: string, figure: Figure, limit: Pick<Target, "atMost" | "atLeast" | "unit">): Target => ({
  what,
  figure,
  of: "tokenclock-scenario",
  ...limit,
});

/** What conversations say turn by turn is the truth, and no latency holds a think time. */
const turnTargets: readonly Target[] = [
  ofScenario("share of the requests that completed", "completedShare", { atLeast: 1, unit: "" }),
  ofScenario("requests without their truth", "unmatched", { atMost: 0, unit: "requests" }),
  ofScenario("TTFT mean error of the worst turn", "turnTtftErrorMs", { atMost: 0.5, unit: "ms" }),
  ofScenario("requests with other input or cached input than the server counted", "cachedWrong", {
    ...{ atMost: 0, unit: "requests" },
  }),
  ofScenario("error of the cached share, of the worst turn", "turnCachedError", { atMost: 0, unit: "" }),
  ofScenario("scheduled latency beyond the server's, of the worst turn", "thinkErrorMs", { atMost: 100, unit: "ms" }),
  ofScenario("shortest mean think time of a turn", "leastThinkMs", { atLeast: 500, unit: "ms" }),
];

/** Turns of few words with long times between them. */
const long = { inputTokens: 32, think: "uniform:14000:17000", beginsPerS: 400, requestS: 0.75 } as const;

/** A turn of 64 tokens after one to three seconds. */
const talk = { inputTokens: 64, think: "uniform:1000:3000", beginsPerS: 200, requestS: 0.1 } as const;

export const cases: readonly BenchCase[] = [
  {
    name: "streams-100",
    what: "100 streams x 100 tokens/s",
    simulator: paced,
    path: chat,
    load: closed(100, 6, 200),
    quick: closed(100, 1, 200),
    clients: [
      ...(["tokenclock", "tokenclock-socket", "vllm-rs", "floor", "xk6-sse", "sse-scenario"] as const),
      ...(["locust", "vllm", "guidellm", "aiperf", "inference-perf"] as const),
    ],
    targets: [
      ...trueTimes("tokenclock"),
      ...trueTimes("tokenclock-socket"),
      cpu("vllm-rs", 0.4),
      cpu("xk6-sse", 0.25),
      delivered,
    ],
  },
  {
    name: "streams-300",
    what: "300 streams x 100 tokens/s",
    simulator: paced,
    path: chat,
    load: closed(300, 6, 200),
    quick: closed(300, 1, 200),
    clients: [
      ...(["tokenclock", "vllm-rs", "floor", "xk6-sse"] as const),
      ...(["locust", "vllm", "guidellm", "aiperf", "inference-perf"] as const),
    ],
    targets: [...trueTimes("tokenclock"), cpu("vllm-rs", 0.3), cpu("floor", 0.6), delivered],
  },
  {
    name: "bursty-300",
    what: "300 streams x 100 tokens/s from a server that stalls 25 ms every 500 ms and catches up",
    simulator: bursty,
    path: chat,
    load: closed(300, 4, 200),
    quick: closed(300, 1, 200),
    clients: ["tokenclock", "tokenclock-socket", "vllm-rs", "floor"],
    targets: [
      ...trueTimes("tokenclock"),
      ...trueTimes("tokenclock-socket"),
      cpu("vllm-rs", 0.3),
      cpu("floor", 0.6),
      delivered,
    ],
  },
  {
    name: "saturated-1000",
    what: "1,000 streams that ask for 100,000 tokens/s of a server that cannot, so that tokens come in bursts",
    simulator: [...paced, "--catch-up"],
    path: chat,
    load: closed(1000, 1, 256),
    quick: closed(1000, 1, 20),
    clients: compared,
    targets: [
      ...trueTimes("tokenclock"),
      cpu("vllm-rs", 0.4),
      { what: "peak memory", figure: "peakMB", of: "tokenclock", atMost: 150, unit: "MB" },
      {
        what: "delivered load / vllm-rs",
        figure: "deliveredShare",
        of: "tokenclock",
        per: "vllm-rs",
        atLeast: 1,
        unit: "x",
      },
      firstRequest,
    ],
  },
  {
    name: "frozen",
    what: "100 streams x 100 tokens/s, the client stopped twice for 1.5 s",
    simulator: paced,
    path: chat,
    load: closed(100, 6, 200),
    quick: closed(100, 1, 200),
    clients: compared,
    frozen: { atS: [1.5, 6], forS: 1.5 },
    targets: trueTimes("tokenclock"),
  },
  {
    name: "quota-10",
    what: "100 streams x 100 tokens/s, the client limited to a tenth of a core",
    simulator: paced,
    path: chat,
    load: closed(100, 6, 200),
    quick: closed(100, 1, 50),
    clients: compared,
    coreShare: 0.1,
    targets: trueTimes("tokenclock"),
  },
  {
    name: "tls",
    what: "100 streams x 100 tokens/s over TLS",
    simulator: [...paced, "--tls"],
    path: chat,
    load: closed(100, 6, 200),
    quick: closed(100, 1, 200),
    clients: ["tokenclock", "xk6-sse"],
    targets: [],
  },
  {
    name: "http2",
    what: "100 streams x 100 tokens/s over TLS and HTTP/2, a connection each",
    simulator: [...paced, "--tls"],
    path: chat,
    load: closed(100, 6, 200),
    quick: closed(100, 1, 200),
    clients: ["tokenclock"],
    http2: true,
    targets: [],
  },
  {
    name: "crowded",
    what: "100 streams x 100 tokens/s, the client on one core beside a busy loop",
    simulator: paced,
    path: chat,
    load: closed(100, 6, 200),
    quick: closed(100, 1, 200),
    clients: ["tokenclock", "vllm-rs", "floor", "xk6-sse"],
    crowded: true,
    targets: trueTimes("tokenclock"),
  },
  {
    name: "unpaced",
    what: "8 streams of 4,000 tokens, as fast as the client takes them",
    simulator: ["--itl", "0", "--events-per-write", "32"],
    path: chat,
    load: { kind: "closed", streams: 8, requests: 30, tokens: 4000 },
    smaller: { "xk6-sse": { kind: "closed", streams: 8, requests: 3, tokens: 4000 } },
    quick: { kind: "closed", streams: 8, requests: 2, tokens: 4000 },
    clients: ["tokenclock", "xk6-sse", "floor"],
    targets: [
      {
        what: "tokens/s / xk6-sse",
        figure: "tokensPerS",
        of: "tokenclock",
        per: "xk6-sse",
        atLeast: 20,
        unit: "x",
      },
      { what: "tokens/s / floor", figure: "tokensPerS", of: "tokenclock", per: "floor", atLeast: 0.95, unit: "x" },
      { what: "tokens/s", figure: "tokensPerS", of: "tokenclock", atLeast: 1_000_000, unit: "tokens/s" },
    ],
  },
  {
    name: "open-10000",
    what: "10,000 streams open at once from 4 VUs, 1 token/s each",
    simulator: ["--ttft", "uniform:3s,4s", "--itl", "1s"],
    path: chat,
    load: { kind: "start", streams: 10_000, requests: 1, tokens: 10, requestS: 13 },
    quick: { kind: "start", streams: 1000, requests: 1, tokens: 3, requestS: 6 },
    clients: ["tokenclock"],
    targets: [
      { what: "peak memory", figure: "peakMB", of: "tokenclock", atMost: 250, unit: "MB" },
      firstRequest,
      { what: "streams open at once", figure: "mostInFlight", of: "tokenclock", atLeast: 10_000, unit: "" },
      { what: "TTFT mean error", figure: "ttftMeanErrorMs", of: "tokenclock", atMost: 2, unit: "ms" },
    ],
  },
  {
    name: "batch-2000",
    what: "2,000 requests released at once",
    simulator: ["--ttft", "500ms", "--itl", "50ms"],
    path: chat,
    load: { kind: "batch", streams: 2000, requests: 1, tokens: 20, requestS: 1.45 },
    quick: { kind: "batch", streams: 500, requests: 1, tokens: 5, requestS: 0.7 },
    clients: ["tokenclock", "floor"],
    targets: [{ what: "TTFT mean error", figure: "ttftMeanErrorMs", of: "tokenclock", atMost: 2, unit: "ms" }],
  },
  {
    name: "vus-2000",
    what: "2,000 VUs that start at once, a request each",
    simulator: ["--ttft", "500ms", "--itl", "50ms"],
    path: chat,
    load: { kind: "vus", streams: 2000, requests: 1, tokens: 20, requestS: 1.45 },
    quick: { kind: "vus", streams: 500, requests: 1, tokens: 5, requestS: 0.7 },
    clients: ["tokenclock", "xk6-sse", "floor"],
    targets: [
      { what: "TTFT mean error", figure: "ttftMeanErrorMs", of: "tokenclock", atMost: 2, unit: "ms" },
      {
        what: "share of the requests that completed",
        figure: "completedShare",
        of: "tokenclock",
        atLeast: 1,
        unit: "",
      },
    ],
  },
  {
    name: "json",
    what: "one-token JSON requests, 10 in flight",
    simulator: ["--ttft", "0"],
    path: "/tokenizer",
    load: { kind: "json", streams: 10, requests: 8000, tokens: 1 },
    quick: { kind: "json", streams: 10, requests: 1000, tokens: 1 },
    clients: ["tokenclock", "floor"],
    targets: [{ what: "requests/s", figure: "requestsPerS", of: "tokenclock", atLeast: 8000, unit: "requests/s" }],
  },
  {
    name: "sessions-1000",
    what: "1,000 conversations of 8 turns, all open at once, on an engine with a prefix cache",
    simulator: [
      ...["--step-time", "5ms", "--sequence-time", "10us", "--prefill-rate", "200000", "--max-num-seqs", "1024"],
      ...["--max-num-batched-tokens", "8192", "--num-gpu-blocks", "100000"],
      ...["--enable-prefix-caching", "--enable-prompt-tokens-details"],
    ],
    path: chat,
    load: { kind: "sessions", streams: 1000, requests: 8, tokens: 16, ...talk },
    quick: { kind: "sessions", streams: 50, requests: 8, tokens: 4, ...talk },
    clients: ["tokenclock-scenario"],
    targets: [
      ...turnTargets,
      ofScenario("sessions open at once", "mostSessions", { atLeast: 1000, unit: "sessions" }),
      ofScenario("peak memory", "peakMB", { atMost: 300, unit: "MB" }),
    ],
  },
  {
    name: "sessions-5000",
    what: "5,000 conversations open at once, of 2 turns, in one process of four VUs",
    simulator: ["--ttft", "uniform:300ms,500ms", "--itl", "50ms", "--enable-prompt-tokens-details"],
    path: chat,
    load: { kind: "sessions", streams: 5000, requests: 2, tokens: 8, ...long },
    quick: {
      kind: "sessions",
      streams: 200,
      requests: 2,
      tokens: 8,
      ...long,
      think: "uniform:700:900",
    },
    clients: ["tokenclock-scenario"],
    targets: [
      ...turnTargets,
      ofScenario("sessions open at once", "mostSessions", { atLeast: 5000, unit: "sessions" }),
      ofScenario("VUs that held them", "vus", { atMost: 4, unit: "VUs" }),
      ofScenario("peak memory", "peakMB", { atMost: 450, unit: "MB" }),
    ],
  },
  {
    name: "rate-80",
    what: "requests at 80 % of the largest rate at which the client calls itself valid here",
    simulator: ["--ttft", "20ms", "--itl", "5ms"],
    path: chat,
    load: { kind: "rate", streams: 0, requests: 10, tokens: 4, inputTokens: 16, requestS: 0.035 },
    quick: { kind: "rate", streams: 0, requests: 2, tokens: 4, inputTokens: 16, requestS: 0.035 },
    search: { from: 500, least: 50, most: 64_000, precision: 0.1, trialS: 4, attempts: 2, share: 0.8 },
    clients: ["tokenclock-scenario"],
    targets: [
      ofScenario("sent rate, of the scheduled one", "sentShare", { atLeast: 0.99, unit: "" }),
      ofScenario("runs in which the client calls itself valid", "valid", { atLeast: 1, unit: "" }),
      ofScenario("requests that completed, of those scheduled", "completedShare", { atLeast: 1, unit: "" }),
      ofScenario("TTFT mean error", "ttftMeanErrorMs", { atMost: 0.3, unit: "ms" }),
    ],
  },
  { ...soak, name: "soak", what: "20 million tokens, as fast as the client takes them" },
  { ...soak, name: "soak-records", what: "the same with a record of every request in a file", records: true },
];

/** The request's body, as all clients send it. */
export function bodyOf(load: Load): string {
  if (load.kind === "json") return JSON.stringify({ output_tokens: load.tokens, input_text: "abcdefgh" });
  return JSON.stringify({
    model: "simulated",
    messages: [{ role: "user", content: "Say something of some length about nothing in particular." }],
    max_tokens: load.tokens,
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
  });
}
