/**
 * The requests of a run, a column a field: a million of them take 102 MB, 150 where every field is used, where objects of
 * their own would take four times that. A row is a view of two words that reads its columns, made when it is asked for.
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
  "tpotMs",
  "maxStallNs",
  "medianGapNs",
] as const;
/** Fields that most requests, or all of a run, have at one value; NaN stands for it. */
const rare = ["firstNonReasonNs", "pausesNs", "cachedTokens", "connectNs", "tlsNs", "hiddenTokens"] as const;
const whole = ["index", "status", "inputTokens", "outputTokens", "chunks"] as const;
const words = ["level", "phase", "failure", "finishReason"] as const;
const flags = ["completed", "reused"] as const;
type Wide = (typeof wide)[number];
type Rare = (typeof rare)[number];
type Whole = (typeof whole)[number];
type Word = (typeof words)[number];

const columns = <K extends string, A>(names: readonly K[], make: () => A) =>
  Object.fromEntries(names.map((name) => [name, make()])) as Record<K, A>;

/** Rows of a block: a power of two. Blocks are never copied, and only the last one has room that is not used. */
const blockBits = 12;
const blockRows = 1 << blockBits;

/** Finish reasons that are told apart; all further ones are "other". */
const mostReasons = 1000;

/** The columns of some rows that follow each other. */
class Block {
  readonly numbers = columns(wide, () => new Float64Array(blockRows));
  readonly counts = columns(whole, () => new Int32Array(blockRows));
  readonly codes = columns(words, () => new Uint16Array(blockRows));
  readonly flags = columns(flags, () => new Uint8Array(blockRows));
  /** Only the columns in which a row of the block has a value. */
  readonly rare: Partial<Record<Rare, Float64Array>> = {};
  readonly texts: readonly string[];

  constructor(texts: readonly string[]) {
    this.texts = texts;
  }

  setRare(name: Rare, i: number, value: number | undefined, usual: number | undefined): void {
    if (value === usual) return;
    this.rare[name] ??= new Float64Array(blockRows).fill(Number.NaN);
    this.rare[name][i] = value as number;
  }
}

/** Where rows come from. */
interface RowSource {
  readonly length: number;
  row(i: number): RequestRow;
}

/** Rows that are kept in columns. */
export class RequestTable implements RowSource {
  #length = 0;
  readonly #blocks: Block[] = [];
  readonly #texts: string[] = [];
  readonly #codeOf = new Map<string, number>();
  readonly #reasons = new Set<string>();

  get length(): number {
    return this.#length;
  }

  /** All rows in the order in which they were added, those that are still to come included. */
  get rows(): Rows {
    return new Rows(this);
  }

