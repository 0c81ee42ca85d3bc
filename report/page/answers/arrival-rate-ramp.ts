/** Up to which request rate does a server answer, and what happens beyond? Two runs on one ramp: is version B better? */

import { type FoldedSecond, foldSeconds } from "../../../lib/figures/fold";
import { keptUpShare, onsetShare, type RampFigures, rampFigures, sustainedS } from "../../../lib/figures/ramp";
import { formatChange, formatMs, formatNumber, formatShare } from "../../format";
import { type Results, setting } from "../../read/read";
import { e2eMs } from "../../read/request";
import { ascending, least, mean, quantile } from "../../statistics";
import type { Answer } from "../answer";
import { drawCurves, failureColor, latencyAxis, type Picture, scheduledColor } from "../chart";
import type { Table } from "../table";
import { failureSentence, failuresTable, levelsTable, percentilesTable, present, statusTable } from "./levels";

/** Where a ramp begins, so that two runs stand beside each other however long their set-up took. */
function beginNs(run: Results): number {
  if (run.levels.length > 0) return least(run.levels.map(({ openNs }) => openNs));
  // A killed run has no level lines.
  return least(run.requests?.numbers((row) => (row.phase === "steady" ? row.scheduledNs : undefined)) ?? []);
}

/** The seconds of a run: from its records, or without them those of its summary, which are the same. */
function secondsOf(run: Results): FoldedSecond[] {
  return run.requests ? foldSeconds(run.requests, beginNs(run)) : (run.summary?.seconds ?? []);
}

/** Response times of the completed requests that were scheduled in the first `untilS` of the ramp, ascending, ms. */
function latenciesMs(run: Results, untilS: number): Float64Array {
  const fromNs = beginNs(run);
  const rows = run.requests?.filter(
    ({ completed, scheduledNs }) => completed && scheduledNs >= fromNs && scheduledNs < fromNs + untilS * 1e9,
  );
  return ascending(rows?.numbers(e2eMs) ?? []);
}

/** Whether arrivals or users made the load. */
const loopOf = (run: Results): "open" | "closed" => (setting(run.config, "LOOP") === "closed" ? "closed" : "open");

export function arrivalRateRamp(runs: [Results, ...Results[]]): Answer {
  const [run, other] = runs;
  const seconds = secondsOf(run);
  const figures = rampFigures(seconds, loopOf(run));
  const levels = run.levelSummaries;
  const comparison = other ? compareRamps(run, other) : undefined;
  return {
    sentences: [...(comparison?.sentences ?? []), ...sentences(figures, loopOf(run)), failureSentence(levels)],
    sections: [
      ...(comparison
        ? [{ heading: "Version A against version B", pictures: comparison.pictures, tables: comparison.tables }]
        : []),
      {
        heading: other ? "Version A along the ramp" : "Along the ramp",
        text: [
          `Sustained means over ${sustainedS} s. The failure onset is the first second from which on more than ${formatShare(onsetShare)} of the requests fail, and go on failing; its rate is the one scheduled for in that second. A failure counts for the second in which its request was scheduled for. The p95 at the onset is that of the requests that succeeded in its first second. The server falls behind where, from then on to the end, requests scheduled for twice the shortest median response time before have not ended; it keeps up where at least ${formatShare(keptUpShare)} as many end in the last ${sustainedS} s as are scheduled for.`,
        ],
        pictures: rampPictures("ramp", "Requests per second and response times", seconds, figures),
        tables: [figuresTable([["ramp", figures]])],
      },
      {
        heading: "Stages and details",
        pictures: [],
        tables: [
          levelsTable(levels, { key: "stage", title: "Stage" }, (level) => level.name),
          ...present([failuresTable(levels), statusTable(levels)]),
          secondsTable("seconds", seconds),
          percentilesTable(levels),
        ],
      },
    ],
    files: [],
  };
}

