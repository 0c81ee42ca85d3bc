/** The rows of a trace: when each is sent, and what its blocks share. For the VU that reads a TRACE (lib/lazy.ts). */
import { beforeLoad } from "../../lazy";
import { BlockScale } from "./blocks";
import type { Likeness, TimedRows } from "./like";
import type { Keep, ReadSettings, RowReader, RowTaker, Sending } from "./read";
import type { Notes, Row, TimeUnit } from "./row";
import { inTime, Times } from "./times";

export const traceReader: RowReader = { open: (settings, notes, keep) => new TraceRows(settings, notes, keep) };

/** The rows of a TRACE, which have times. */
class TraceRows implements RowTaker {
  about = "";
  readonly item = "row";
  private readonly before = beforeLoad();
  private readonly times = new Times();
  private readonly blocks = new BlockScale();
  private unit: TimeUnit | undefined;
  private blockTokens: number | undefined;

  constructor(
    private readonly settings: ReadSettings,
    private readonly notes: Notes,
    private readonly keep: Keep,
  ) {}

  take(rows: readonly Row[]): boolean {
    for (let i = 0; i < rows.length; i++) this.add(rows[i] as Row);
    return true;
  }

  takeAlike(rows: TimedRows): void {
    this.times.addMany(rows);
    for (let k = 0; k < rows.ids.length; k++) this.blocks.see(rows.inputs[k] as number, rows.ids[k] as number);
    this.keep(rows);
  }

  like(row: Likeness): Likeness | undefined {
    const times = this.times.likeness();
    return times && { ...row, ...times };
  }

  private add(row: Row): void {
    if (row.time === undefined)
      throw new Error("has no time (timestamp); rows without times are sent by DATASET in the place of TRACE");
    if (row.outputTokens === 0 || row.inputTokens === 0) {
      const lacks = row.outputTokens === 0 ? "output (requests that failed)" : "input";
      this.notes.remark(`rows without ${lacks} are left out`);
      return;
    }
    if (row.outputTokens === undefined) throw new Error("has no length of its answer (output_length)");
    this.times.add(row.time);
    if (row.blockTokens === undefined && row.blockIds && row.inputTokens)
      this.blocks.see(row.inputTokens, row.blockIds.length);
    if (row.session !== undefined && row.input)
      this.notes.remark("requests of a session are sent at their times, without waiting for the answer before");
    this.unit ??= row.unit;
    this.blockTokens ??= row.blockTokens;
    if (row.input) this.before.requireSendable(row, this.settings.API, this.notes);
    const kept = row.input ? this.before.promptOf(row, this.notes) : row;
    const { inputTokens, outputTokens, ceiling, input, body } = kept;
    this.keep(
      JSON.stringify({ inputTokens, outputTokens, ceiling, input, body, blockIds: input ? undefined : row.blockIds }),
    );
  }

  end(): Sending {
    const { TRACE_UNIT: given, SPEED: speed, TRACE_BLOCK: block, TRACE_WINDOW: window } = this.settings;
    const found = this.times.unit();
    if (found === undefined && given !== "auto" && this.times.length > 0)
      throw new Error(`has dates for times, which have no unit; leave TRACE_UNIT=${given} out`);
    const unit = found === undefined ? undefined : given === "auto" ? (this.unit ?? found) : given;
    const blockTokens = block ?? this.blockTokens ?? this.blocks.tokens();
    if (this.blocks.used && blockTokens === undefined) {
      throw new Error("has hash_ids whose number fits no block size; say how many tokens a block has by TRACE_BLOCK");
    }
    const usesBlocks = this.blocks.used || this.blockTokens !== undefined;
    this.about = `${unit ? `, times in ${unit}` : ", dates"}${usesBlocks ? `, blocks of ${blockTokens} tokens` : ""}${speed === 1 ? "" : `, ${speed} times as fast`}`;
    const { timesMs, order } = inTime(this.times.ms(unit), window, speed, () =>
      this.notes.remark("rows are not in the order of their times, in which they are sent"),
    );
    if (window && timesMs.length === 0) throw new Error("has no row in TRACE_WINDOW");
    return { timesMs, ...(order && { order }), ...(usesBlocks && { blockTokens }) };
  }
}
