import { beforeLoad } from "../lazy";
import { type Config, orRefuse, shippedPath, userPath } from "../settings/config";
import { Rows, shared, TextFile } from "../wire/client";
import type { KeptRow, ReadFile } from "./formats/read";
import type { KeptSession } from "./formats/sessions";
import type { Trace } from "./trace";

/** The rows of a file, shared by all VUs. */
export interface FileRows {
  readonly length: number;
  at(index: number): KeptRow;
}

const opened: Pick<ReadFile, "found" | "notes">[] = [];

/**
 * The rows of the file that a setting names, in the order in which they are sent. The first VU reads it. What it does not
 * understand ends the run with one line. Init context only.
 */
export function openFileRows(config: Config, setting: "TRACE"): Trace;
export function openFileRows(config: Config, setting: "DATASET"): FileRows;
export function openFileRows(config: Config, setting: "DATASET" | "TRACE"): FileRows | Trace {
  return open(config, setting, false) as FileRows | Trace;
}

/** The conversations of the file that a setting names, in the order in which they are held. Init context only. */
export function openSessionRows(
  config: Config,
  setting: "DATASET" | "TRACE",
): { readonly length: number; at(index: number): KeptSession } {
  return open(config, setting, true) as ReturnType<typeof openSessionRows>;
}

function open(
  config: Config,
  setting: "DATASET" | "TRACE",
  sessions: boolean,
): { length: number; at(k: number): unknown } {
  // Of a mix each class has a file of its own.
  const name = config.part === undefined ? setting : `${setting} of ${config.part}`;
  let read: ReadFile | undefined;
  const rows = orRefuse(
    () =>
      new Rows(name, (add) => {
        const file = (path: string, ships: boolean) => new TextFile(ships ? shippedPath(path) : userPath(path));
        read = beforeLoad().readNamed(setting, config, file, sessions);
        for (const row of read.rows) add(row);
      }),
  );
  const about = shared(`about ${name}`, () => ({
    found: read?.found ?? "",
    notes: read?.notes ?? [],
  }));
  opened.push(about);
  return { length: rows.length, at: (index: number) => JSON.parse(rows.at(index)) };
}

/** Shows what the file turned out to be, and what of it is not sent. For setup(): once a run. */
export function showFile(): void {
  for (const { found, notes } of opened) {
    console.info(`tokenclock: ${found}`);
    for (const note of notes) console.warn(`tokenclock: ${note}`);
  }
}