function sentences(figures: RampFigures, loop: "open" | "closed"): string[] {
  const { onset, fallingBehind, openAtEnd, overS, failedShareAtEnd, firstP50Ms, lastP50Ms } = figures;
  const at = ({ scheduledRate, t }: { scheduledRate: number; t: number }) =>
    // A closed loop asks as fast as it is answered.
    loop === "open" ? `${formatNumber(scheduledRate)} requests/s (${t} s into the ramp)` : `${t} s into the ramp`;
  const rate = `success rate is ${formatNumber(figures.highestSuccessRate)} requests/s`;
  const highest = overS < sustainedS ? `The ${rate} over ${overS} s.` : `The highest sustained ${rate}.`;
  const p50 = `The median response time is ${formatMs(firstP50Ms)} in the first second of answers and ${formatMs(lastP50Ms)} in the last.`;
  const sentences = [];
  if (onset) {
    sentences.push(
      `Requests begin to fail at ${at(onset)}: ${formatShare(onset.failedShare)} fail there, and the p95 of those that succeed is ${formatMs(onset.p95Ms)}.`,
    );
  }
  if (fallingBehind) {
    sentences.push(
      `The server falls behind from ${at(fallingBehind)}: fewer requests end than are scheduled, and ${formatNumber(openAtEnd)} are open when the ramp ends.`,
    );
  }
  if (!onset && !fallingBehind) {
    sentences.push(
      loop === "open"
        ? `The server kept up to the end of the ramp: it fell behind and failed at no rate up to ${formatNumber(figures.highestScheduledRate)} requests/s scheduled.`
        : "Requests go on failing at no number of users. Users wait for their answers: whether the server is full shows in the response time alone.",
    );
  }
  const end =
    failedShareAtEnd > 0 ? ` At the end of the ramp ${formatShare(failedShareAtEnd)} of the requests fail.` : "";
  return [...sentences, `${highest}${end}`, ...(lastP50Ms > 0 ? [p50] : [])];
}

function figuresTable(rows: [string, RampFigures][]): Table {
  return {
    name: "ramp_figures",
    title: "Failure onset and capacity",
    columns: [
      { key: "run", title: "Run" },
      { key: "highest_scheduled_rate_per_s", title: "Highest rate scheduled", unit: "requests/s" },
      { key: "onset_rate_per_s", title: "Failure onset", unit: "requests/s" },
      { key: "onset_at_s", title: "at", unit: "s into the ramp" },
      { key: "onset_failed_share", title: "Failed there", format: "share" },
      { key: "onset_p95_ms", title: "p95 there", unit: "ms" },
      { key: "falling_behind_rate_per_s", title: "Falls behind", unit: "requests/s" },
      { key: "falling_behind_at_s", title: "at", unit: "s into the ramp" },
      { key: "open_at_end", title: "Open at the end", format: "integer" },
      { key: "p50_at_begin_ms", title: "p50 at the beginning", unit: "ms" },
      { key: "p50_at_end_ms", title: "p50 at the end", unit: "ms" },
      { key: "highest_success_rate_per_s", title: "Highest success rate", unit: "requests/s" },
      { key: "failed_share_at_end", title: "Failed at the end", format: "share" },
    ],
    rows: rows.map(([run, figures]) => ({
      run,
      highest_scheduled_rate_per_s: figures.highestScheduledRate,
      onset_rate_per_s: figures.onset?.scheduledRate ?? null,
      onset_at_s: figures.onset?.t ?? null,
      onset_failed_share: figures.onset?.failedShare ?? null,
      onset_p95_ms: figures.onset?.p95Ms ?? null,
      falling_behind_rate_per_s: figures.fallingBehind?.scheduledRate ?? null,
      falling_behind_at_s: figures.fallingBehind?.t ?? null,
      open_at_end: figures.openAtEnd,
      p50_at_begin_ms: orNull(figures.firstP50Ms),
      p50_at_end_ms: orNull(figures.lastP50Ms),
      highest_success_rate_per_s: figures.highestSuccessRate,
      failed_share_at_end: figures.failedShareAtEnd,
    })),
  };
}

function secondsTable(name: string, seconds: readonly FoldedSecond[]): Table {
  return {
    name,
    title: "Second by second",
    note: "Scheduled by the load shape, sent, succeeded and failed: each counted in the second in which it happened. Response times are those of the requests that succeeded in the second.",
    folded: true,
    columns: [
      { key: "t_s", title: "Second", format: "integer" },
      { key: "scheduled_per_s", title: "Scheduled", unit: "1/s", format: "integer" },
      { key: "sent_per_s", title: "Sent", unit: "1/s", format: "integer" },
      { key: "succeeded_per_s", title: "Succeeded", unit: "1/s", format: "integer" },
      { key: "failed_per_s", title: "Failed", unit: "1/s", format: "integer" },
      { key: "in_flight", title: "In flight", format: "integer" },
      { key: "average_ms", title: "Average", unit: "ms" },
      { key: "p50_ms", title: "p50", unit: "ms" },
      { key: "p95_ms", title: "p95", unit: "ms" },
    ],
    rows: seconds.map((second) => ({
      t_s: second.t,
      scheduled_per_s: second.scheduled,
      sent_per_s: second.sent,
      succeeded_per_s: second.succeeded,
      failed_per_s: second.failed,
      in_flight: second.inFlight,
      average_ms: orNull(second.meanMs),
      p50_ms: orNull(second.p50Ms),
      p95_ms: orNull(second.p95Ms),
    })),
  };
}

