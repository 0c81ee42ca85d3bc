/** How numbers are written for people; files for programs carry them in full. */

/** Three significant digits below 1000, whole with separators from there on; an en dash for what is no number. */
export function formatNumber(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 999.5) return Math.round(value).toLocaleString("en-US");
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(size)));
  const text = value.toFixed(Math.min(decimals, 6));
  return Number.isInteger(value) ? String(value) : text;
}

/** A share 0..1 as per cent; more digits close to 0 and 100 %, where they matter. */
export function formatShare(share: number | null | undefined): string {
  if (share === null || share === undefined || !Number.isFinite(share)) return "–";
  const percent = share * 100;
  if (Math.abs(percent - Math.round(percent)) < 1e-9) return `${Math.round(percent)} %`;
  // 100 - 99.9 is a little less than 0.1.
  const edge = Math.min(Math.abs(percent), Math.abs(100 - percent)) + 1e-9;
  return `${percent.toFixed(edge < 0.1 ? 3 : edge < 1 ? 2 : 1)} %`;
}

/** A relative change with its sign: 0.123 -> "+12.3 %". */
export function formatChange(change: number | null | undefined): string {
  if (change === null || change === undefined || !Number.isFinite(change)) return "–";
  const percent = change * 100;
  const digits = Math.abs(percent) >= 100 ? 0 : 1;
  const text = percent.toFixed(digits);
  return `${percent > 0 && Number(text) !== 0 ? "+" : ""}${Number(text) === 0 ? (0).toFixed(digits) : text} %`;
}

/** Milliseconds with the unit that reads best. */
export function formatMs(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  return Math.abs(ms) >= 10_000 ? `${formatNumber(ms / 1000)} s` : `${formatNumber(ms)} ms`;
}

export function plural(count: number, noun: string): string {
  return `${formatNumber(count)} ${noun}${count === 1 ? "" : "s"}`;
}
