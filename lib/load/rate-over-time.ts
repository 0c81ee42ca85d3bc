/** Rates that change over time: patterns and files, as points that straight lines connect. Pure. */

import { SettingError } from "../settings/setting-error";
import type { Pattern } from "../settings/settings";

/** [ms from the beginning, requests/s]; two points of one time are a jump. */
export type RatePoint = readonly [atMs: number, rate: number];

/** Straight lines that stand for one period of a sine: they differ from it by less than 0.03 % of its amplitude. */
const linesAPeriod = 128;

/** Most points of a rate over time. */
const mostPoints = 200_000;

/**
 * The points of a pattern for so long. sine: from the mean of both rates up to the high one, down to the low one and back, each
 * period. spikes: the low rate, and in the last part of each period, `lengthMs` long, the high one.
 */
export function patternPoints(pattern: Pattern, durationMs: number): RatePoint[] {
  const { low, high, periodMs } = pattern;
  const points: RatePoint[] = [];
  const perPeriod = pattern.kind === "sine" ? linesAPeriod : 4;
  const periods = durationMs / periodMs;
  if (periods * perPeriod > mostPoints)
    throw new SettingError(`PATTERN has ${Math.ceil(periods)} periods in DURATION; make them longer`);
  if (pattern.kind === "sine") {
    const rateAt = (atMs: number) =>
      (low + high) / 2 + ((high - low) / 2) * Math.sin((2 * Math.PI * (atMs % periodMs)) / periodMs);
    const lineMs = periodMs / linesAPeriod;
    for (let line = 0; line * lineMs < durationMs; line++) points.push([line * lineMs, rateAt(line * lineMs)]);
    points.push([durationMs, rateAt(durationMs)]);
    return points;
  }
  for (let startMs = 0; startMs < durationMs; startMs += periodMs) {
    const spikeMs = Math.min(startMs + periodMs - pattern.lengthMs, durationMs);
    const endMs = Math.min(startMs + periodMs, durationMs);
    points.push([startMs, low], [spikeMs, low]);
    if (endMs > spikeMs) points.push([spikeMs, high], [endMs, high]);
  }
  return points;
}

/**
 * The points of a CSV with the columns time (s) and rate (requests/s). The first row's time is the beginning; between rows the
 * rate follows a straight line, and two rows of one time are a jump.
 * @throws SettingError for what is not that, with the line.
 */
export function ratePoints(name: string, text: string): RatePoint[] {
  const refuse = (why: string): never => {
    throw new SettingError(`RATE_FILE=${name} ${why}; it is a CSV with the columns time (in s) and rate (requests/s)`);
  };
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n/);
  while (lines.length > 0 && lines.at(-1)?.trim() === "") lines.pop();
  const heading = (lines[0] ?? "").split(",").map((word) => word.trim().toLowerCase());
  if (heading.length !== 2 || !heading.includes("time") || !heading.includes("rate"))
    refuse(`begins with the line "${(lines[0] ?? "").slice(0, 80)}"`);
  const [time, rate] = [heading.indexOf("time"), heading.indexOf("rate")];
  const number = /^(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?$/i;
  const points: RatePoint[] = [];
  let firstS = 0;
  for (const [k, line] of lines.slice(1).entries()) {
    const where = `line ${k + 2}`;
    const cells = line.split(",").map((word) => word.trim());
    if (cells.length !== 2) refuse(`has ${cells.length} cells in ${where}`);
    const [timeText = "", rateText = ""] = [cells[time], cells[rate]];
    if (!number.test(timeText)) refuse(`has the time "${timeText}" in ${where}`);
    if (!number.test(rateText) || Number(rateText) > 1e6) refuse(`has the rate "${rateText}" in ${where}`);
    if (k === 0) firstS = Number(timeText);
    // Times since 1970 have digits to spare, but not for sums of them.
    const atMs = Math.round((Number(timeText) - firstS) * 1e6) / 1e3;
    if (atMs < (points.at(-1)?.[0] ?? 0)) refuse(`goes back in time in ${where}`);
    points.push([atMs, Number(rateText)]);
    if (points.length > mostPoints) refuse(`has more than ${mostPoints} rows`);
  }
  if (points.length < 2) refuse(`has ${points.length} rows, and two are needed`);
  if (points.at(-1)?.[0] === 0) refuse("has one time only");
  if (points.every(([, each]) => each === 0)) refuse("has no rate above 0");
  return points;
}
