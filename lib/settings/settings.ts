/** The settings of all scenarios: names, defaults and what is allowed. Pure: config.ts reads them, parse-settings.ts checks them. */
import type { Distribution } from "../workload/distribution";
import { builtInApis, readyWireNames } from "./apis";
import { presetNames } from "./presets";
import {
  abandonment,
  anyText,
  anyUrl,
  arrival,
  baseUrl,
  clientsPerVU,
  columns,
  command,
  coordinatorUrl,
  distribution,
  duration,
  file,
  folder,
  headerName,
  headers,
  jsonObject,
  jsonPointer,
  type Kind,
  list,
  metricNames,
  metricsUrls,
  number,
  oneOf,
  optional,
  optionalDuration,
  origins,
  pattern,
  popularity,
  positiveDuration,
  powerMetric,
  salt,
  secret,
  steps,
  textOf,
  traceWindow,
  urlPath,
  wait,
  warmup,
  whole,
  wholes,
  wireFile,
  word,
  yesNo,
} from "./value-kinds";

export { formatDurationMs, parseDurationMs } from "./duration";
export { SettingError } from "./setting-error";
export type { Arrival, LoadStep, Pattern, Warmup } from "./value-kinds";

/** A setting: the kind of its values, its default, and its line in docs/settings.md. */
export interface Setting<T> extends Kind<T> {
  readonly initial: T;
  readonly doc: string;
}

function setting<T>(kind: Kind<T>, initial: T, doc: string): Setting<T> {
  return { ...kind, initial, doc };
}

const sloMs = optional(number(0.001, 3_600_000));

