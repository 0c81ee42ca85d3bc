/**
 * The k6 module `k6/x/tokenclock`: sends requests to LLM servers, stamps every receive where it happens (kernel time on
 * Linux), and folds what it measured into k6 metrics, one record a request and one summary a level.
 * All times that JavaScript sees are milliseconds (floats). Nothing here runs JavaScript per token.
 */
declare module "k6/x/tokenclock" {
  /** Wire format of a request and its response. `json` is any JSON reply, its token counts found by JSON pointers, or a stream
   * that Ollama, TGI, llama-server or Triton has of its own; `custom` is what ClientOptions.wire describes. */
  export type Api = "chat" | "completions" | "embeddings" | "responses" | "messages" | "json" | "custom";

  /** A JSON pointer (RFC 6901), in which `*` stands for all items of an array, or several: each value that is there counts. */
  export type Pointers = string | readonly string[];

  /** A value that means something where it stands, such as {at: "/done", is: true}. */
  export interface WireValue {
    readonly at: Pointers;
    readonly is: string | number | boolean;
  }

  /** What ends a stream: data that is no JSON, an event's name, a value, or nothing but the end of the body. */
  export type WireEnd =
    | { readonly data: string }
    | { readonly event: string }
    | WireValue
    | { readonly body: true };

  /** Where in each event, line or reply what is measured stands. A field that is not listed here is refused. What a response
   * holds of none of these places is `malformed`, never completed with guessed tokens; docs/wires.md has the rules. */
  export interface WireResponse {
    /** How the body is cut into JSON texts: server-sent events, a text a line, one text, or as its first bytes tell. */
    readonly format: "sse" | "ndjson" | "json" | "auto";
    /** Output text. One of text, media and items is needed. */
    readonly text?: Pointers;
    /** The text is the whole so far, not what is new. */
    readonly cumulative?: boolean;
    readonly reasoning?: Pointers;
    /** The parts of each call; index and id say which call a piece belongs to. Arguments may be JSON or the text of it. */
    readonly toolCalls?: {
      readonly name?: Pointers;
      readonly arguments?: Pointers;
      readonly id?: Pointers;
      readonly index?: Pointers;
    };
    /** Audio or images, as text (base64): output whose size says nothing about tokens. */
    readonly media?: Pointers;
    /** Items of a reply without text, such as ranks or scores: at least one makes it completed. */
    readonly items?: Pointers;
    readonly finishReason?: Pointers;
    /** Beside a finish reason, which ends a stream too, and `[DONE]`. A stream needs one of the two. */
    readonly end?: WireEnd | readonly WireEnd[];
    /** An error, its message in it or in its `message`. A member `error` at the top is one anyway. */
    readonly error?: Pointers;
    /** Token counts: of the whole request, or growing from event to event. */
    readonly usage?: {
      readonly input?: Pointers;
      readonly output?: Pointers;
      /** A part of the input, and counted in it. */
      readonly cached?: Pointers;
      /** A part of the output, and counted in it unless total says otherwise. */
      readonly reasoning?: Pointers;
      readonly total?: Pointers;
      /** Read from and written to the cache, where input leaves them out. */
      readonly cacheRead?: Pointers;
      readonly cacheWrite?: Pointers;
    };
    /** Names of the events that are read; others are ignored, but for errors. One without a name is `message`. */
    readonly events?: readonly string[];
    /** Where an event's name is, if it is not the event stream's own. */
    readonly eventName?: Pointers;
    /** An event with this value has no output, such as a special token. */
    readonly noOutput?: WireValue | readonly WireValue[];
    /** What makes an event known that says nothing of use. */
    readonly ignore?: Pointers;
  }

  /** Part of a level a request belongs to, by the moment it was sent. Gates and reports judge `steady`. */
  export type Phase = "warmup" | "steady" | "drain";

  /** The one class a failed request is counted under. */
  export type FailureClass =
    | "connect" | "tls" | "timeout" | "http_4xx" | "http_429" | "http_5xx" | "reset" | "truncated" | "error_event"
    | "malformed" | "empty" | "short" | "aborted" | "interrupted";

