/** One table, and what becomes of it: HTML for people, CSV and JSON for programs. */
import Papa from "papaparse";
import { escapeHtml, formatChange, formatNumber, formatShare } from "./format";

export type Cell = number | string | null;

/** How a number of a column is written in HTML: `share` is 0..1 shown as per cent, `change` the same with its sign. */
export type Format = "number" | "share" | "change" | "integer";

export interface Column {
  /** Name in CSV and JSON; ends in the unit where there is one (`ttft_p50_ms`). */
  key: string;
  title: string;
  unit?: string;
  format?: Format;
}

export interface Table {
  /** Stem of the CSV and JSON files. */
  name: string;
  title: string;
  /** What a reader must know to read it: definitions, rules. */
  note?: string;
  columns: Column[];
  rows: Record<string, Cell>[];
  /** Shown closed: detail that few readers want. */
  folded?: boolean;
}

function cell(column: Column, value: Cell | undefined): string {
  if (typeof value === "string") return escapeHtml(value);
  switch (column.format) {
    case "share":
      return formatShare(value);
    case "change":
      return formatChange(value);
    case "integer":
      return value === null || value === undefined || !Number.isFinite(value)
        ? "–"
        : Math.round(value).toLocaleString("en-US");
    default:
      return formatNumber(value);
  }
}

export function tableHtml(table: Table): string {
  const head = table.columns
    .map(
      (column) =>
        `<th scope="col">${escapeHtml(column.title)}${column.unit ? ` <small>${escapeHtml(column.unit)}</small>` : ""}</th>`,
    )
    .join("");
  const body = table.rows
    .map((row) => {
      const cells = table.columns.map((column) => {
        const value = row[column.key];
        return `<td${typeof value === "string" ? ' class="text"' : ""}>${cell(column, value)}</td>`;
      });
      return `<tr>${cells.join("")}</tr>`;
    })
    .join("\n");
  const note = table.note ? `<p class="note">${escapeHtml(table.note)}</p>` : "";
  const content = `<div class="scroll"><table id="table-${escapeHtml(table.name)}"><thead><tr>${head}</tr></thead><tbody>\n${body}\n</tbody></table></div>${note}`;
  return table.folded
    ? `<details><summary>${escapeHtml(table.title)}</summary>${content}</details>`
    : `<h3>${escapeHtml(table.title)}</h3>${content}`;
}

/** Rows with exactly the table's columns; what is no number becomes null. */
function plainRows(table: Table): Record<string, Cell>[] {
  return table.rows.map((row) =>
    Object.fromEntries(
      table.columns.map(({ key }) => {
        const value = row[key] ?? null;
        return [key, typeof value === "number" && !Number.isFinite(value) ? null : value];
      }),
    ),
  );
}

export function tableCsv(table: Table): string {
  const fields = table.columns.map(({ key }) => key);
  // escapeFormulae: a server's words may begin with = or @ and a spreadsheet would run them.
  return `${Papa.unparse({ fields, data: plainRows(table).map((row) => fields.map((key) => row[key])) }, { newline: "\n", escapeFormulae: true })}\n`;
}

export function tableJson(table: Table): string {
  return `${JSON.stringify({ title: table.title, note: table.note, columns: table.columns, rows: plainRows(table) }, null, 2)}\n`;
}