/** Every setting there is, in the order in which documentation lists them. */
export const settings = {
  BASE_URL: setting(
    baseUrl,
    "",
    "Address of the server. For OpenAI's APIs it ends in /v1, as in their SDKs; for others it is what stands before the API's own path. Every run needs one.",
  ),
  SIMULATE: setting(
    yesNo,
    false,
    "Load a simulated server, which `npm start` starts for the run, instead of a BASE_URL. `npm start` without arguments does the same.",
  ),
  API: setting(
    oneOf(...builtInApis, ...readyWireNames, "custom"),
    "chat",
    "The API that the server speaks. custom is one that WIRE describes; json is any endpoint with JSON replies, named by ENDPOINT or TARGETS. docs/wires.md describes those of other servers than OpenAI's and Anthropic's.",
  ),
  WIRE: setting(
    wireFile,
    "",
    "File that describes an API which is not built in: its requests, and where its responses have text, token counts and the end; see docs/wires.md. API=custom only.",
  ),
  MODEL: setting(anyText, "", "Model name in the requests; by default the first that the server's /models lists."),
  API_KEY: setting(secret, "", "Sent as `Authorization: Bearer`; never written anywhere."),
  API_KEY_FILE: setting(file, "", "File with the key instead of API_KEY; read again when it changes, and on HTTP 401."),
  API_KEY_COMMAND: setting(
    command,
    "",
    "Shell command that prints the key; run again before the key expires, and on HTTP 401. Never written anywhere.",
  ),
  API_KEY_LIFETIME: setting(
    optionalDuration,
    undefined,
    "How long a key of API_KEY_COMMAND is valid. A JWT names its own expiry, other keys do not.",
  ),
  OAUTH_TOKEN_URL: setting(anyUrl, "", "Token endpoint of OAuth's client credentials grant, which gives the keys."),
  OAUTH_CLIENT_ID: setting(word, "", "Client id for OAUTH_TOKEN_URL."),
  OAUTH_CLIENT_SECRET: setting(secret, "", "Client secret for OAUTH_TOKEN_URL; never written anywhere."),
  OAUTH_CLIENT_SECRET_FILE: setting(
    file,
    "",
    "File with the client secret, instead of OAUTH_CLIENT_SECRET; read at each renewal.",
  ),
  OAUTH_SCOPE: setting(anyText, "", "Scopes that the request to OAUTH_TOKEN_URL names, separated by blanks."),
  OAUTH_AUDIENCE: setting(anyText, "", "Audience that the request to OAUTH_TOKEN_URL names."),
  AWS_SERVICE: setting(
    word,
    "",
    "Sign requests for this AWS service (bedrock, execute-api) with Signature Version 4. The credentials are those of API_KEY_COMMAND or API_KEY_FILE, else of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment.",
  ),
  AWS_REGION: setting(word, "", "AWS region of the signatures; with AWS_SERVICE."),
  HEADERS: setting(
    headers,
    {},
    "More headers of every request; their values are never written anywhere. Placeholders such as `{{uuid}}` and `{{key}}` are filled in, see docs/keys.md.",
  ),
  KEY_ORIGINS: setting(
    origins,
    [],
    "Servers that are sent the key and HEADERS beside BASE_URL's. No other is, see docs/keys.md.",
  ),
  TRACEPARENT: setting(
    yesNo,
    false,
    "Send each request a trace of its own in the header traceparent; its id is in the records (traceId).",
  ),
  TLS_CERT: setting(file, "", "The client's certificate for mutual TLS, PEM; with TLS_KEY."),
  TLS_KEY: setting(file, "", "Private key of TLS_CERT, PEM without a password."),
  TLS_CA: setting(file, "", "Certificates of authorities, PEM, that are trusted beside the system's."),
  TLS_SKIP_VERIFY: setting(yesNo, false, "Do not check the server's certificate."),
  TIMEOUT: setting(positiveDuration, 600_000, "Limit of one request, from sent to its last byte."),
  STAMPS: setting(
    oneOf("auto", "ring", "socket", "user"),
    "auto",
    "Where arrival times come from: a packet ring (Linux with CAP_NET_RAW), the sockets, or this process's own clock; auto takes the best there is.",
  ),
  LIVE: setting(
    oneOf("auto", "true", "false"),
    "auto",
    "A line a second on standard error while the load runs: counts, tokens/s, TTFT, time left. auto writes it if standard error is a terminal and k6 is not --quiet.",
  ),
  HTTP2: setting(yesNo, false, "Speak HTTP/2 (https: by ALPN; http: by prior knowledge)."),
  STREAM: setting(yesNo, true, "Ask for an event stream; false waits for whole replies."),

  CONTINUOUS_USAGE: setting(
    yesNo,
    false,
    "Ask for token counts in every chunk (vLLM): exact tokens per chunk for ITL.",
  ),

  CONCURRENCY: setting(
    wholes(1, 100_000),
    [1, 2, 4, 8],
    "Number of clients, each of which sends its next request when its previous one completes; a level for each number.",
  ),
  REQUESTS: setting(optional(whole(1, 1e9)), undefined, "Number of steady requests of a level; excludes DURATION."),
  DURATION: setting(optionalDuration, undefined, "Length of a level's steady part; excludes REQUESTS."),
  WARMUP: setting(
    warmup,
    { perSlot: 1 },
    "Warm-up before a level, which is in no metric of the level. The steady part begins without waiting for the last requests of the warm-up.",
  ),
  CLIENTS_PER_VU: setting(
    clientsPerVU,
    "auto",
    "How many clients of a level, or requests in flight of an open load, one k6 VU carries; 1 runs a VU for each.",
  ),
  MAX_DURATION: setting(
    positiveDuration,
    86_400_000,
    "Limit of the whole run; a run that reaches it is cut short and fails.",
  ),
  MAX_STOLEN: setting(
    number(0, 100),
    0.5,
    "How many percent of the processors' time a hypervisor may take from the client's machine in a level before the run is CLIENT-BOUND; see docs/troubleshooting.md.",
  ),

  RATE: setting(
    list("numbers", /^\d+(\.\d+)?$/, 0.001, 1e6),
    [1],
    "Requests a second; a level for each rate, DURATION long.",
  ),
  STAGES: setting(steps, [], "A ramp instead of constant rates: requests a second, or users with LOOP=closed."),
  PATTERN: setting(
    pattern,
    undefined,
    "A rate that repeats itself, DURATION long, instead of constant rates: a sine, or spikes at the end of each period.",
  ),
  RATE_FILE: setting(
    file,
    "",
    "A CSV with the columns time (s) and rate (requests a second) instead of constant rates; see docs/scenarios.md.",
  ),
  ARRIVAL: setting(arrival, { kind: "constant" }, "How arrivals are spread in time."),
  LOOP: setting(oneOf("open", "closed"), "open", "What STAGES counts: arrivals a second (open) or users (closed)."),
  MAX_IN_FLIGHT: setting(
    whole(1, 100_000),
    1000,
    "Maximum of requests in flight at once under an open load; further requests wait.",
  ),
  TRACE: setting(
    file,
    "",
    "File of requests with their times: Mooncake and its dialects, Azure, BurstGPT, or prompts with times; see docs/datasets.md.",
  ),
  TRACE_UNIT: setting(
    oneOf("auto", "s", "ms", "us", "ns"),
    "auto",
    "Unit of TRACE's times. auto infers it: numbers with fractions are s, times since 1970 have the unit that fits their number of digits, everything else is ms.",
  ),
  TRACE_BLOCK: setting(
    optional(whole(1, 1_000_000)),
    undefined,
    "Input tokens that one of TRACE's hash_ids stands for; by default the size that fits all rows.",
  ),
  TRACE_WINDOW: setting(traceWindow, undefined, "Part of TRACE that is sent."),
  SPEED: setting(number(0.001, 1e6), 1, "How many times as fast TRACE is sent as it was recorded."),

  MIX: setting(file, "", "JSON file of the classes of load that run at once; see docs/scenarios.md."),
  SESSIONS: setting(
    optional(whole(1, 1e9)),
    undefined,
    "Number of conversations of a level, each sent to its last turn. REQUESTS (a number of turns) or DURATION may end a level instead.",
  ),
  SESSION_TURNS: setting(
    distribution,
    { kind: "fixed", value: 4 },
    "Turns of a synthetic conversation: number or distribution.",
  ),
  HISTORY: setting(
    oneOf("auto", "live", "recorded"),
    "auto",
    "Answers in the history of a turn: the server's own (live) or those of the file (recorded); auto takes the file's where it has all of them.",
  ),
  THINK_TIME: setting(
    wait,
    { kind: "recorded" },
    "Wait between an answer and the user's next turn. No latency and no queue delay contains it. A synthetic conversation has no recorded wait: its default is 0.",
  ),
  TOOL_TIME: setting(wait, { kind: "recorded" }, "Wait between a tool call and the turn with its result."),
  TOOL_ROUNDS: setting(
    whole(0, 100),
    0,
    "Maximum of tool calls after one user turn of a synthetic conversation. Above 0 its requests offer the model a tool.",
  ),
  TOOL_TOKENS: setting(
    distribution,
    { kind: "fixed", value: 64 },
    "Length of a tool's result in tokens, with TOOL_ROUNDS.",
  ),
  WAIT_CAP: setting(optionalDuration, undefined, "Upper limit of every THINK_TIME and TOOL_TIME."),
  WAIT_SCALE: setting(number(0, 1000), 1, "Factor for every THINK_TIME and TOOL_TIME, applied before WAIT_CAP."),
  SESSION_HEADER: setting(
    headerName,
    "X-Session-ID",
    "Header with the session's id in every request, for routers that keep a session on one replica; none sends no such header.",
  ),
  SESSION_ECHO: setting(
    headerName,
    "",
    "Header of the server's answers whose value the session's next requests send back, such as x-session-token.",
  ),
  ABANDON: setting(
    abandonment,
    undefined,
    "Share of turns that the client abandons, and when: a time after the request was sent, or a number of output tokens. The session ends there.",
  ),

  SEARCH_START: setting(
    number(0.001, 100_000),
    1,
    "Rate (LOOP=closed: clients) that a search for capacity probes first.",
  ),
  SEARCH_MOST: setting(number(0.001, 100_000), 1000, "The highest rate or number of clients that a search probes."),
  ATTAINMENT: setting(number(50, 99.9), 90, "Share of requests, %, that must meet every SLO for a probe to pass."),
  PRECISION: setting(
    number(1, 100),
    15,
    "The search ends when the lowest load that failed is at most this many % above the highest that passed.",
  ),
  CONFIDENCE: setting(number(50, 99.9), 95, "Probability, %, with which the interval contains the capacity."),
  PROBES: setting(whole(2, 100), 20, "Maximum of probes of a search."),
  PROBE_SD: setting(
    number(0, 20),
    3,
    "Standard deviation, in %, of the load that the server carries from one probe to the next; it widens the interval.",
  ),
  PROBE_TIME: setting(
    positiveDuration,
    300_000,
    "Maximum length of a probe's steady part; a probe without a result by then is undecided.",
  ),
  PROBE_REQUESTS: setting(
    whole(100, 1_000_000),
    500,
    "Minimum of requests of a probe. Requests close in time influence each other, so a few requests prove little.",
  ),
  PROBE_MOST_REQUESTS: setting(
    whole(100, 1_000_000),
    20_000,
    "Maximum of requests of a probe; a probe without a result by then is undecided.",
  ),

  BATCH_SIZES: setting(
    wholes(1, 100_000),
    [1, 2, 4, 8],
    "Number of requests released at once; a level for each number.",
  ),
  RUNS: setting(whole(1, 10_000), 3, "How often a batch is repeated."),
  STAGGER: setting(duration, 0, "Time between two sends of a batch; 0 releases it at once."),
  REFILL: setting(
    yesNo,
    false,
    "Start a request whenever one of the batch completes, instead of waiting for the slowest.",
  ),
  INPUT_LENGTHS: setting(
    wholes(1, 10_000_000),
    [32, 128, 512, 1024, 2048],
    "Prompt lengths of prompt-ingestion, tokens.",
  ),
  DESCRIPTION: setting(anyText, "", "A text that is copied into the results."),

  DATASET: setting(
    textOf("prompts, chats or token-ids (shipped sets), or a file"),
    "",
    "Prompts: a shipped set, or a file in any format of docs/datasets.md. Its rows are sent one after the other, through warm-up and all levels. By default prompts are synthetic.",
  ),
  DATASET_LIMIT: setting(optional(whole(1, 1e9)), undefined, "Maximum of DATASET's rows that are used."),
  DATASET_SHUFFLE: setting(
    yesNo,
    false,
    "Shuffles DATASET's rows, in an order that SEED decides, before DATASET_LIMIT is applied.",
  ),
  DATASET_COLUMNS: setting(
    columns,
    [],
    "Roles of DATASET's or TRACE's columns whose names are not known; the role ignore leaves a column out.",
  ),
  TURNS: setting(
    oneOf("auto", "first", "last", "timed"),
    "auto",
    "What is sent of a conversation: its first turn, its last turn with the recorded history, or each turn of a TRACE at its own time; auto sends the first turn of ShareGPT and the like, and refuses other conversations.",
  ),
  INPUT_TOKENS: setting(distribution, { kind: "fixed", value: 128 }, "Input length in tokens: number or distribution."),
  OUTPUT_TOKENS: setting(
    distribution,
    { kind: "fixed", value: 128 },
    "Output length in tokens: number or distribution.",
  ),
  MAX_INPUT_TOKENS: setting(
    optional(whole(1, 10_000_000)),
    undefined,
    "Cuts a dataset's token-id prompts to this length.",
  ),
  MAX_OUTPUT_TOKENS: setting(optional(whole(1, 10_000_000)), undefined, "Upper limit of every output length."),
  IGNORE_EOS: setting(
    yesNo,
    true,
    "Force the output length: min_tokens and ignore_eos are sent, and a request that gets fewer tokens fails.",
  ),
  SHARED_PREFIX: setting(
    whole(0, 10_000_000),
    0,
    "Leading tokens that all prompts of a run share; the rest is unique to each.",
  ),
  PREFIX_GROUPS: setting(
    whole(1, 1_000_000),
    1,
    "How many different shared prefixes there are; each prompt or session begins with one of them.",
  ),
  PREFIX_POPULARITY: setting(popularity, { kind: "uniform" }, "How often each of the PREFIX_GROUPS prefixes is used."),
  TOKEN_IDS: setting(yesNo, false, "Send synthetic prompts as token ids: exact input lengths (completions only)."),
  TEMPERATURE: setting(optional(number(0, 100)), undefined, "Sampling temperature; by default not sent."),
  EXTRA_BODY: setting(jsonObject, {}, "Merged into every request body; null takes a field out."),
  SMOKE: setting(
    yesNo,
    false,
    "Smoke run: sends one request a level and judges failures alone, to see that the test works.",
  ),
  SEED: setting(
    whole(0, 2 ** 31 - 1),
    1,
    "Seed of the workload's lengths, order and arrivals. It is never sent to the server, unless the body of a WIRE has a place for it.",
  ),
  SALT: setting(
    salt,
    "",
    "Decides the words of synthetic prompts. By default every run draws a new one, so that no prefix cache knows the words, and writes it into its results. The same SEED and SALT send the same prompts.",
  ),
  CACHE: setting(
    oneOf("cold", "warm"),
    "cold",
    "What the server's prefix cache may have of the run's prompts. cold: nothing; a run that gets more than 1 % of its input from the cache is CACHE-BOUND and passes no gate. warm: anything; the share is reported. The default is warm with SHARED_PREFIX or with a TRACE that names blocks, else cold.",
  ),
  LENGTHS: setting(
    textOf("short, medium, long, mixed, or numbers of words such as 10,500; separated by commas"),
    "",
    "Lengths of the texts of embeddings-burst.",
  ),

  METHOD: setting(oneOf("GET", "POST", "PUT"), "POST", "HTTP method; API=json only."),
  ENDPOINT: setting(urlPath, "", "Path below the host of BASE_URL, or a whole address, instead of the API's own."),
  TARGETS: setting(
    file,
    "",
    "File with a path or address in each line; requests go to them one after the other. API=json only.",
  ),
  BODY: setting(anyText, "", "Request body; {{prompt}}, {{model}}, {{max_tokens}} are filled in; API=json only."),
  INPUT_TOKENS_POINTER: setting(jsonPointer, "", "JSON pointer to a reply's input token count; API=json only."),
  OUTPUT_TOKENS_POINTER: setting(jsonPointer, "", "JSON pointer to a reply's output token count; API=json only."),

  METRICS_URL: setting(
    metricsUrls,
    [],
    "Prometheus metrics pages that are polled, such as those of the server and its GPUs; by default /metrics on BASE_URL's host. Keys go to BASE_URL's own host only.",
  ),
  METRICS: setting(metricNames, "auto", "Which metrics of METRICS_URL are read; auto reads those of all presets."),
  METRICS_INTERVAL: setting(positiveDuration, 1000, "Time between two polls of METRICS_URL."),
  POWER_METRIC: setting(
    powerMetric,
    "",
    "Metric of METRICS_URL with the power or energy of the whole server, for joules per token; by default DCGM's or Triton's.",
  ),
  SPEED_THRESHOLD: setting(
    number(0, 1e6),
    20,
    "Minimum of tokens/s of one request that the report counts as fast enough.",
  ),
  PHASE: setting(oneOf("both", "full", "prefill"), "both", "Which half of prefill-decode to run."),
  PAUSE: setting(duration, 0, "Idle time between the phases of prefill-decode."),
  RESET_URL: setting(
    urlPath,
    "",
    "Gets a POST before each phase of prefill-decode, to empty the server's prefix cache; for example /reset_prefix_cache. On another host than BASE_URL's it gets no key and no headers.",
  ),
  BETWEEN: setting(
    command,
    "",
    "Command that `npm start` runs between the phases of prefill-decode, such as a restart of the server; never written anywhere.",
  ),
  BETWEEN_TIMEOUT: setting(
    positiveDuration,
    600_000,
    "Time limit of BETWEEN's command, and again of the wait until BASE_URL answers after it.",
  ),

  SLICES: setting(whole(8, 1000), 10, "Equal parts of a soak's DURATION that are compared."),
  DRIFT_LIMIT: setting(
    number(0, 1000),
    5,
    "How many percent a soak's TTFT and TPOT may rise and its throughput may fall over DURATION. A change that may be chance is no drift.",
  ),
  CLIENT_MEMORY_LIMIT: setting(
    number(0, 1_000_000),
    256,
    "How many MB the client's memory may grow over a soak's DURATION; with several runners, the memory of each.",
  ),
  CURVE_PROFILE: setting(
    oneOf("short", "full"),
    "short",
    "How long each point of endpoints-curve lasts. short: 10 s for the lowest concurrency and 20 s for the others, or DURATION for all. full: 600 s and 1200 s, as the rules of MLPerf Endpoints ask.",
  ),
  CURVE_MIN: setting(whole(1, 32), 1, "The lowest concurrency of endpoints-curve, without CONCURRENCY."),
  CURVE_MAX: setting(whole(33, 100_000), 256, "The highest concurrency of endpoints-curve, without CONCURRENCY."),
  PRESET: setting(
    optional(oneOf(...presetNames)),
    undefined,
    "Makes the lengths and SLOs of a known workload the defaults, [listed below](#presets).",
  ),

  THRESHOLDS: setting(
    textOf("smoke, interactive, batch, none, or a JSON file"),
    "smoke",
    "Threshold profile, [described below](#threshold-profiles).",
  ),
  SLO_TTFT: setting(sloMs, undefined, "Limit of the time to first token, ms: gated and counted into goodput."),
  SLO_TPOT: setting(sloMs, undefined, "Limit of the time per output token, ms: gated and counted into goodput."),
  SLO_E2E: setting(sloMs, undefined, "Limit of the end-to-end latency, ms: gated and counted into goodput."),
  SLO_PERCENTILE: setting(number(1, 100), 95, "Percentile of each level that the SLOs above gate."),
  PRICE_INPUT: setting(optional(number(0, 1e6)), undefined, "Dollars for a million input tokens; with PRICE_OUTPUT."),
  PRICE_OUTPUT: setting(optional(number(0, 1e6)), undefined, "Dollars for a million output tokens; with PRICE_INPUT."),
  PRICE_CACHED: setting(
    optional(number(0, 1e6)),
    undefined,
    "Dollars for a million input tokens from the server's prefix cache; by default PRICE_INPUT.",
  ),
  PRICE_HOUR: setting(
    optional(number(0, 1e6)),
    undefined,
    "Dollars for an hour of the whole server, instead of prices for tokens.",
  ),
  RUNNERS: setting(
    whole(1, 1000),
    1,
    "Instances of k6 that run the load together, each with its --execution-segment; see docs/distributed.md.",
  ),
  COORDINATOR: setting(
    coordinatorUrl,
    "",
    "Address of `k6 x tokenclock coordinate`, where several instances meet. Levels, bursts and arrivals of several instances need it.",
  ),
  COORDINATOR_TOKEN: setting(
    secret,
    "",
    "The secret that instances and coordinator share, better set in the environment; never written anywhere.",
  ),
  COORDINATOR_TOKEN_FILE: setting(file, "", "File with the secret, instead of COORDINATOR_TOKEN."),
  RESULTS: setting(
    folder,
    "",
    "Folder for the run's result files, created if missing; files of an earlier run in it are moved aside. By default `npm start` creates a new folder below results/, and `bin/k6 run` writes no files.",
  ),
};