  export interface ClientOptions {
    /** Address requests go to, path included, e.g. http://127.0.0.1:8000/v1/chat/completions; also unix:///path.sock:/v1/... */
    url: string;
    api: Api;
    /** HTTP method; default POST. HEAD and CONNECT are refused: their answers have no body. */
    method?: string;
    /** Sent with every request, Host and X-Request-Id in place of the client's own; Connection, Content-Length and
     * Transfer-Encoding are refused. Values never appear in a log, record or summary. {{uuid}}, {{id}}, {{session}}, {{level}},
     * {{index}}, {{serial}} and {{vu}} are filled in for each request; {{key}} and {{signature}} by RunSpec.access. */
    headers?: Record<string, string>;
    /** Limit of one request from sent to its last byte, ms; default 600000. Connecting comes before; it has as long, but at
     * most 10 s, and ends as `connect` or `tls`. */
    timeoutMs?: number;
    /** The reply is expected to be an event stream (decides who reads the socket, not how it is parsed); default true for
     * chat, completions, responses and messages. */
    stream?: boolean;
    /** Speak HTTP/2 (https: by ALPN, else HTTP/1.1; http: by prior knowledge). A chunk's time is that of the receive which
     * completed its DATA frame. Default false. */
    http2?: boolean;
    /** JSON pointers (RFC 6901) to the token counts of a reply; api `json` only. */
    inputTokensPointer?: string;
    outputTokensPointer?: string;
    /** How a response reads; api `custom` only, which needs it. A description that cannot be used ends the test with exit code
     * 104. The name stands for it in messages. */
    wire?: { readonly name?: string; readonly response: WireResponse };
    /** Addresses of the servers that may be sent `headers` beside that of `url`; scheme, host and port count. Where it is given,
     * and where a header holds {{key}} or {{signature}}, a request whose own url is of another server is refused. */
    keyOrigins?: readonly string[];
  }

  export interface RequestSpec {
    /** Request body as it goes over the wire; "" for none. */
    body: string | ArrayBuffer;
    /** Overrides of the client's options for this request. */
    url?: string;
    method?: string;
    /** With the placeholders of ClientOptions.headers, but for {{key}} and {{signature}}. */
    headers?: Record<string, string>;
    /** Forced output length in tokens: a reply with fewer is failure `short`. */
    outputTokens?: number;
    /** Input length in tokens as the workload knows it; used when the server sends no usage. */
    inputTokens?: number;
    /** Leading input tokens that all requests share by the server's template: those may come from the prefix cache of a cold
     * run. By default what the server counts above inputTokens. */
    templateTokens?: number;
    /** Conversation that the request belongs to, for {{session}} in headers; by default each request is one by itself. */
    session?: string;
    /** Keep the output text and the tool calls in the result. */
    keepText?: boolean;
    /** Give the request up this long after it was sent, ms (failure `aborted`, which counts as abandoned and not as failed). */
    abortAfterMs?: number;
    /** Give it up within 5 ms of having so many output tokens. */
    abortAfterTokens?: number;
    /** Name of a header of the answer whose value the result holds. */
    keepHeader?: string;
    /** Tags of the request's samples and record, as in k6's own modules. level, phase and failure are tokenclock's own and
     * throw. k6 warns when values make more than 100,000 time series: keep those that differ with each request out. */
    tags?: Readonly<Record<string, string | number | boolean>>;
  }

  /** A permission to send one request, given by a load shape. It carries the level, the phase and the scheduled time. */
  export interface Slot {
    readonly level: string;
    readonly phase: Phase;
    /** Number of this request in its level, from 0, warm-up included. */
    readonly index: number;
    /** Number of this request in the run, from 0, over all levels and warm-ups in the order in which they are scheduled. A
     * burst's slot has the number of its first request. */
    readonly serial: number;
    /** The numbers, from 0, of the requests that are this instance's in a burst that several instances release together.
     * Null: all are. */
    readonly members?: readonly number[] | null;
    /** Which turn of its session it is, from 1; the other numbers are then the session's. 0: it is no turn. */
    readonly turn: number;
  }

  /** A call of a tool that the model asked for. */
  export interface ToolCall {
    /** "" where the API gives none. */
    readonly id: string;
    readonly name: string;
    /** As the model wrote them: JSON, unless it made a mistake. */
    readonly arguments: string;
  }

  interface Measured {
    readonly status: number;
    /** This and other latencies: below 0 where a clock was wrong (LevelSummary.clockErrors). */
    readonly queueDelayMs: number;
    readonly inputTokens: number;
    readonly outputTokens: number;
    readonly retryAfter: string;
    readonly text: string;
    /** With keepText: the calls of the answer, in the order in which they came. */
    readonly toolCalls: readonly ToolCall[];
    /** The value of the header keepHeader; "" where there is none. */
    readonly header: string;
  }
  export interface Completed extends Measured {
    readonly outcome: "completed";
    readonly ttftMs: number;
    readonly ttfoMs: number;
    readonly e2eMs: number;
    /** 0 where fewer than two output tokens came. */
    readonly tpotMs: number;
    readonly maxStallMs: number;
    readonly finishReason: string;
    readonly tokenSource: "usage" | "continuous_usage" | "chunks";
  }
  export interface Failed extends Measured {
    readonly outcome: "failed";
    readonly failure: FailureClass;
    /** One line; the server's own words where it gave any. */
    readonly message: string;
  }
  export type Result = Completed | Failed;

  export interface BatchResult {
    readonly results: Result[];
    /** From the first request's send to the last end, ms. */
    readonly totalMs: number;
    /** From the first request's send to the last request's send, ms. */
    readonly releaseSpreadMs: number;
  }

