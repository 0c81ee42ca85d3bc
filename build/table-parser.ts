/** papaparse as a bundle has it: its parser of text alone, a fifth of the library. */
import { readFileSync } from "node:fs";
import type { Plugin } from "esbuild";

/** The functions that parsing a text calls. What reads files and addresses, writes tables, or runs in workers is not among them: k6 has none of it. */
const kept = ["Parser", "stripBom", "escapeRegExp", "isFunction"];

/** Lines that stay beside these functions: the library's object, and what the parser reads of it. */
const keptLines = [
  "\tvar Papa = {};",
  "\tPapa.BYTE_ORDER_MARK = '\\ufeff';",
  "\tPapa.BAD_DELIMITERS = ['\\r', '\\n', '\"', Papa.BYTE_ORDER_MARK];",
  "\tPapa.Parser = Parser;",
];

/**
 * The source of papaparse.js without all that its parser does not call: a CommonJS module that exports Papa. Every line stays where it is.
 * @throws Error where the source is not as it was: a piece is not found exactly once, or calls a function that is left out.
 */
export function parserAlone(source: string): string {
  const lines = source.replaceAll("\r\n", "\n").split("\n");
  const starts = lines.flatMap((line, at) => {
    const name = /^\tfunction (\w+)\(/.exec(line)?.[1];
    return name === undefined ? [] : [{ name, at }];
  });
  const stays = new Set<number>();
  for (const name of kept) {
    const found = starts.filter((each) => each.name === name);
    const [start] = found;
    if (!start || found.length > 1) throw new Error(`papaparse.js has ${found.length} functions ${name}`);
    const end = lines.indexOf("\t}", start.at);
    if (end < 0) throw new Error(`papaparse.js has no end of its function ${name}`);
    for (let at = start.at; at <= end; at++) stays.add(at);
  }
  const left = starts.map(({ name }) => name).filter((name) => !kept.includes(name));
  const called = left.filter((name) => [...stays].some((at) => new RegExp(`\\b${name}\\b`).test(lines[at] as string)));
  if (called.length > 0) throw new Error(`the parser of papaparse.js calls ${called.join(", ")}, too`);
  for (const line of keptLines) {
    const found = lines.flatMap((each, at) => (each === line ? [at] : []));
    if (found.length !== 1) throw new Error(`papaparse.js has ${found.length} lines ${JSON.stringify(line.trim())}`);
    stays.add(found[0] as number);
  }
  const licence = lines.indexOf("*/");
  if (!/^\/\* @license$/.test(lines[0] ?? "") || licence < 0)
    throw new Error("papaparse.js does not begin with its licence");
  return [...lines.map((line, at) => (at <= licence || stays.has(at) ? line : "")), "module.exports = Papa;"].join(
    "\n",
  );
}

/** Puts the parser in the place of the whole library. */
export const tableParserAlone: Plugin = {
  name: "table-parser-alone",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]papaparse[\\/]papaparse(\.min)?\.js$/ }, ({ path: file }) => {
      try {
        return { contents: parserAlone(readFileSync(file, "utf8")), loader: "js" };
      } catch (error) {
        return { errors: [{ text: (error as Error).message }] };
      }
    });
  },
};
