/** Streams records.ndjson(.gz) and forgives what a killed run leaves behind. The lines are lib/figures/records.ts', plus polled gauges. */
import { createReadStream, existsSync } from "node:fs";
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { constants, createGunzip } from "node:zlib";
import type { RecordLine as CommonLine } from "../../lib/figures/records";
import type { PointsLine } from "../../lib/figures/server";
import type { PagesLine } from "../../lib/figures/server-pages";

export type {
  EndLine,
  FailedLine,
  LevelLine,
  PartLine,
  Phase,
  RequestLine,
  RunLine,
  SessionLine,
} from "../../lib/figures/records";

export type { PagesLine, PointsLine };

export type RecordLine = CommonLine | PointsLine | PagesLine;

/** What could not be read, in words for the report; empty for a whole file. */
export type Damage = string[];

/** The records file of a results folder, if it has one. */
export function recordsPath(dir: string): string | undefined {
  return ["records.ndjson.gz", "records.ndjson"].map((name) => join(dir, name)).find((path) => existsSync(path));
}

const gzipMagic = Buffer.from([0x1f, 0x8b]);

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer.equals(gzipMagic);
  } finally {
    await file.close();
  }
}

/**
 * Streams the lines of a records file, gzip or plain (its first bytes decide, not its name). A killed run leaves a file
 * that ends in the middle of a gzip member or of a line: everything before is yielded, and `damage` says what was lost.
 * `onProgress` gets the share of the file (0..1) that was read.
 */
export async function* readRecords(
  path: string,
  damage: Damage,
  onProgress?: (share: number) => void,
): AsyncGenerator<RecordLine> {
  const size = (await stat(path)).size;
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  // Z_SYNC_FLUSH at the end makes zlib hand out what it has instead of failing on a stream without its trailer.
  const source = (await isGzip(path))
    ? file.pipe(createGunzip({ finishFlush: constants.Z_SYNC_FLUSH, chunkSize: 1 << 18 }))
    : file;
  let rest = "";
  let lineNumber = 0;
  const unreadable: number[] = [];
  let ended = false;
  const decoder = new TextDecoder();

  function parse(text: string): RecordLine | undefined {
    lineNumber++;
    if (text.trim() === "") return undefined;
    try {
      const line = JSON.parse(text) as RecordLine;
      if (line.type === "end") ended = true;
      return line;
    } catch {
      unreadable.push(lineNumber);
      return undefined;
    }
  }

  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      onProgress?.(size > 0 ? file.bytesRead / size : 1);
      for (const text of lines) {
        const line = parse(text);
        if (line) yield line;
      }
    }
  } catch (error) {
    damage.push(
      `the records are damaged after line ${lineNumber} (${(error as Error).message}); what stands before is used`,
    );
  }
  const last = parse(rest);
  if (last) yield last;
  if (unreadable.length === 1 && unreadable[0] === lineNumber) {
    damage.push(`the records' last line (${lineNumber}) is cut off; it is left out`);
  } else if (unreadable.length > 0) {
    damage.push(
      `${unreadable.length} lines of the records cannot be read (the first is line ${unreadable[0]}); they are left out`,
    );
  }
  if (!ended) damage.push("the records have no end line: the run was killed, or is still going on");
}

/**
 * Whether a compressed file is whole up to its checksum, which readRecords does not ask for: a killed run's has none. What is
 * wrong is pushed to `damage`, unless something already is.
 */
export async function checkCompression(path: string, damage: Damage): Promise<void> {
  if (damage.length > 0 || !(await isGzip(path))) return;
  try {
    await pipeline(
      createReadStream(path, { highWaterMark: 1 << 18 }),
      createGunzip({ chunkSize: 1 << 18 }),
      async (out) => {
        for await (const _ of out);
      },
    );
  } catch (error) {
    damage.push(`the compressed records are not whole (${(error as Error).message})`);
  }
}
