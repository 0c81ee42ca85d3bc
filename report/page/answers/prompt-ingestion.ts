/** How fast does a server read prompts? TTFT against prompt length, a line fitted; its slope is the time of one token. */
import { ingestionLine, ingestionSpeed, noIngestionSpeed } from "../../../lib/figures/ingestion";
import { fitLine, type Line } from "../../../lib/figures/line";
import { formatMs, formatNumber } from "../../format";
import type { LevelSummary, RequestRow, Results } from "../../read/read";
import { ttftMs } from "../../read/request";
import { greatest, least } from "../../statistics";
import type { Answer } from "../answer";
import { draw, hasCurves, type Picture } from "../chart";
import { drawnWords, evenly } from "../evenly";
import type { Table } from "../table";
import { failureSentence, failuresTable, levelsTable, percentilesTable, present, statusTable } from "./levels";

export interface Ingestion {
  /** Fit over the median TTFT of each length: what the run prints. Slope in ms a token. */
  medians: Line | undefined;
  /** [prompt length in tokens, TTFT in ms] of every completed request. */
  points: [number, number][];
  /** Fit over all points. */
  all: Line | undefined;
  /**
   * benchmark_llm_serving's fit: again, without the points whose TTFT is 5 % or more off the first line. It shows what
   * single disturbed requests do to the first.
   */
  cleaned: Line | undefined;
  cleanedPoints: [number, number][];
}

export function ingestionOf(levels: readonly LevelSummary[], rows: Iterable<RequestRow>): Ingestion {
  const points: [number, number][] = [];
  for (const row of rows) {
    const ms = ttftMs(row);
    if (row.phase === "steady" && row.inputTokens > 0 && ms !== undefined) points.push([row.inputTokens, ms]);
  }
  const all = fitLine(points);
  const cleanedPoints = all ? points.filter(([x, y]) => Math.abs(all.intercept + all.slope * x - y) / y < 0.05) : [];
  return { medians: ingestionLine(levels), points, all, cleaned: fitLine(cleanedPoints), cleanedPoints };
}

/** The points of more requests hide each other: evenly chosen ones are drawn; the lines are fitted to all. */
const mostPoints = 5000;

/** The points, and the line that a speed is reported from: that of the medians, unless `line` is another. */
export function ingestionPicture({ points, medians }: Ingestion, line = medians): Picture {
  const drawn = evenly(points.length, mostPoints).map((i) => points[i] as [number, number]);
  const longest = points.reduce((longest, [x]) => Math.max(longest, x), 0);
  const speed = ingestionSpeed(line);
  return draw({
    name: "prompt-ingestion",
    title: `Prompt ingestion${speed === undefined ? "" : `: ${formatNumber(speed)} tokens/s`}${drawnWords(drawn.length, points.length)}`,
    alt: "TTFT in ms against the prompt's length in tokens, with the fitted line",
    panels: [
      {
        x: { title: "Prompt length (tokens)", min: 0 },
        y: { title: "TTFT (ms)", min: 0 },
        series: [
          { name: "requests", kind: "scatter", points: drawn },
          ...(line
            ? [
                {
                  name: `${formatMs(line.intercept)} + ${formatNumber(1000 * line.slope)} µs a token (R² ${line.r2.toFixed(3)})`,
                  symbols: false,
                  points: [
                    [0, Math.max(0, line.intercept)],
                    [longest, line.intercept + line.slope * longest],
                  ] as [number, number][],
                },
              ]
            : []),
        ],
      },
    ],
  });
}

const fitRow = (fit: string, line: Line | undefined) => ({
  fit,
  points: line?.count ?? null,
  ingestion_speed_tokens_per_s: ingestionSpeed(line) ?? null,
  us_per_token: line ? 1000 * line.slope : null,
  intercept_ms: line?.intercept ?? null,
  r2: line?.r2 ?? null,
});

/** The fitted lines with their speeds. */
export function fitsTable(ingestion: Ingestion): Table {
  return {
    name: "prompt_ingestion",
    title: "Fitted lines: TTFT = intercept + prompt length x time a token",
    note: "Least squares. Prompt lengths are the server's own counts where it sends usage. The first line is the run's: the median TTFT of each length against its mean length. The third leaves out requests 5 % or more off the second, as benchmark_llm_serving does. A line that begins below zero or explains less than nine tenths of the differences gives no speed.",
    columns: [
      { key: "fit", title: "Points" },
      { key: "points", title: "Number", format: "integer" },
      { key: "ingestion_speed_tokens_per_s", title: "Ingestion speed", unit: "tokens/s" },
      { key: "us_per_token", title: "Time a token", unit: "µs" },
      { key: "intercept_ms", title: "Intercept", unit: "ms" },
      { key: "r2", title: "R²" },
    ],
    rows: [
      fitRow("median of each length", ingestion.medians),
      fitRow("all requests", ingestion.all),
      fitRow("less than 5 % off", ingestion.cleaned),
    ],
  };
}

export function promptIngestion([run]: [Results, ...Results[]]): Answer {
  const ingestion = ingestionOf(run.levelSummaries, run.requests ?? []);
  const levels = run.levelSummaries;
  return {
    sentences: [...ingestionSentences(ingestion), failureSentence(levels)],
    sections: [
      {
        heading: "Prompt ingestion",
        tables: [fitsTable(ingestion)],
        pictures: [ingestionPicture(ingestion)].filter(hasCurves),
      },
      {
        heading: "Details",
        pictures: [],
        tables: present([
          levelsTable(levels, { key: "level", title: "Level" }, (level) => level.name),
          failuresTable(levels),
          statusTable(levels),
          percentilesTable(levels),
        ]),
      },
    ],
    files: [],
  };
}

/** What the line says, or why there is none. */
export function ingestionSentences({ points, medians }: Ingestion): string[] {
  if (!medians) return ["No line can be fitted: there are not two prompt lengths with a completed request."];
  const reason = noIngestionSpeed(medians);
  if (reason !== undefined)
    return [
      `${reason.charAt(0).toUpperCase()}${reason.slice(1)}. The prompts are too short, the server was disturbed, or its prefix cache knew some of them.`,
    ];
  const lengths = points.map(([x]) => x);
  return [
    `Prompts are read at ${formatNumber(ingestionSpeed(medians))} tokens/s: TTFT is ${formatMs(medians.intercept)} plus ${formatNumber(1000 * medians.slope)} µs a token, by the medians of ${medians.count} lengths over ${points.length} requests of ${least(lengths)} to ${greatest(lengths)} tokens (R² ${medians.r2.toFixed(3)}).`,
  ];
}