  /** One per VU and endpoint; keeps its connections alive. Construct it in the init context. */
  export class Client {
    /** An address or a header that cannot be used ends the test with exit code 104; other bad options throw. */
    constructor(options: ClientOptions);
    /** Sends one request and returns when it has ended. Never throws for what the server or network does; an address, method
     * or header that no request can have does. */
    request(spec: RequestSpec, slot?: Slot): Result;
    /** Releases all requests behind one barrier and returns when all have ended. `staggerMs` spaces the sends. */
    batch(specs: RequestSpec[], slot?: Slot, staggerMs?: number): BatchResult;
    /** Like request, but the VU goes on at once: thousands of streams in one VU. How many is the script's choice: one that
     * declares it as maxInFlight of a level is refused where the host has too few descriptors or ports, another one ends
     * CLIENT-BOUND when they run out. */
    start(spec: RequestSpec, slot?: Slot): Promise<Result>;
  }

  /** What one level of load is. Exactly one of requests and durationMs bounds the steady part. */
  export interface LevelSpec {
    /** Tag value: c8, r20, b64, ... unique in the run. */
    name: string;
    /** What the level's name stands for; copied into the summary. */
    concurrency?: number;
    rate?: number;
    batchSize?: number;
    /** Tags of the workload copied into the summary and the level's record, e.g. {inputTokens: 1024}. */
    labels?: Record<string, string | number>;
    requests?: number;
    durationMs?: number;
    warmupRequests?: number;
    warmupMs?: number;
    /** Most requests in flight at once where concurrency or batchSize do not say it; only checked against this host's limits. */
    maxInFlight?: number;
    /** A slot stands for a whole session (class Session), not for a request: concurrency, requests and warmupRequests count
     * sessions. */
    sessions?: boolean;
    /** Bounds a level of sessions by their steady turns, instead of requests or durationMs. */
    turns?: number;
  }

  /**
   * Levels of constant concurrency, one after the other, shared by all VUs of the process (the name identifies the
   * object, so every VU's init code gets the same one). A VU is one client that calls acquire(), or carries several with
   * each(). Client number n takes part in a level while n <= concurrency; the others wait. A level is drained before the next one begins; its warm-up is not drained before its steady part.
   * `between` is called between two levels, on one VU of all: when the last request of one has ended, and before any of the next
   * is scheduled. It belongs to no level. One of the instances that meet calls it.
   */
  export class Levels {
    constructor(name: string, specs: LevelSpec[], between?: () => void);
    /** Blocks until this VU may send its next request. Calling it again gives the last slot back. null: all is done.
     * The slot is scheduled for the moment at which it became free: the end of the VU's last request, and where that found
     * no connection (connect, tls) a rest of 5 to 100 ms behind it, which grows until a request reaches the server again. */
    acquire(): Slot | null;
    /**
     * Carries `clients` clients of the levels on this VU, the same number on every VU, and returns at once; the VU's
     * iteration ends when all levels are over. `send` is called with every slot. What it returns ends the slot: the promise
     * of client.start (or of an async function) when that is settled, anything else at once. A client's first slot in a
     * level is scheduled for the level's beginning. `failed` is called with what `send` throws or is rejected with; without
     * it that ends the VU's iteration. To k6 each of these requests is an iteration (metrics iterations and
     * iteration_duration), and the VU's own, which k6 counts when it is over, stands for one of them.
     */
    each(clients: number, send: (slot: Slot) => unknown, failed?: (reason: unknown) => void): void;
  }

  export interface StageSpec {
    /** The level that it makes. Once a phase: a warm-up may bear the name of the stage that it precedes. */
    name: string;
    /** Requests per second at the beginning and the end of the stage (equal: constant). */
    fromRate: number;
    toRate: number;
    durationMs: number;
    /** Instead of the three: [ms from the stage's beginning, requests per second], straight lines between; two of one time are a jump. */
    points?: readonly (readonly [number, number])[];
    phase?: Phase;
    labels?: Record<string, string | number>;
  }
  export interface ArrivalSpec {
    stages?: StageSpec[];
    /** constant: evenly spaced (the integral of the rate); poisson; gamma with this coefficient of variation. */
    arrival?: "constant" | "poisson" | "gamma";
    cv?: number;
    seed?: number;
    /** Explicit offsets in ms, ascending, instead of stages; then one stage with this name. */
    traceMs?: readonly number[] | Float64Array;
    traceName?: string;
    /** Most requests in flight at once: checked against this host's limits of descriptors and ports, and the limit of all
     * VUs that call each(). */
    maxInFlight?: number;
    /** An arrival is a whole session (class Session), and maxInFlight the most that are held at once. */
    sessions?: boolean;
  }
  /** A seeded schedule of arrivals, shared by all VUs of the process. Late VUs send late; the lag is queue delay. */
  export class Arrivals {
    constructor(name: string, spec: ArrivalSpec);
    /** Blocks until the next arrival that nobody took is due. null: the schedule is over. */
    next(): Slot | null;
    /** The slot of the i-th arrival when a k6 arrival-rate executor decides when to start; does not block. */
    slot(i: number): Slot;
    /** Sends what is due from this VU with at most `clients` requests of its in flight, and returns at once; the VU's
     * iteration ends when the schedule is over. Otherwise as levels.each. */
    each(clients: number, send: (slot: Slot) => unknown, failed?: (reason: unknown) => void): void;
    readonly count: number;
  }

