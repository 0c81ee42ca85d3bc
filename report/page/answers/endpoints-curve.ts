/** What does the server give in all when each user must get so much? The step curve of MLPerf Endpoints. */
import {
  type CurvePoint,
  curveDeviations,
  curvePoints,
  isMeasured,
  offlineOf,
  rangesText,
  regionsOf,
  stepCorners,
  stepOf,
} from "../../../lib/figures/curve";
import { formatMs, formatNumber } from "../../format";
import type { Results } from "../../read/read";
import type { Answer } from "../answer";
import { drawCurves, levelAxis, type Picture } from "../chart";
import type { Table } from "../table";
import { failureSentence, failuresTable, levelFigures, percentilesTable, present, statusTable } from "./levels";

export function endpointsCurve([run]: [Results, ...Results[]]): Answer {
  const levels = run.levelSummaries;
  const points = curvePoints(levels);
  return {
    sentences: [...sentences(points), failureSentence(levels)],
    sections: [
      {
        heading: "Curve",
        text: [
          "The shape is that of MLPerf Endpoints, by the draft of its rules v1.0; it is no result of MLPerf. System tokens/s are the output tokens of all clients a second, tokens/s per user are 1000 / TPOT p90. The step curve says what the system gives where each user must get at least so many tokens/s: between two points it is what the faster one gives, without interpolation.",
        ],
        pictures: pictures(points),
        tables: [table(points)],
      },
      {
        heading: "Details",
        pictures: [],
        tables: [
          levelFigures(levels),
          ...present([failuresTable(levels), statusTable(levels)]),
          percentilesTable(levels),
        ],
      },
    ],
    files: [],
  };
}

function sentences(points: CurvePoint[]): string[] {
  const step = stepOf(points);
  const words = ({ concurrency }: CurvePoint) => `${concurrency} client${concurrency === 1 ? "" : "s"}`;
  const most = step[0];
  const fastest = step.at(-1);
  const offline = offlineOf(points);
  const counts = points.map(({ concurrency }) => concurrency);
  const regions = regionsOf(Math.min(...counts), Math.max(...counts));
  const ttft = ({ ttftP90Ms }: CurvePoint) => (ttftP90Ms === undefined ? "" : `, TTFT p90 ${formatMs(ttftP90Ms)}`);
  return [
    ...(most && fastest
      ? [
          `The system gives the most, ${formatNumber(most.systemTps)} tokens/s, with ${words(most)}: ${formatNumber(most.tpsPerUser)} tokens/s per user${ttft(most)}.`,
          `A user gets the most, ${formatNumber(fastest.tpsPerUser)} tokens/s, with ${words(fastest)}: ${formatNumber(fastest.systemTps)} tokens/s of the system${ttft(fastest)}.`,
          `${step.length} of ${points.length} points are on the step curve.`,
        ]
      : ["No point was measured without a failed request, so there is no curve."]),
    ...(offline
      ? [
          `The highest point, which the rules let a submitter elect as Offline, gives ${formatNumber(offline.systemTps)} tokens/s with ${words(offline)}.`,
        ]
      : []),
    ...(regions ? [`The regions are ${rangesText(regions)}.`] : []),
    ...curveDeviations(points).map((line) => `Not by the rules: ${line}.`),
  ];
}

function pictures(points: CurvePoint[]): Picture[] {
  const known = points.filter(isMeasured);
  // The corners of one point's step would pass for a curve.
  if (known.length < 2) return [];
  const timed = points.filter(({ ttftP90Ms }) => ttftP90Ms !== undefined);
  return drawCurves({
    name: "endpoints-curve",
    title: "System tokens/s by tokens/s per user, and time to first token",
    alt: `Step curve of ${known.length} points: system tokens/s against tokens/s per user; below it TTFT p90 against the number of clients`,
    panels: [
      {
        x: { title: "Tokens/s per user (1000 / TPOT p90)", min: 0 },
        y: { title: "System tokens/s", min: 0 },
        series: [
          { name: "step curve", points: stepCorners(stepOf(points)), symbols: false },
          {
            name: "points (clients)",
            kind: "scatter",
            points: known.map((p) => [p.tpsPerUser, p.systemTps] as const),
            labels: known.map((p) => String(p.concurrency)),
          },
        ],
      },
      {
        x: levelAxis(
          "Concurrency (clients)",
          timed.map(({ concurrency }) => concurrency),
        ),
        y: { title: "TTFT p90 (ms)", min: 0 },
        series: [
          { name: "TTFT p90", symbols: true, points: timed.map((p) => [p.concurrency, p.ttftP90Ms ?? null] as const) },
        ],
      },
    ],
  });
}

function table(points: CurvePoint[]): Table {
  return {
    name: "curve",
    title: "Points",
    columns: [
      { key: "region", title: "Region" },
      { key: "concurrency", title: "Clients", format: "integer" },
      { key: "duration_s", title: "Steady part", unit: "s" },
      { key: "requests", title: "Requests", format: "integer" },
      { key: "failed", title: "Failed", format: "integer" },
      { key: "ttft_p90_ms", title: "TTFT p90", unit: "ms" },
      { key: "system_tokens_per_s", title: "System", unit: "tokens/s" },
      { key: "tokens_per_s_per_user", title: "Per user", unit: "tokens/s" },
      { key: "on_step", title: "On the step curve" },
      { key: "steady", title: "Steady" },
    ],
    rows: points.map((point) => ({
      region: point.region ?? null,
      concurrency: point.concurrency,
      duration_s: point.durationS,
      requests: point.requests,
      failed: point.failed,
      ttft_p90_ms: point.ttftP90Ms ?? null,
      system_tokens_per_s: point.systemTps ?? null,
      tokens_per_s_per_user: point.tpsPerUser ?? null,
      on_step: point.onStep ? "yes" : "no",
      steady: point.steady,
    })),
  };
}