const orNull = (value: number): number | null => (value > 0 ? value : null);

/** Seconds fit to be drawn: without the run's last, broken-off second, which would look like a collapse. */
function drawable(seconds: readonly FoldedSecond[]): readonly FoldedSecond[] {
  return seconds.at(-1)?.scheduled === 0 ? seconds.slice(0, -1) : seconds;
}

function rampPictures(name: string, title: string, all: readonly FoldedSecond[], figures: RampFigures): Picture[] {
  const seconds = drawable(all);
  const x = { title: "Time since the ramp began (s)", min: 0, max: seconds.length };
  // A second's count is drawn in the middle of the second.
  const line = (key: "scheduled" | "succeeded" | "failed") =>
    seconds.map((second) => [second.t + 0.5, second[key]] as const);
  const marks: [number, string][] = [];
  if (figures.onset) marks.push([figures.onset.t, "failure onset"]);
  if (figures.fallingBehind) marks.push([figures.fallingBehind.t, "falls behind"]);
  return drawCurves({
    name,
    title,
    alt: "Requests scheduled, succeeded and failed per second, and the response times of each second",
    panels: [
      {
        x,
        y: { title: "Requests/s", min: 0 },
        marks,
        series: [
          { name: "succeeded", kind: "area", stack: "ended", color: 2, points: line("succeeded") },
          { name: "failed", kind: "area", stack: "ended", color: failureColor, points: line("failed") },
          {
            name: "scheduled",
            kind: "line",
            symbols: false,
            dash: "dashed",
            color: scheduledColor,
            points: line("scheduled"),
          },
        ],
      },
      {
        x,
        y: latencyAxis(
          "Response time (ms)",
          seconds.flatMap(({ meanMs, p50Ms, p95Ms }) => [meanMs, p50Ms, p95Ms]),
        ),
        marks: marks.map(([at]) => [at, ""]),
        series: (
          [
            ["p50", "p50Ms"],
            ["average", "meanMs"],
            ["p95", "p95Ms"],
          ] as const
        ).map(([label, key]) => ({
          name: label,
          symbols: false,
          points: seconds.map((second) => [second.t + 0.5, orNull(second[key])] as const),
        })),
      },
    ],
  });
}

/** Settings that make a ramp what it is. */
const rampSettings = ["RATE", "STAGES", "ARRIVAL", "TRACE", "SEED", "DURATION", "INPUT_TOKENS", "OUTPUT_TOKENS", "API"];