  export interface TurnOptions {
    /** Wait between the end of what the turn follows and the turn, ms: think time, or the time that tools take. */
    waitMs?: number;
    /** The turn is due no earlier than so long after the session's scheduled time, ms. */
    notBeforeMs?: number;
    /** It hands over results of tools: it belongs to the task that the user's last turn began, and is recorded as such. */
    tool?: boolean;
    /** The turns that it follows; by default all that have ended. Branches of a session run beside one another. */
    after?: readonly Slot[];
  }

  /**
   * A conversation. It holds a slot of a load of sessions (`sessions: true`) for as long as `send` of each() goes on with it, which
   * is an async function then. Its turns are scheduled for the end of what they follow plus their wait, by the bytes, so that no
   * wait is queue delay or part of a latency. The record of a turn names session and turn; when the slot is given back, a
   * record of the session follows.
   */
  export class Session {
    /** `turns`: how many are planned; those that are not sent are counted. */
    constructor(slot: Slot, turns?: number);
    /** Unique in the run, and drawn from nothing that a user could know: fit for a header. */
    readonly id: string;
    /** Resolves when the next turn is due, with the slot to send it with. null: no more is to be sent, because a turn failed or
     * was given up, or the load ends. */
    turn(options?: TurnOptions): Promise<Slot | null>;
    /** Plans so many turns more. */
    plan(more: number): void;
  }

  /** Windows that the script opens and closes itself (bursts, probes). All VUs of the process share them by name. */
  export class Windows {
    constructor(name: string, specs: LevelSpec[]);
    /** Opens (or joins) a level's window and gives a slot, scheduled for now; with phase "warmup" no window is opened.
     * That of a level with batchSize opens, and its slot is due, when client.batch releases the batch.
     * Behind a request of this VU that found no connection it first rests as Levels do. */
    begin(level: string, phase?: Phase): Slot;
    /** The same with the time, on the clock of now(), at which the script wanted the request to start: the slot is scheduled
     * for it, or for now where that is earlier. */
    begin(level: string, phase: Phase, dueMs: number): Slot;
    /** Adds a level while the run goes on, as a search does that finds its levels on the way. */
    declare(level: LevelSpec): void;
    /** ms on the clock that stamps requests; where it begins has no meaning. */
    now(): number;
    /** Closes the level's window now. */
    end(level: string): void;
  }

