/** A column of a text table: its heading and the cell of a row. */
export interface Column<Row> {
  readonly heading: string;
  cell(row: Row): string;
  /** Texts are set to the left, numbers (the default) to the right. */
  readonly left?: boolean;
}

/**
 * A table of plain text, a line a row, columns aligned; "" cells are kept blank. There is no line of headings where none
 * has one.
 */
export function textTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const headings = columns.map(({ heading }) => heading);
  const cells = [
    ...(headings.some((heading) => heading !== "") ? [headings] : []),
    ...rows.map((row) => columns.map((column) => column.cell(row))),
  ];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => (line[i] ?? "").length)));
  const lines = cells.map((line) =>
    columns
      .map(({ left }, i) => {
        const text = line[i] ?? "";
        return left ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0);
      })
      .join("  ")
      .trimEnd(),
  );
  return lines.join("\n");
}

/** Those columns that say something of at least one row. */
export function filledColumns<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Column<Row>[] {
  return columns.filter((column) => rows.some((row) => !["", "-"].includes(column.cell(row))));
}

/** A number with three or more significant digits and no needless ones: 0.0123, 1.23, 45.6, 789, 12345. */
export function shortNumber(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  if (size >= 1) return value.toFixed(2);
  return value.toPrecision(size < 0.001 ? 2 : 3);
}

/**
 * A value beside the limit that it is held against: as `format` writes it, with more digits where the rounded value would lie
 * on the limit or on its other side (200.4 beside 200.3 is 200.4, not 200).
 */
export function besideLimit(value: number, limit: number, format: (value: number) => string = shortNumber): string {
  const side = Math.sign(value - limit);
  const short = format(value);
  const lies = (text: string) => Math.sign(Number(text.replaceAll(",", "")) - limit) === side;
  if (!Number.isFinite(value) || lies(short)) return short;
  for (let digits = 2; digits < 17; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (lies(text)) return text;
  }
  return String(value);
}

/** A share of 1 in per cent. */
export function percent(share: number): string {
  return `${shortNumber(share * 100)} %`;
}
