import type Papa from "papaparse";

/** The rows of a CSV text, as lists of cells; empty lines are left out. */
export function csvRows(text: string): string[][] {
  // Loaded by the one VU that parses a file: at the top of a module it would cost every VU of a run 90 kB.
  const papa = require("papaparse") as typeof Papa;
  return papa.parse<string[]>(text.replace(/^\uFEFF/, ""), { skipEmptyLines: "greedy" }).data;
}