function compareRamps(a: Results, b: Results): { sentences: string[]; pictures: Picture[]; tables: Table[] } {
  const seconds = [secondsOf(a), secondsOf(b)] as const;
  const drawn = seconds.map(drawable) as [readonly FoldedSecond[], readonly FoldedSecond[]];
  const figures = [rampFigures(seconds[0], loopOf(a)), rampFigures(seconds[1], loopOf(b))] as const;
  const differing = rampSettings.filter(
    (name) => JSON.stringify(setting(a.config, name)) !== JSON.stringify(setting(b.config, name)),
  );
  const firstOnsetS = Math.min(
    figures[0].onset?.t ?? Number.POSITIVE_INFINITY,
    figures[1].onset?.t ?? Number.POSITIVE_INFINITY,
  );

  const spans: [string, number][] = [["whole ramp", Number.POSITIVE_INFINITY]];
  if (Number.isFinite(firstOnsetS)) spans.push([`before the first failure onset (${firstOnsetS} s)`, firstOnsetS]);
  const rows = spans.flatMap(([span, untilS]) => {
    const latencies = [a, b].map((run) => latenciesMs(run, untilS));
    const statistics: [string, (values: Float64Array) => number][] = [
      ["average", mean],
      ["p50", (values) => quantile(values, 0.5)],
      ["p95", (values) => quantile(values, 0.95)],
    ];
    return statistics.map(([statistic, of]) => {
      const [valueA, valueB] = latencies.map(of) as [number, number];
      return { span, statistic, a_ms: valueA, b_ms: valueB, change: valueB / valueA - 1 };
    });
  });
  const find = (span: number, statistic: string) =>
    rows.find((row) => row.span === spans[span]?.[0] && row.statistic === statistic);
  const words = (span: number) =>
    `average ${formatChange(find(span, "average")?.change)} (${formatMs(find(span, "average")?.a_ms)} to ${formatMs(find(span, "average")?.b_ms)}), p95 ${formatChange(find(span, "p95")?.change)} (${formatMs(find(span, "p95")?.a_ms)} to ${formatMs(find(span, "p95")?.b_ms)})`;
  const onset = (each: RampFigures) =>
    each.onset ? `${formatNumber(each.onset.scheduledRate)} requests/s` : "no rate of this ramp";
  const behind = (name: string, { fallingBehind }: RampFigures) =>
    fallingBehind ? ` ${name} falls behind from ${formatNumber(fallingBehind.scheduledRate)} requests/s.` : "";
  return {
    sentences: [
      ...(differing.length > 0
        ? [`The two runs did not follow the same ramp (${differing.join(", ")} differ): read the comparison with care.`]
        : []),
      `From A to B, over the whole ramp: ${words(0)}.`,
      ...(spans.length > 1 ? [`While neither had begun to fail: ${words(1)}.`] : []),
      `A begins to fail at ${onset(figures[0])}, B at ${onset(figures[1])}; A's highest sustained success rate is ${formatNumber(figures[0].highestSuccessRate)} requests/s, B's ${formatNumber(figures[1].highestSuccessRate)}.${behind("A", figures[0])}${behind("B", figures[1])}`,
    ],
    pictures: [
      ...drawCurves({
        name: "ramp-a-against-b",
        title: "Version A against version B on the same ramp",
        alt: "Successful requests per second and p95 response times of both versions",
        panels: [
          {
            x: { title: "Time since the ramp began (s)", min: 0, max: Math.max(drawn[0].length, drawn[1].length) },
            y: { title: "Requests/s", min: 0 },
            series: [
              {
                name: "A succeeded",
                symbols: false,
                color: 1,
                points: drawn[0].map(({ t, succeeded }) => [t + 0.5, succeeded]),
              },
              {
                name: "B succeeded",
                symbols: false,
                color: 0,
                points: drawn[1].map(({ t, succeeded }) => [t + 0.5, succeeded]),
              },
              {
                name: "scheduled",
                symbols: false,
                dash: "dashed",
                color: scheduledColor,
                points: drawn[0].map(({ t, scheduled }) => [t + 0.5, scheduled]),
              },
            ],
          },
          {
            x: { title: "Time since the ramp began (s)", min: 0, max: Math.max(drawn[0].length, drawn[1].length) },
            y: latencyAxis(
              "p95 response time (ms)",
              drawn.flatMap((each) => each.map(({ p95Ms }) => p95Ms)),
            ),
            series: [
              {
                name: "A p95",
                symbols: false,
                color: 1,
                points: drawn[0].map(({ t, p95Ms }) => [t + 0.5, orNull(p95Ms)]),
              },
              {
                name: "B p95",
                symbols: false,
                color: 0,
                points: drawn[1].map(({ t, p95Ms }) => [t + 0.5, orNull(p95Ms)]),
              },
            ],
          },
        ],
      }),
      ...rampPictures("ramp-b", "Version B: requests per second and response times", seconds[1], figures[1]),
    ],
    tables: [
      {
        name: "a_against_b",
        title: "Response times of completed requests",
        columns: [
          { key: "span", title: "Part of the ramp" },
          { key: "statistic", title: "Statistic" },
          { key: "a_ms", title: "A", unit: "ms" },
          { key: "b_ms", title: "B", unit: "ms" },
          { key: "change", title: "Change", format: "change" },
        ],
        rows,
      },
      {
        ...figuresTable([
          ["A", figures[0]],
          ["B", figures[1]],
        ]),
        name: "ramp_figures_a_b",
      },
      { ...secondsTable("seconds_b", seconds[1]), title: "Version B second by second" },
    ],
  };
}
