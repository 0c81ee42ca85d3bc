/**
 * The requests of a run, a column a field: a million of them take some 170 MB, where objects of their own would take three
 * times that. A row is a view of two words that reads its columns.
 */
import type { Phase, RequestLine } from "./records";

/** One request of the records. Times are ns from the run's start; 0 where the moment never came. */
export interface RequestRow {
  readonly level: string;
  readonly phase: Phase;
  readonly index: number;
  readonly scheduledNs: number;
  readonly startedNs: number;
  readonly sentNs: number;
  readonly firstOutputNs: number;
  readonly lastOutputNs: number;
  readonly endNs: number;
  readonly completed: boolean;
  readonly failure: string;
  readonly status: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Output tokens without reasoning that was not shown. */
  readonly shownTokens: number;
  /** undefined of a reply that was not streamed: its first output is its last. */
  readonly ttftMs?: number;
  readonly ttfoMs?: number;
  readonly tpotMs?: number;
  /** Output chunks. */
  readonly chunks: number;
  /** Largest and median gap between two output chunks. */
  readonly maxStallNs: number;
  readonly medianGapNs: number;
  /** Time the generation stood still after its first chunk; see pausesNs. */
  readonly pausesNs: number;
  /** Input tokens from the server's prefix cache; undefined where its usage does not report them. */
  readonly cachedTokens?: number;
  /** "" where the server gave none. */
  readonly finishReason: string;
  /** Whether the request went over a connection that an earlier one had opened. */
  readonly reused: boolean;
  readonly connectNs: number;
  readonly tlsNs: number;
}

/** What the arrivals of a request come to; ns. */
export interface ChunkFigures {
  tpotMs?: number;
  maxStallNs: number;
  medianGapNs: number;
  pausesNs: number;
}

const wide = [
  "scheduledNs",
  "startedNs",
  "sentNs",
  "firstOutputNs",
  "lastOutputNs",
  "endNs",
  "ttftMs",
  "ttfoMs",
  "tpotMs",
  "maxStallNs",
  "medianGapNs",
  "pausesNs",
  "cachedTokens",
  "connectNs",
  "tlsNs",
] as const;
const whole = ["index", "status", "inputTokens", "outputTokens", "shownTokens", "chunks"] as const;
const words = ["level", "phase", "failure", "finishReason"] as const;
const flags = ["completed", "reused"] as const;
type Wide = (typeof wide)[number];
type Whole = (typeof whole)[number];
type Word = (typeof words)[number];

/** Rows that are kept in columns. */
export class RequestTable {
  #length = 0;
  #capacity = 1024;
  readonly numbers: Record<Wide, Float64Array>;
  readonly counts: Record<Whole, Int32Array>;
  readonly codes: Record<Word, Uint16Array>;
  readonly flags: Record<(typeof flags)[number], Uint8Array>;
  readonly #texts: string[] = [];
  readonly #codeOf = new Map<string, number>();

