import { beforeLoad, sessionRows, traceRows } from "../lazy";
import { type Config, orRefuse, shippedPath, userPath } from "../settings/config";
import { tokenclock } from "../wire/client";
import type { KeptRow, ReadFile, RowReader } from "./formats/read";
import type { KeptSession } from "./formats/sessions";
import type { Trace } from "./trace";

/** The rows of a file, or its sessions, in the order of sending, shared by all VUs. */
export interface FileRows<Kept = KeptRow> extends Pick<Trace, "length" | "timesMs" | "blockTokens"> {
  at(index: number): Kept;
}

const opened: Pick<ReadFile, "found" | "notes">[] = [];

/**
 * The rows of the file that a setting names, in the order in which they are sent. The first VU reads it. What it does not
 * understand ends the run with one line. Init context only.
 */
export function openFileRows(config: Config, setting: "DATASET"): FileRows {
  return open(config, setting);
}

/** The same of a TRACE, whose rows have times. */
export function openTrace(config: Config): Trace {
  return open(config, "TRACE", () => traceRows().traceReader) as Trace;
}

/** The conversations of the file that a setting names, in the order in which they are held. Init context only. */
export function openSessionRows(config: Config, setting: "DATASET" | "TRACE"): FileRows<KeptSession> {
  return open<KeptSession>(config, setting, () => sessionRows().sessionReader(setting === "TRACE"));
}

function open<Kept>(config: Config, setting: "DATASET" | "TRACE", reader?: () => RowReader): FileRows<Kept> {
  // Each class of a mix has a file of its own.
  const fileOf = config.part === undefined ? setting : `${setting} of ${config.part}`;
  let read: ReadFile | undefined;
  const rows = orRefuse(
    () =>
      new tokenclock.Rows(fileOf, (add) => {
        const file = (name: string, ships: boolean) =>
          new tokenclock.TextFile(ships ? shippedPath(name) : userPath(name));
        read = beforeLoad().readNamed(setting, config, file, add, reader?.());
        return read.order;
      }),
  );
  const about = tokenclock.shared(`about ${fileOf}`, () => {
    const { found = "", notes = [], blockTokens } = read ?? {};
    return { found, notes, blockTokens };
  });
  opened.push(about);
  return {
    length: rows.length,
    timesMs: read?.timesMs,
    blockTokens: about.blockTokens,
    at: (index) => JSON.parse(rows.at(index)),
  };
}

/** Shows what the file turned out to be, and what of it is not sent. For setup(): once a run. */
export function showFile(): void {
  for (const { found, notes } of opened) {
    console.info(`tokenclock: ${found}`);
    for (const note of notes) console.warn(`tokenclock: ${note}`);
  }
}