  row(i: number): RequestRow {
    return new Row(this.#blocks[i >> blockBits] as Block, i & (blockRows - 1));
  }

  /** Adds the request of a line; what its arrivals come to is given, as they are not kept. */
  add(line: RequestLine, figures: ChunkFigures): void {
    const i = this.#length++ & (blockRows - 1);
    if (i === 0) this.#blocks.push(new Block(this.#texts));
    const block = this.#blocks.at(-1) as Block;
    const { numbers, counts, codes } = block;
    const completed = line.outcome === "completed";
    const { firstOutputNs = 0, firstNonReasonNs = 0, arrivals = [] } = line;
    numbers.scheduledNs[i] = line.scheduledNs ?? 0;
    numbers.startedNs[i] = line.startedNs ?? 0;
    numbers.sentNs[i] = line.sentNs ?? 0;
    numbers.firstOutputNs[i] = firstOutputNs;
    numbers.lastOutputNs[i] = line.lastOutputNs ?? 0;
    numbers.endNs[i] = line.endNs ?? 0;
    numbers.tpotMs[i] = completed ? (figures.tpotMs ?? Number.NaN) : Number.NaN;
    numbers.maxStallNs[i] = figures.maxStallNs;
    numbers.medianGapNs[i] = figures.medianGapNs;
    block.setRare("firstNonReasonNs", i, firstNonReasonNs, firstOutputNs);
    block.setRare("pausesNs", i, figures.pausesNs, 0);
    block.setRare("cachedTokens", i, line.cachedTokens ?? undefined, undefined);
    block.setRare("connectNs", i, line.connectNs ?? 0, 0);
    block.setRare("tlsNs", i, line.tlsNs ?? 0, 0);
    block.setRare("hiddenTokens", i, line.hiddenTokens ?? 0, 0);
    counts.index[i] = line.index ?? 0;
    counts.status[i] = line.status ?? 0;
    counts.inputTokens[i] = line.inputTokens ?? 0;
    counts.outputTokens[i] = line.outputTokens ?? 0;
    counts.chunks[i] = arrivals.length;
    codes.level[i] = this.#code(line.level);
    codes.phase[i] = this.#code(line.phase);
    codes.failure[i] = this.#code(line.outcome === "failed" ? line.failure : "");
    codes.finishReason[i] = this.#codeOfReason(line.finishReason ?? "");
    block.flags.completed[i] = completed ? 1 : 0;
    block.flags.reused[i] = line.reused ? 1 : 0;
  }

  /** The code of a finish reason: a server can send one of its own with every reply, where levels, phases and failures are few. */
  #codeOfReason(text: string): number {
    if (!this.#reasons.has(text)) {
      if (this.#reasons.size === mostReasons) return this.#code("other");
      this.#reasons.add(text);
    }
    return this.#code(text);
  }

  #code(text: string): number {
    const known = this.#codeOf.get(text);
    if (known !== undefined) return known;
    if (this.#texts.length > 0xffff) throw new RangeError(`more than ${0xffff} names of levels, phases and failures`);
    this.#codeOf.set(text, this.#texts.length);
    return this.#texts.push(text) - 1;
  }
}

/**
 * Some rows, in an order: four bytes for each that was chosen, none for all of a table. A list of views would take twelve times
 * that, and a list of numbers twice what `numbers` takes.
 */
export class Rows implements Iterable<RequestRow> {
  readonly #source: RowSource;
  /** Which rows of the source; undefined: all. */
  readonly #chosen?: Uint32Array;

  constructor(source: RowSource, chosen?: Uint32Array) {
    this.#source = source;
    this.#chosen = chosen;
  }

  static of(rows: readonly RequestRow[]): Rows {
    return new Rows({ length: rows.length, row: (i) => rows[i] as RequestRow });
  }

  get length(): number {
    return this.#chosen?.length ?? this.#source.length;
  }

  at(i: number): RequestRow | undefined {
    return i >= 0 && i < this.length ? this.#row(i) : undefined;
  }

  *[Symbol.iterator](): IterableIterator<RequestRow> {
    for (let i = 0; i < this.length; i++) yield this.#row(i);
  }

