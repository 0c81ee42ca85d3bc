/** The names of records' fields, which are the same in most rows of a file: what follows from names alone is found once. */
import type { Json } from "./row";

/** Names of a request's time. */
const timeFields: readonly string[] = ["timestamp", "ts", "time", "startTime", "start_time"];

/** Shapes of a file, and lists of names of a shape, that are kept. */
const mostKept = 64;

/** The names of a record's fields. */
export class Shape {
  readonly names: readonly string[];
  /** Those that may hold a time, in the record's order. */
  readonly timed: readonly string[];
  private readonly found = new Map<readonly string[], readonly string[]>();

  constructor(names: readonly string[]) {
    this.names = names;
    this.timed = names.filter((name) => timeFields.includes(name));
  }

  /** Those of these names, in their order, that are there. */
  among(names: readonly string[]): readonly string[] {
    let there = this.found.get(names);
    if (there === undefined) {
      there = names.filter((name) => this.names.includes(name));
      // Not for lists that are made anew for each record.
      if (this.found.size < mostKept) this.found.set(names, there);
    }
    return there;
  }
}

/** The shapes of a file's records. */
export class Shapes {
  private readonly known = new Map<string, Shape>();

  of(record: Json): Shape {
    const names = Object.keys(record);
    const key = names.join("\n");
    const known = this.known.get(key);
    // Kept are names without a line break: as many names of one key are the same names.
    if (known && known.names.length === names.length) return known;
    const shape = new Shape(names);
    if (this.known.size < mostKept && names.every((name) => !name.includes("\n"))) this.known.set(key, shape);
    return shape;
  }
}