  constructor() {
    const of = <K extends string, A>(names: readonly K[], make: () => A) =>
      Object.fromEntries(names.map((name) => [name, make()])) as Record<K, A>;
    this.numbers = of(wide, () => new Float64Array(this.#capacity));
    this.counts = of(whole, () => new Int32Array(this.#capacity));
    this.codes = of(words, () => new Uint16Array(this.#capacity));
    this.flags = of(flags, () => new Uint8Array(this.#capacity));
  }

  /** Adds the request of a line; what its arrivals come to is given, as they are not kept. */
  add(line: RequestLine, figures: ChunkFigures): RequestRow {
    if (this.#length === this.#capacity) this.#grow();
    const i = this.#length++;
    const { numbers, counts, codes } = this;
    const completed = line.outcome === "completed";
    const { sentNs = 0, firstOutputNs = 0, firstNonReasonNs = 0, arrivals = [] } = line;
    // Of a whole reply the first output is the last byte.
    const streamed = completed && arrivals.length > 0;
    numbers.scheduledNs[i] = line.scheduledNs ?? 0;
    numbers.startedNs[i] = line.startedNs ?? 0;
    numbers.sentNs[i] = sentNs;
    numbers.firstOutputNs[i] = firstOutputNs;
    numbers.lastOutputNs[i] = line.lastOutputNs ?? 0;
    numbers.endNs[i] = line.endNs ?? 0;
    numbers.ttftMs[i] = streamed && firstOutputNs > 0 ? (firstOutputNs - sentNs) / 1e6 : Number.NaN;
    numbers.ttfoMs[i] = streamed && firstNonReasonNs > 0 ? (firstNonReasonNs - sentNs) / 1e6 : Number.NaN;
    numbers.tpotMs[i] = completed ? (figures.tpotMs ?? Number.NaN) : Number.NaN;
    numbers.maxStallNs[i] = figures.maxStallNs;
    numbers.medianGapNs[i] = figures.medianGapNs;
    numbers.pausesNs[i] = figures.pausesNs;
    numbers.cachedTokens[i] = line.cachedTokens ?? Number.NaN;
    numbers.connectNs[i] = line.connectNs ?? 0;
    numbers.tlsNs[i] = line.tlsNs ?? 0;
    counts.index[i] = line.index ?? 0;
    counts.status[i] = line.status ?? 0;
    counts.inputTokens[i] = line.inputTokens ?? 0;
    counts.outputTokens[i] = line.outputTokens ?? 0;
    counts.shownTokens[i] = (line.outputTokens ?? 0) - (line.hiddenTokens ?? 0);
    counts.chunks[i] = arrivals.length;
    codes.level[i] = this.#code(line.level);
    codes.phase[i] = this.#code(line.phase);
    codes.failure[i] = this.#code(line.outcome === "failed" ? line.failure : "");
    codes.finishReason[i] = this.#code(line.finishReason ?? "");
    this.flags.completed[i] = completed ? 1 : 0;
    this.flags.reused[i] = line.reused ? 1 : 0;
    return new Row(this, i);
  }

  text(code: number): string {
    return this.#texts[code] as string;
  }

  #code(text: string): number {
    const known = this.#codeOf.get(text);
    if (known !== undefined) return known;
    // A server can send a finish reason of its own with every reply; levels, phases and failures are few.
    if (this.#texts.length >= 0xffff) return this.#code("other");
    this.#codeOf.set(text, this.#texts.length);
    return this.#texts.push(text) - 1;
  }

  #grow(): void {
    this.#capacity *= 2;
    const grow = <A extends Float64Array | Int32Array | Uint16Array | Uint8Array>(of: Record<string, A>) => {
      for (const [name, column] of Object.entries(of)) {
        const larger = new (column.constructor as new (length: number) => A)(this.#capacity);
        larger.set(column);
        of[name] = larger;
      }
    };
    grow(this.numbers);
    grow(this.counts);
    grow(this.codes);
    grow(this.flags);
  }
}

/** A view of one row of a table. */
class Row implements RequestRow {
  readonly #table: RequestTable;
  readonly #i: number;

  constructor(table: RequestTable, i: number) {
    this.#table = table;
    this.#i = i;
  }

  #number(name: Wide): number {
    return this.#table.numbers[name][this.#i] as number;
  }
  #measured(name: Wide): number | undefined {
    const value = this.#number(name);
    return Number.isNaN(value) ? undefined : value;
  }
  #count(name: Whole): number {
    return this.#table.counts[name][this.#i] as number;
  }
  #word(name: Word): string {
    return this.#table.text(this.#table.codes[name][this.#i] as number);
  }

  get level() {
    return this.#word("level");
  }
  get phase() {
    return this.#word("phase") as Phase;
  }
  get index() {
    return this.#count("index");
  }
  get scheduledNs() {
    return this.#number("scheduledNs");
  }
  get startedNs() {
    return this.#number("startedNs");
  }
  get sentNs() {
    return this.#number("sentNs");
  }
  get firstOutputNs() {
    return this.#number("firstOutputNs");
  }
  get lastOutputNs() {
    return this.#number("lastOutputNs");
  }
  get endNs() {
    return this.#number("endNs");
  }
  get completed() {
    return this.#table.flags.completed[this.#i] === 1;
  }
  get failure() {
    return this.#word("failure");
  }
  get status() {
    return this.#count("status");
  }
  get inputTokens() {
    return this.#count("inputTokens");
  }
  get outputTokens() {
    return this.#count("outputTokens");
  }
  get shownTokens() {
    return this.#count("shownTokens");
  }
  get ttftMs() {
    return this.#measured("ttftMs");
  }
  get ttfoMs() {
    return this.#measured("ttfoMs");
  }
  get tpotMs() {
    return this.#measured("tpotMs");
  }
  get chunks() {
    return this.#count("chunks");
  }
  get maxStallNs() {
    return this.#number("maxStallNs");
  }
  get medianGapNs() {
    return this.#number("medianGapNs");
  }
  get pausesNs() {
    return this.#number("pausesNs");
  }
  get cachedTokens() {
    return this.#measured("cachedTokens");
  }
  get finishReason() {
    return this.#word("finishReason");
  }
  get reused() {
    return this.#table.flags.reused[this.#i] === 1;
  }
  get connectNs() {
    return this.#number("connectNs");
  }
  get tlsNs() {
    return this.#number("tlsNs");
  }
}
