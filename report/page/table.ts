/** One table, and what becomes of it: HTML for people, CSV and JSON for programs. */
import Papa from "papaparse";
import { formatChange, formatNumber, formatShare } from "../format";
import { type Html, html } from "./markup";

export type Cell = number | string | null;

/** How a number of a column is written in HTML: `share` is 0..1 shown as per cent, `change` the same with its sign. */
export type Format = "number" | "share" | "change" | "integer";

export interface Column {
  /** Name in CSV and JSON; ends in the unit where there is one (`ttft_p50_ms`). */
  key: string;
  title: string;
  unit?: string;
  format?: Format;
  /** Long texts, on as many lines as they need. */
  wrap?: boolean;
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

/** A table without the columns that no row fills: what does not exist is no number. */
export function filled(table: Table): Table {
  const columns = table.columns.filter(({ key }) => table.rows.some((row) => (row[key] ?? null) !== null));
  return { ...table, columns };
}

function cell(column: Column, value: Cell | undefined): string {
  if (typeof value === "string") return value;
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

/** Columns that fit beside each other on a page and on paper. */
const mostColumns = 12;

/** Columns of a wide table in parts that fit, each with the columns that name the row. */
function columnParts({ columns, rows }: Table): Column[][] {
  if (columns.length <= mostColumns) return [columns];
  const firstNumber = columns.findIndex(({ key }, i) => i > 0 && rows.some((row) => typeof row[key] !== "string"));
  const names = columns.slice(0, Math.max(1, firstNumber));
  const others = columns.slice(names.length);
  const count = Math.ceil(others.length / Math.max(1, mostColumns - names.length));
  const bounds = Array.from({ length: count + 1 }, (_, i) => Math.ceil((i * others.length) / count)).map((bound) =>
    // A deviation stays with what it is of.
    others[bound]?.title === "±" ? bound + 1 : bound,
  );
  return bounds.slice(1).map((end, i) => [...names, ...others.slice(bounds[i], end)]);
}

function partHtml(table: Table, columns: Column[], id: string): Html {
  const head = columns.map(
    ({ key, title, unit }) =>
      html`<th scope="col"${table.rows.some((row) => typeof row[key] === "string") && html` class="text"`}>${title}${unit && html` <small>${unit}</small>`}</th>`,
  );
  const body = table.rows.map((row) => {
    const cells = columns.map((column) => {
      const value = row[column.key];
      const kind = typeof value !== "string" ? "" : column.wrap ? "text wrap" : "text";
      return html`<td${kind && html` class="${kind}"`}>${cell(column, value)}</td>`;
    });
    return html`<tr>${cells}</tr>\n`;
  });
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${table.title}"><table id="${id}"><thead><tr>${head}</tr></thead><tbody>\n${body}</tbody></table></div>`;
}

export function tableHtml(table: Table): Html {
  const parts = columnParts(table).map((columns, i) =>
    partHtml(table, columns, `table-${table.name}${i === 0 ? "" : `-${i + 1}`}`),
  );
  const content = html`${parts}${table.note && html`<p class="note">${table.note}</p>`}`;
  return table.folded
    ? html`<details><summary>${table.title}</summary>${content}</details>`
    : html`<h3>${table.title}</h3>${content}`;
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