  filter(keep: (row: RequestRow, i: number) => boolean): Rows {
    const kept = new Uint32Array(this.length);
    let count = 0;
    for (let i = 0; i < this.length; i++) if (keep(this.#row(i), i)) kept[count++] = this.#index(i);
    return new Rows(this.#source, kept.slice(0, count));
  }

  /** The rows by what `keyOf` makes of each; keys and rows in the order in which they are found. */
  groupBy<K>(keyOf: (row: RequestRow, i: number) => K): Map<K, Rows> {
    const groupOf = new Map<K, number>();
    const counts: number[] = [];
    const groups = new Uint32Array(this.length);
    for (let i = 0; i < this.length; i++) {
      const key = keyOf(this.#row(i), i);
      let group = groupOf.get(key);
      if (group === undefined) {
        group = counts.push(0) - 1;
        groupOf.set(key, group);
      }
      groups[i] = group;
      counts[group] = (counts[group] as number) + 1;
    }
    const chosen = counts.map((count) => new Uint32Array(count));
    const filled = counts.map(() => 0);
    for (let i = 0; i < groups.length; i++) {
      const group = groups[i] as number;
      const at = filled[group] as number;
      (chosen[group] as Uint32Array)[at] = this.#index(i);
      filled[group] = at + 1;
    }
    return new Map([...groupOf].map(([key, group]) => [key, new Rows(this.#source, chosen[group])]));
  }

  /** The rows by a number of theirs, the least first; equal ones stay in their order. */
  sortedBy(keyOf: (row: RequestRow) => number): Rows {
    const keys = Float64Array.from({ length: this.length }, (_, i) => keyOf(this.#row(i)));
    const order = Uint32Array.from({ length: this.length }, (_, i) => i);
    order.sort((a, b) => (keys[a] as number) - (keys[b] as number) || a - b);
    return new Rows(
      this.#source,
      order.map((i) => this.#index(i)),
    );
  }

  map<T>(of: (row: RequestRow, i: number) => T): T[] {
    return Array.from({ length: this.length }, (_, i) => of(this.#row(i), i));
  }

  /** A number of each row that has it. */
  numbers(of: (row: RequestRow) => number | undefined): Float64Array {
    const values = new Float64Array(this.length);
    let count = 0;
    for (let i = 0; i < this.length; i++) {
      const value = of(this.#row(i));
      if (value !== undefined) values[count++] = value;
    }
    return count === values.length ? values : values.slice(0, count);
  }

  some(holds: (row: RequestRow) => boolean): boolean {
    for (let i = 0; i < this.length; i++) if (holds(this.#row(i))) return true;
    return false;
  }

  every(holds: (row: RequestRow) => boolean): boolean {
    return !this.some((row) => !holds(row));
  }

  #index(i: number): number {
    return this.#chosen ? (this.#chosen[i] as number) : i;
  }

  #row(i: number): RequestRow {
    return this.#source.row(this.#index(i));
  }
}

/** A view of one row of a block. */
class Row implements RequestRow {
  readonly #block: Block;
  readonly #i: number;

  constructor(block: Block, i: number) {
    this.#block = block;
    this.#i = i;
  }

  #number(name: Wide): number {
    return this.#block.numbers[name][this.#i] as number;
  }

  #rare<U extends number | undefined>(name: Rare, usual: U): number | U {
    const value = this.#block.rare[name]?.[this.#i];
    return value === undefined || Number.isNaN(value) ? usual : value;
  }

  #count(name: Whole): number {
    return this.#block.counts[name][this.#i] as number;
  }

  #word(name: Word): string {
    return this.#block.texts[this.#block.codes[name][this.#i] as number] as string;
  }

  /** The first output of a whole reply is its last byte. */
  get #streamed() {
    return this.completed && this.chunks > 0;
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
    return this.#block.flags.completed[this.#i] === 1;
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
    return this.outputTokens - this.#rare("hiddenTokens", 0);
  }
  get ttftMs() {
    const { firstOutputNs } = this;
    return this.#streamed && firstOutputNs > 0 ? (firstOutputNs - this.sentNs) / 1e6 : undefined;
  }
  get ttfoMs() {
    const firstNs = this.#rare("firstNonReasonNs", this.firstOutputNs);
    return this.#streamed && firstNs > 0 ? (firstNs - this.sentNs) / 1e6 : undefined;
  }
  get tpotMs() {
    const value = this.#number("tpotMs");
    return Number.isNaN(value) ? undefined : value;
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
    return this.#rare("pausesNs", 0);
  }
  get cachedTokens() {
    return this.#rare("cachedTokens", undefined);
  }
  get finishReason() {
    return this.#word("finishReason");
  }
  get reused() {
    return this.#block.flags.reused[this.#i] === 1;
  }
  get connectNs() {
    return this.#rare("connectNs", 0);
  }
  get tlsNs() {
    return this.#rare("tlsNs", 0);
  }
}