/** A setting's name. */
export type SettingName = keyof typeof settings;

/** Whether there is a setting of this name. */
export function isSettingName(text: string): text is SettingName {
  return Object.hasOwn(settings, text);
}

type ValueOf<N extends SettingName> = (typeof settings)[N]["initial"];

/** The effective settings. Durations are ms. */
export type Settings = { readonly [N in SettingName]: ValueOf<N> };

/** A scenario's own defaults; lengths may be written as plain numbers. */
export type Defaults = {
  readonly [N in SettingName]?: ValueOf<N> extends Distribution ? Distribution | number : ValueOf<N>;
};

/** The value of one setting; undefined where the text is not allowed. */
export function parseSetting(name: SettingName, text: string): unknown {
  return settings[name].parse(text);
}

/** The settings without secrets, in a form to be read and set again: all, or those of the given names. */
export function shownSettings(
  of: Settings,
  names: readonly SettingName[] = Object.keys(settings) as SettingName[],
): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const name of names) {
    const value = (settings[name] as Setting<unknown>).show(of[name]);
    if (value !== undefined) shown[name] = value;
  }
  // Not in use then; set again beside STAGES it would be refused.
  if (of.STAGES.length > 0 || of.PATTERN !== undefined || of.RATE_FILE !== "") delete shown.RATE;
  return shown;
}

