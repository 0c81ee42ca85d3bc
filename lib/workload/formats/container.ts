/** What a file is made of, whatever it is named: lines of text, JSON lines, a JSON array, an object or a table. */
import { tableParser } from "../../lazy";
import { isObject } from "./fields";
import { isLikeness, type TimedRows } from "./like";
import type { Json } from "./row";

/** A file as the client opens it; see TextFile in the module's index.d.ts. */
export interface TextFile {
  readonly head: string;
  /** Its lines are the rows of a Parquet file as JSON. */
  readonly parquet: boolean;
  lines(take: (line: string, number: number) => unknown, alike?: (rows: TimedRows) => void): void;
  elements(take: (element: string, number: number) => unknown): void;
  /** The text in pieces of whole lines with their ends. */
  pieces(take: (piece: string) => unknown, alike?: (rows: TimedRows) => void): void;
  text(): string;
}

/** The records of a file in order. */
export interface Records {
  /** "JSONL", "JSON", "Parquet", "CSV", "TSV" or "text". */
  readonly kind: string;
  /** What a record is called in messages, before its number: "line" or "row". */
  readonly place: string;
  /**
   * Calls `take` with each record and its number, until it returns false. Where it returns a likeness, the file may read the
   * records that follow by itself as far as they are like it, and hands them to `alike`.
   */
  each(take: (record: unknown, number: number) => unknown, alike?: (rows: TimedRows) => void): void;
}

const endings = ["jsonl", "ndjson", "json", "har", "csv", "tsv", "txt"];

/**
 * @throws Error for a file that is not read: an unknown ending, no text, or broken. `isRecord` tells an object that is a
 * record itself from one that holds a list of them.
 */
export function openRecords(name: string, file: TextFile, isRecord: (value: unknown) => boolean): Records {
  if (file.parquet) return jsonLines(file, "Parquet", "row");
  const ending = /\.([a-z0-9]+?)(\.gz)?$/i.exec(name)?.[1]?.toLowerCase() ?? "";
  refuseBinary(file.head);
  if (ending === "parquet") throw new Error("its name ends in .parquet, but it is no Parquet file; rename it");
  if (!endings.includes(ending)) {
    throw new Error(
      `its ending .${ending} is not known; files are read that end in ${endings.map((each) => `.${each}`).join(", ")}, or these with .gz, and Parquet files. If every line is a prompt, name it .txt`,
    );
  }
  if (ending === "csv" || ending === "tsv") return tableRecords(ending, file);
  if (ending === "txt") return textRecords(file);
  return jsonRecords(ending, file, isRecord);
}