  /** Statistics of one quantity; ms unless the name says otherwise. Percentiles are linearly interpolated; of pooled
   * quantities (ITL, chunk gap, uncertainty of arrivals) they come from an HDR histogram of three significant digits. */
  export interface Stats {
    count: number; mean: number; std: number; min: number;
    p50: number; p90: number; p95: number; p99: number; p999: number; max: number;
  }

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
    /** Given up on purpose (aborted): neither completed nor failed, and no part of goodShare. Absent where none was. */
    abandoned?: number;
    failures: Partial<Record<FailureClass, number>>;
    /** The first message of each class of failure; absent where nothing failed. */
    failureMessages?: Partial<Record<FailureClass, string>>;
    statuses: Record<string, number>;
    inputTokens: number;
    outputTokens: number;
    /** Input tokens that the server took from its prefix cache, and their share of the input (0 to 1); the share is absent
     * where the server does not tell. The source is the usage of the completed steady requests, else the server's own
     * counters (watchCache) from the level's begin to its end, warm-up included. */
    cachedTokens: number;
    cachedShare?: number;
    cachedSource?: "usage" | "server";
    /** The steady window, in seconds from the run's start. */
    windowStartS: number;
    durationS: number;
    /** For a level with a rate: steady requests scheduled, and requests sent in the window, both a second of the window. */
    scheduledRate?: number;
    sentRate?: number;
    requestThroughput: number;
    outputThroughput: number;
    /** undefined where no SLO is set. */
    requestGoodput?: number;
    goodShare?: number;
    /** Output tokens of the completed steady requests that met every SLO; absent where none is set. */
    goodOutputTokens?: number;
    outputSpeed: Stats;
    ttftMs: Stats; ttftScheduledMs: Stats; ttfoMs: Stats; tpotMs: Stats; itlMs: Stats; chunkGapMs: Stats;
    maxStallMs: Stats; e2eMs: Stats; e2eScheduledMs: Stats; queueDelayMs: Stats;
    /** Sends of the level: first to last, ms (what a burst's release took). */
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
    /** Shares of the receives: those that the packet ring stamped, and those that the ring or the socket did. */
    ringStampShare: number;
    kernelStampShare: number;
    warmupRequests: number;
    /** Whole level, warm-up and drain included. */
    whole: { requests: number; completed: number; durationS: number; outputTokens: number; outputThroughput: number };
    /** Pooled ITL in ns by phase, in HdrHistogram's compressed V2 encoding as base64: what percentiles of several levels or
     * runs can be computed from. Phases without a gap are left out; the run's total has none. */
    itlHistograms?: Partial<Record<Phase, string>>;
    /** Sessions that have ended, those of a warm-up left out; absent where there were none. */
    sessions?: SessionSummary;
    /** Steady requests by the turn of their session; absent where none is one. */
    turns?: TurnSummary[];
    /** Equal parts of the window, with RunSpec.slices and a window whose end is known when it opens. */
    slices?: Slice[];
  }

  /** Requests count to the part in which they were scheduled, tokens to the one in which they arrived. */
  export interface Slice {
    /** Seconds from the run's start. */
    startS: number;
    durationS: number;
    /** Steady requests. */
    requests: number; completed: number; failed: number;
    ttftMs: Stats; tpotMs: Stats;
    outputThroughput: number;
    /** Memory of this process, MB, when the part's first request ended; absent where it is not known. */
    clientMB?: number;
    /** The clientMB of each merged runner, in their order; clientMB is then the largest of them. */
    runnersMB?: number[];
  }

  export interface SessionSummary {
    sessions: number;
    /** All turns were sent and none failed; a turn failed; a turn was given up on purpose; the load gave no more turns. */
    completed: number; failed: number; abandoned: number; cut: number;
    /** Turns that were sent, and that were planned and were not. */
    turns: number; notSent: number;
    /** Completed sessions: the time from scheduled to the last end; the time of each task, from a user's turn to the last end
     * before the next; and the waits of a session together. */
    durationMs: Stats; taskMs: Stats; waitMs: Stats;
  }

  export interface TurnSummary {
    /** From 1; beyond 1000 all are one. */
    turn: number;
    requests: number; completed: number;
    /** Tokens of completed requests; the share is absent where no usage of the level names cached tokens. */
    inputTokens: number; cachedTokens: number; cachedShare?: number;
    ttftMs: Stats; outputSpeed: Stats;
  }

  /**
   * One second of the run, by the time requests were scheduled, sent and ended; second 0 begins with the first
   * steady window (where no level is declared, with the first request), and requests scheduled before it are left out.
   * Response times are those of the requests that succeeded in the second; 0 where none did.
   */
  export interface Second {
    t: number; scheduled: number; sent: number; succeeded: number; failed: number;
    /** How many of the requests scheduled in this second failed in the end. */
    scheduledFailed: number;
    meanMs: number; p50Ms: number; p95Ms: number; inFlight: number; outputTokens: number;
  }

  /**
   * What arrival times were taken by, as shares of the receives: `ring`, the kernel's time of each packet; `socket`, the
   * kernel's time of the last packet that a receive brought; `user`, the time behind the read.
   */
  export interface Stamps {
    /** The best one that the process had, and why it had no better one. */
    source: "ring" | "socket" | "user";
    why?: string;
    ring: number;
    socket: number;
    user: number;
  }

  /** Times in which the process did not run; ms. */
  export interface Pauses {
    count: number;
    total: number;
    /** The longest pause that made the process 20 ms late or more; 0: none did. */
    longest: number;
  }

  /** What the host did to the process in some time. */
  export interface HostPauses {
    /** It neither ran nor waited for a core for 20 ms or more: a signal, a debugger, a cgroup's freezer. A virtual
     * machine that is paused as a whole looks the same. */
    stoppedMs: Pauses;
    /** The machine was suspended; the run's clock stood still. */
    suspendedMs: Pauses;
    /** Its cgroup, or one above it, was out of CPU quota: `count` quota periods, `total` summed over processors. Absent where
     * the host does not say. */
    throttledMs?: Pauses;
    /** The hypervisor ran something else: `total` of the whole machine, summed over processors; `count` of those in `longest`.
     * Absent where the host does not say. */
    stolenMs?: Pauses;
  }

  export interface Validity extends HostPauses {
    /** CACHE-BOUND: a cold run had more than 1 % of a level's input from the server's prefix cache. */
    state: "VALID" | "CLIENT-BOUND" | "CACHE-BOUND" | "NOT-MEASURED";
    reasons: string[];
    /** What happened to the client and did its measurements no harm, or none that is judged. */
    notes: string[];
    stamps: Stamps;
    /** The pauses by level, from the opening of its steady window to the last end of its requests. Levels without are left out. */
    hostLevels?: (HostPauses & { name: string })[];
    /** Packets of the client's connections, those that the packet ring had no room for, bytes that it did not stamp, packets
     * that brought nothing new and that came before an earlier one; requests of which sockets stamped a part. Absent where
     * there was no ring. */
    ring?: {
      packets: number; drops: number; lostBytes: number; duplicates: number; reordered: number; mixedRequests: number;
    };
    schedulingLagMs: Stats;
    queueDelayMs: Stats;
    kernelStampShare: number;
    coalescedShare: number;
    /** As in LevelSummary, of the whole run. */
    arrivalUncertaintyMs: Stats;
    clockErrors: number;
    /** Share of the time that the reader thread, ready to run, waited for a core (waits above 3 ms): what arrived
     * meanwhile may have merged under one stamp. 0 where it is not known. */
    readerWaitShare: number;
    sendUncertaintyMs: Stats;
    /** Share that the process used of the cores it may use (GOMAXPROCS), from the first request on. */
    cpuShare: number;
    droppedIterations: number;
    /** Requests that were sent twice: the server had closed the kept-alive connection before it saw them. */
    retriedOnReuse: number;
    /** How streams are read: "detached" or "attached" by the reader thread, or "none: " and why not. */
    reader: string;
    /** How the kernel schedules that thread, for example "SCHED_RR 1" or "nice -15, slice 0.1 ms"; absent where there is none. */
    readerClass?: string;
    /** How often the wall clock was found to have been set, and how many of the kernel's stamps were rejected for it. */
    clockSteps: number;
    rejectedStamps: number;
  }

  export interface Report {
    startUnixMs: number;
    durationS: number;
    levels: LevelSummary[];
    /** Everything outside a level's steady window included. */
    total: LevelSummary;
    seconds: Second[];
    validity: Validity;
    versions: { tokenclock: string; k6: string; go: string; os: string };
    /** How the run ended, for handleSummary: complete when all of the load was sent and waited for; cut by MAX_DURATION, an
     * abort or a request through k6's REST API; interrupted by a signal. Only a complete run may pass. */
    ended: "complete" | "cut" | "interrupted";
    /** The schedule of Arrivals: the sha256 of all its times, in hex, and how many there are. */
    schedule?: { digest: string; requests: number };
    /** The part of the load that was not sent, in words; absent where all was. */
    unsent?: string;
    /** What kept the records from being written whole; absent where nothing did. */
    recordsError?: string;
    /** Which part of a load this instance had that several run together; absent where it was alone. */
    part?: { number: number; of: number };
  }

  export interface RunSpec {
    scenario: string;
    /** Effective settings without secrets; written into the records' first line. */
    config: Record<string, unknown>;
    sloMs: { ttft?: number; tpot?: number; e2e?: number };
    /** What the server's prefix cache is meant to hold of the input: nothing (cold, the default), or what was sent before. */
    cache?: "cold" | "warm";
    /** Folder that handleSummary writes to, as k6 takes it: made where it is missing; the run is refused (104) where no file
     * can be made in it. */
    resultsDir?: string;
    /** Where arrival times come from: "auto" (default) takes the best that the host allows; "ring" ends the run where there is no packet ring. */
    stamps?: "auto" | "ring" | "socket" | "user";
    /** A line a second on k6's log of how far the run has come: "auto" where standard error is a terminal and k6 is not --quiet,
     * "true" always, "false" (default) never. */
    live?: "auto" | "true" | "false";
    /** How many percent of the processors' time a hypervisor may take in a level before the run is CLIENT-BOUND; by default 0.5,
     * and 20 ms at a time. Where more than 0.5 is allowed, a single pause has no limit of its own, and what was beyond the
     * default limits is in `notes`. */
    maxStolen?: number;
    /** handleSummary will call conclude(); a run of which nothing was concluded ends with exit code 98. */
    judged?: boolean;
    /** The threshold profile (its name, or the whole of the user's own) and the sha256 of the files that settings name, by
     * setting; written into the records' first line. */
    profile?: unknown;
    digests?: Record<string, string>;
    /** Divides the window of each level whose end is known into so many equal parts; by default none. */
    slices?: number;
    /** How the server lets the run in. */
    access?: Access;
  }

  /** Keys, TLS and traces of all requests of the run. */
  export interface Access {
    /** Where keys come from: one of file, command, oauth and aws, or aws with file or command. A header whose value holds {{key}} carries the key; one that
     * is {{signature}} has the request signed. A key is renewed before its end and when the server answers 401; such a request
     * is sent once more. */
    keys?: {
      file?: string;
      command?: string;
      /** How long a key is used that does not say when it expires, ms. */
      lifetimeMs?: number;
      oauth?: {
        tokenUrl: string; clientId: string; clientSecret?: string; secretFile?: string; scope?: string; audience?: string;
      };
      /** The credentials are the JSON of a credential_process in file or of command, else those of the environment:
       * AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. They are also renewed when the server says that they have
       * expired (403). */
      aws?: { service: string; region: string };
    };
    /** Files in PEM. */
    tls?: { cert?: string; key?: string; ca?: string; skipVerify?: boolean };
    /** Each request has a trace of its own: the header traceparent, and traceId in its record. */
    traceparent?: boolean;
  }

  /** What the user set, by where: k6's __ENV mixes -e with the whole environment. */
  export interface GivenSettings {
    /** Set with -e, on this command line or that of `k6 archive`. */
    readonly options: Record<string, string>;
    /** The variables TOKENCLOCK_*, BASE_URL and API_KEY of the environment; no other is meant for a run. */
    readonly environment: Record<string, string>;
    /** The folder that relative paths of the user's start from. */
    readonly workingDir: string;
    /** The script comes from an archive that holds the environment of another machine beside its options. */
    readonly mixed: boolean;
    /** Flags of k6 2.3 and later on this command line that would run a part of the load: --once, --scenario. Absent: none. */
    readonly loadFlags?: readonly string[];
  }

  /** Declares the run; the first VU's words count. Call it in the init context before any load shape is made. */
  export function run(spec: RunSpec): void;
  /** Everything measured so far; works in teardown and handleSummary. droppedIterations is k6's own count. */
  export function report(droppedIterations?: number): Report;
  /** Ends the test with k6's exit code for a bad configuration (104) and this line; unlike an exception it cannot be caught. */
  export function refuse(line: string): never;
  /** What the user set. */
  export function settings(): GivenSettings;
  /** Moves the results of an earlier run out of a folder, and out of the way of `--out records=FILE`, into a folder
   * previous-TIME beside them. A file of that name which is no result ends the run with exit code 104. Init context only. */
  export function clearOld(resultsDir: string): void;
  /** Writes a file that is there as a whole or not at all; "" or why it could not be written. */
  export function writeResult(path: string, text: string): string;
  /** The sha256 of a file in hex, "" where it cannot be read. Init context only. */
  export function fileDigest(path: string): string;
  /**
   * Joins the instances that run one load together, at the coordinator of that address (`k6 x tokenclock coordinate`). Init
   * context, before run(). Returns the salt that all of them have in common; "" where there is no address, and for commands
   * that send no load. What the coordinator does not allow ends the test with exit code 104.
   */
  export function joinRunners(options: { runners: number; address: string; token: string; tokenFile: string }): string;
  /**
   * For setup(): takes the part of the load that k6's execution segment gives this instance, and returns when all instances
   * have come. Another number of instances than `runners` ends the test with exit code 104, and so does an `aligned` load
   * (levels, bursts or arrivals, which all instances begin together) of several instances without a coordinator. `settings`
   * must be the same for all.
   */
  export function meetRunners(options: { settings: Record<string, unknown>; aligned: boolean }): void;
  /** What the run came to, as an exit code. k6 ends with it instead of 0 or 99; its other codes stand. */
  export function conclude(exitCode: number): void;
  /** Emits the per-level gauges (llm_itl_p50, _p90, _p99, llm_output_throughput, llm_request_throughput,
   * llm_request_goodput, llm_cached_share; llm_client_bound and llm_cache_bound, 0 or 1) so that thresholds on them are judged. Call it in teardown. */
  export function emitLevelMetrics(computed?: {
    /** Values of gauges that the script computes, by level and by metric: llm_cost_request, llm_cost_output,
     * llm_cost_output_slo, llm_cost_good_request and llm_energy_output. */
    [level: string]: { [metric: string]: number };
  }): void;

  /** Has the server's own counters of its prefix cache read from a Prometheus page whenever a level begins and ends. Of
   * `counters` the first of which the page has both parts is used: prompt tokens found in the cache (the sum of those of
   * `hits` that are there) and looked up. A page that is not there is asked for once. The first VU's words count. */
  export function watchCache(options: {
    url: string;
    headers?: Record<string, string>;
    counters: { hits: string[]; queries: string }[];
  }): void;

  /** Ends the run at once with this line and exit code 104 (bad settings). For the init context, before any load. */
  export function refuse(message: string): never;

  export interface HttpReply { status: number; body: string; error: string; }
  /** A plain, unmeasured request (models, launch arguments, cache resets); no http_* or llm_* metric is touched. */
  export function fetch(url: string, options?: { method?: string; headers?: Record<string, string>; body?: string; timeoutMs?: number }): HttpReply;

  /** What was read from one page: gauges and counters ("values") of every poll, or histograms, at most every 250 ms. A line
   * of the records has the same form. */
  export interface PolledPoints {
    type: "points";
    /** The poller's. */
    name: string;
    /** Index of the page among the poller's. */
    page: number;
    what: "values" | "histograms";
    /** Names of the columns, as in Prometheus; of a histogram NAME_count, NAME_sum and NAME_bucket{le="..."}, without +Inf. */
    metrics: string[];
    kinds: ("gauge" | "counter" | "histogram")[];
    /** ns from the run's start, then one value a column; null = not served. Beyond 65536 rows only every second one, or
     * every fourth, ..., is here; the records hold all of them. */
    points: [number, ...(number | null)[]][];
  }

  /** How a page was polled. */
  export interface PolledPage {
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
    /** From the request to the whole page, and from there until it was read; ms. */
    pageMs: Stats;
    readMs: Stats;
  }

  /** Polls Prometheus pages in the background, at a fixed pace and when a level begins, opens its window or ends, and keeps the
   * wanted metrics on the run's time axis. A page that is slow to come is polled less often, so that polls take a tenth of the
   * time at most. A page whose first answer is an error is not asked for again. VUs that name the same
   * poller share it: the options of the first count. For the init context. */
  export class MetricsPoller {
    /** intervalMs: from 1 to a day. metrics: names, in which * stands for any characters, as in `vllm:*` or `power{gpu="0"}`. The
     * series of a metric are summed; mean(...) and max(...) around a name have their mean or largest. */
    constructor(name: string, options: { pages: { url: string; headers?: Record<string, string> }[]; intervalMs: number; metrics: string[] });
    start(): void;
    /** Polls once more, and ends. */
    stop(): void;
    series(): PolledPoints[];
    /** In the order of the options' pages. */
    pages(): PolledPage[];
  }

  /**
   * What `make` gives to the first VU, for all VUs of the process: numbers, texts, booleans, null, and objects and arrays
   * of these, as JSON keeps them. They share its memory, and cannot change it. For the init context.
   */
  export function shared<T>(name: string, make: () => T): T;

  /**
   * A UTF-8 text file of the user's, as it is or packed by gzip; a byte order mark is dropped. It is read from its beginning by
   * each call, which throws where it cannot be read or is no UTF-8. A Parquet file is read as JSON lines, one a row, without
   * members that are null; a column that JSON has no value for throws. For the init context.
   */
  export class TextFile {
    constructor(path: string);
    /** Its first 64 kB; of a Parquet file the rows that exceed 64 kB of JSON. */
    readonly head: string;
    /** Its rows come from a Parquet file. */
    readonly parquet: boolean;
    /**
     * Calls `take` with each line that is not blank and its number from 1, until it returns false. Where it returns a likeness,
     * the lines that follow and are like it go to `alike`, many at a time, up to the first that is not.
     */
    lines(take: (line: string, number: number) => unknown, alike?: (rows: LengthRows) => void): void;
    /**
     * Calls `take` with the text in pieces of whole lines with their ends, until it returns false. A piece is 1 kB or more, later
     * 64 kB or more. Where `take` returns a likeness, it is as with lines(), and the piece behind those rows is one line.
     */
    pieces(take: (piece: string) => unknown, alike?: (rows: LengthRows) => void): void;
    /** Calls `take` with the JSON of each element of the array that the file is and its number from 1, until it returns false. */
    elements(take: (element: string, number: number) => unknown): void;
    /** The whole text. */
    text(): string;
  }

  /** What rows look like that hold lengths and a time; lines that differ in anything are read by the caller. */
  export interface Likeness {
    /**
     * What the fields are, in their order: inputTokens and outputTokens are whole numbers from 1, time a number or a text, blockIds
     * a list of whole numbers; any has a value without others in it, empty "" or null.
     */
    roles: readonly ("inputTokens" | "outputTokens" | "time" | "blockIds" | "any" | "empty")[];
    /** The names of the fields of JSON objects. */
    names?: readonly string[];
    /** What stands between the cells of a table, whose rows have no quotes, and at the end of a row. */
    delimiter?: string;
    newline?: string;
    /** Times are dates, with an offset from UTC or not, and are wanted in ms since a time, which is in ms since 1970. */
    dates?: boolean;
    zoned?: boolean;
    originMs?: number;
  }

  /** Rows that were read at once; they are valid until the callback that got them returns. */
  export interface LengthRows {
    readonly length: number;
    /** Numbers as they are in the file, or of dates ms. */
    readonly times: Float64Array;
    /** Whether one of them is no whole number, or is a text with a point in it. */
    readonly fraction: boolean;
    readonly least: number;
    readonly most: number;
    /** The lengths of rows with ids of blocks, and how many ids each has. */
    readonly inputs: Float64Array;
    readonly ids: Float64Array;
  }

  /**
   * Texts that all VUs of the process share: those that the first VU's `fill` adds. They are kept as UTF-8, once, outside of any
   * VU's heap. Rows of lengths are added as `{"inputTokens":1,"outputTokens":2,"blockIds":[3]}`, a text each. Where `fill` returns
   * numbers from 0, these rows are kept, in this order. For the init context.
   */
  export class Rows {
    constructor(name: string, fill: (add: (text: string | LengthRows) => void) => Uint32Array | undefined);
    readonly length: number;
    at(i: number): string;
  }

  /** All of it in one object, whose members are made when they are read: each name that a script imports costs every VU some 0.7 kB. */
  const tokenclock: typeof import("k6/x/tokenclock");
  export default tokenclock;
}