/** The default of a setting where a test has none of its own, as one would type it; "" where there is none. */
export function shownDefault(name: SettingName): string {
  const { initial, show } = settings[name] as Setting<unknown>;
  const shown = show(initial);
  return typeof shown === "object" ? JSON.stringify(shown) : String(shown ?? "");
}

/** docs/settings.md's table, in Markdown. */
export function settingsMarkdown(): string {
  const rows = (Object.keys(settings) as SettingName[]).map((name) => {
    const { doc, allowed } = settings[name];
    const text = shownDefault(name);
    const code = text === "" ? "" : `\`${text}\``;
    return `| \`${name}\` | ${doc} | ${allowed} | ${code} |`;
  });
  return ["| setting | meaning | allowed | default |", "|---|---|---|---|", ...rows, ""].join("\n");
}

/** The one of these names that takes the fewest edits from `wanted`, and how many. */
export function nearestName(wanted: string, names: readonly string[]): { name: string; distance: number } {
  const all = names.map((name) => ({ name, distance: editDistance(wanted, name) }));
  return all.reduce((best, each) => (each.distance < best.distance ? each : best));
}

/** Insertions, deletions, replacements and swaps of neighbours that lead from one text to the other. */
export function editDistance(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1];
      let best = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]) {
        best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      }
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[to.length] ?? 0;
}