/** @throws Error for a file that is no text, with what to do about it. */
function refuseBinary(head: string): void {
  if (head.startsWith("PAR1")) {
    throw new Error(
      "it is a Parquet file, which only bin/k6 reads; convert it, such as by: duckdb -c \"COPY 'FILE.parquet' TO 'FILE.jsonl'\"",
    );
  }
  if (head.startsWith("PK\u0003\u0004"))
    throw new Error("it is a zip archive or a spreadsheet; save it as CSV or JSONL");
  if (head.startsWith("\u001f"))
    throw new Error("it is packed by gzip, which this binary does not unpack; run gunzip first");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they tell that the file is no text
  if (/[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/.test(head))
    throw new Error("it is no text file; a prompt is UTF-8 text");
}

/** A line is a prompt, or where it begins like JSON a list of messages or a body. */
function textRecords(file: TextFile): Records {
  return {
    kind: "text",
    place: "line",
    each: (take) =>
      file.lines((line, number) => take(/^\s*(\{|\[\s*[\d{])/.test(line) ? parsed(line, number) : line, number)),
  };
}

function parsed(line: string, number: number): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new Error(`line ${number} begins like JSON and is broken`);
  }
}

function jsonRecords(ending: string, file: TextFile, isRecord: (value: unknown) => boolean): Records {
  const head = file.head.trimStart();
  const [first = ""] = head.split(/\r?\n/, 1);
  const oneLine = head.trimEnd() === first.trimEnd();
  // A line of .jsonl may be longer than the head, and then does not tell what follows it.
  const lines = !oneLine && isJson(first);
  const long = ending !== "json" && ending !== "har" && oneLine && !isJson(first);
  if (lines || long) return jsonLines(file);
  if (head.startsWith("[")) return arrayElements(file, isRecord, oneLine && isJson(first));
  if (head.startsWith("{")) return objectRecords(file, isRecord);
  return jsonLines(file);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function jsonLines(file: TextFile, kind = "JSONL", place = "line"): Records {
  return {
    kind,
    place,
    each: (take, alike) =>
      file.lines((line, number) => {
        let record: unknown;
        try {
          record = JSON.parse(line);
        } catch {
          throw new Error(`${place} ${number} is no JSON; a file of plain prompts is named .txt`);
        }
        return take(record, number);
      }, alike),
  };
}

function arrayElements(file: TextFile, isRecord: (value: unknown) => boolean, whole: boolean): Records {
  // A single line of .jsonl may be a list of messages.
  const only: unknown = whole ? JSON.parse(file.head.trim()) : undefined;
  const single = Array.isArray(only) && only.length > 0 && isRecord(only) && !only.every((each) => isRecord(each));
  return {
    kind: "JSON",
    place: "row",
    each: (take) => (single ? take(only, 1) : file.elements((element, number) => take(JSON.parse(element), number))),
  };
}

function objectRecords(file: TextFile, isRecord: (value: unknown) => boolean): Records {
  let whole: unknown;
  try {
    whole = JSON.parse(file.text());
  } catch {
    return jsonLines(file); // whose message names the line
  }
  const records = isRecord(whole) ? [whole] : listIn(whole as Json);
  return {
    kind: "JSON",
    place: "row",
    each(take) {
      records.every((record, i) => take(record, i + 1) !== false);
    },
  };
}

/** The list of records in an object. @throws Error where there is none, or several. */
function listIn(object: Json): readonly unknown[] {
  if (isObject(object.log) && Array.isArray(object.log.entries)) return object.log.entries;
  const lists = Object.entries(object).filter(
    (entry): entry is [string, unknown[]] =>
      Array.isArray(entry[1]) &&
      entry[1].length > 0 &&
      entry[1].every((each) => typeof each === "object" && each !== null),
  );
  const [list] = lists.length === 1 ? lists : lists.filter(([name]) => name === "data" || name === "rows");
  if (list) return list[1];
  const names = Object.keys(object).join(", ");
  throw new Error(
    lists.length === 0
      ? `it is a JSON object without a list of rows (its fields are ${names}); write the rows as JSONL`
      : `it is a JSON object with several lists (${lists.map(([name]) => name).join(", ")}); write the rows as JSONL`,
  );
}

/** The rows of a table as objects by its heading, whose names are taken in lower case. */
function tableRecords(ending: string, file: TextFile): Records {
  const [heading = ""] = file.head.split(/\r?\n|\r/, 1);
  const delimiter = ending === "tsv" ? "\t" : delimiterOf(heading);
  return {
    kind: ending.toUpperCase(),
    place: "row",
    each(take, alike) {
      let names: readonly string[] | undefined;
      let keys: readonly string[] = [];
      let row = 0;
      const takeRow = (cells: readonly string[]): unknown => {
        if (!names) {
          names = cells;
          keys = names.map((name) => name.trim().toLowerCase());
          return true;
        }
        row++;
        // A sign at the end of a row begins a cell that has nothing in it.
        if (cells.length < keys.length || cells.slice(keys.length).some((cell) => cell !== "")) {
          throw new Error(
            `row ${row} has ${cells.length} cells for ${keys.length} columns (${names.join(", ")}); put texts with a ${delimiter === "\t" ? "tab" : delimiter} or a quote in them into quotes`,
          );
        }
        const record: Record<string, string> = {};
        for (let k = 0; k < keys.length; k++) record[keys[k] as string] = cells[k] ?? "";
        const like = take(record, row);
        // Two columns of one name, or one that is a number, are not the record's fields in their order.
        return isLikeness(like) && !like.names.every((name, k) => name === keys[k] && keys.length === like.names.length)
          ? true
          : like;
      };
      const takeAlike =
        alike &&
        ((rows: TimedRows) => {
          row += rows.length;
          alike(rows);
        });
      eachCells(file, delimiter, takeRow, takeAlike);
    },
  };
}

/** What Papa's parser makes of a piece: whole rows, and where what is left of it begins. */
interface Parsed {
  readonly data: readonly string[][];
  readonly errors: readonly { readonly row?: number; readonly message: string }[];
  readonly meta: { readonly cursor: number };
}

/**
 * Calls `take` with the cells of each row that is not blank, the heading among them, until it returns false. What it says of a row
 * at the end of a piece holds for the lines that follow.
 */
function eachCells(
  file: TextFile,
  delimiter: string,
  take: (cells: readonly string[]) => unknown,
  alike: ((rows: TimedRows) => void) | undefined,
): void {
  const [newline = "\n"] = /\r\n|\n|\r/.exec(file.head) ?? [];
  const { Parser } = tableParser();
  let rest = "";
  let rows = 0;
  const parse = (text: string, last: boolean): unknown => {
    const { data, errors, meta } = new Parser({ delimiter, newline: newline as "\r\n" }).parse(
      text,
      0,
      !last,
    ) as Parsed;
    const [error] = errors;
    if (error) throw new Error(`row ${rows + (error.row ?? 0) + 1} of the table: ${error.message}`);
    rows += data.length;
    rest = text.slice(meta.cursor);
    let answer: unknown;
    for (let i = 0; i < data.length && answer !== false; i++) {
      const cells = data[i] as string[];
      answer = cells.every((cell) => cell.trim() === "") || take(cells);
    }
    return answer;
  };
  let more = true;
  const takeAlike =
    alike &&
    ((many: TimedRows) => {
      rows += many.length;
      alike(many);
    });
  file.pieces((piece) => {
    const answer = parse(rest + piece, false);
    more = answer !== false;
    return !isLikeness(answer) || rest !== "" ? more : { ...answer, delimiter, newline };
  }, takeAlike);
  if (more && rest !== "") parse(rest, true);
}

/** The sign that stands most often in the heading: a text in the rows may hold any. */
function delimiterOf(heading: string): string {
  const bare = heading.replace(/"[^"]*"/g, "");
  const counts = [",", ";", "\t", "|"].map((sign) => [sign, bare.split(sign).length - 1] as const);
  return counts.reduce((best, each) => (each[1] > best[1] ? each : best))[0];
}
