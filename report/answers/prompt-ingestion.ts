/** How fast does a server read prompts? TTFT against prompt length, a line fitted; its slope is the time of one token. */
import type { Answer } from "../answer";
import { draw, type Picture } from "../chart";
import { formatMs, formatNumber } from "../format";
import type { RequestRow, Results } from "../read";
import { ttftMs } from "../request";
import { fitLine, greatest, type Line, least } from "../statistics";
import type { Table } from "../table";
import { failureSentence, failuresTable, levelsTable, percentilesTable, present, statusTable } from "./levels";

export interface Ingestion {
  /** [prompt length in tokens, TTFT in ms] of every completed request. */
  points: [number, number][];
  /** Fit over all points; slope in ms a token. */
  all: Line | undefined;
  /**
   * benchmark_llm_serving's fit: again, without the points whose TTFT is 5 % or more off the first line. It shows what
   * single disturbed requests do to the first.
   */
  cleaned: Line | undefined;
  cleanedPoints: [number, number][];
}

export function ingestionOf(rows: readonly RequestRow[]): Ingestion {
  const points = rows
    .filter((row) => row.completed && row.phase === "steady" && row.inputTokens > 0)
    .flatMap((row): [number, number][] => {
      const ms = ttftMs(row);
      return ms === undefined ? [] : [[row.inputTokens, ms]];
    });
  const all = fitLine(points);
  const cleanedPoints = all ? points.filter(([x, y]) => Math.abs(all.intercept + all.slope * x - y) / y < 0.05) : [];
  return { points, all, cleaned: fitLine(cleanedPoints), cleanedPoints };
}

/** Ingestion speed of a fitted line, tokens/s; NaN where TTFT does not grow with the prompt. */
export const ingestionSpeed = (line: Line): number => (line.slope > 0 ? 1000 / line.slope : Number.NaN);

export function ingestionPicture({ points, all }: Ingestion): Picture {
  const longest = points.reduce((longest, [x]) => Math.max(longest, x), 0);
  const speed = all && ingestionSpeed(all);
  return draw({
    name: "prompt-ingestion",
    title: speed && Number.isFinite(speed) ? `Prompt ingestion: ${formatNumber(speed)} tokens/s` : "Prompt ingestion",
    alt: "TTFT in ms against the prompt's length in tokens, with the fitted line",
    panels: [
      {
        x: { title: "Prompt length (tokens)", min: 0 },
        y: { title: "TTFT (ms)", min: 0 },
        series: [
          { name: "requests", kind: "scatter", points },
          ...(all
            ? [
                {
                  name: `${formatMs(all.intercept)} + ${formatNumber(1000 * all.slope)} µs a token (R² ${all.r2.toFixed(3)})`,
                  symbols: false,
                  points: [
                    [0, Math.max(0, all.intercept)],
                    [longest, all.intercept + all.slope * longest],
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
  ingestion_speed_tokens_per_s: line ? ingestionSpeed(line) : null,
  us_per_token: line ? 1000 * line.slope : null,
  intercept_ms: line?.intercept ?? null,
  r2: line?.r2 ?? null,
});

export function promptIngestion([run]: [Results, ...Results[]]): Answer {
  const ingestion = ingestionOf(run.requests ?? []);
  const levels = run.levelSummaries;
  const fits: Table = {
    name: "prompt_ingestion",
    title: "Fitted lines: TTFT = intercept + prompt length x time a token",
    note: "Least squares. Prompt lengths are the server's own counts where it sends usage. The second line leaves out requests 5 % or more off the first, as benchmark_llm_serving does.",
    columns: [
      { key: "fit", title: "Points" },
      { key: "points", title: "Requests", format: "integer" },
      { key: "ingestion_speed_tokens_per_s", title: "Ingestion speed", unit: "tokens/s" },
      { key: "us_per_token", title: "Time a token", unit: "µs" },
      { key: "intercept_ms", title: "Intercept", unit: "ms" },
      { key: "r2", title: "R²" },
    ],
    rows: [fitRow("all", ingestion.all), fitRow("less than 5 % off", ingestion.cleaned)],
  };
  return {
    sentences: [...sentences(ingestion), failureSentence(levels)],
    sections: [
      {
        heading: "Prompt ingestion",
        tables: [fits],
        pictures: ingestion.points.length > 0 ? [ingestionPicture(ingestion)] : [],
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

function sentences({ points, all }: Ingestion): string[] {
  if (!all) return ["No line can be fitted: there are not two prompt lengths with a completed request."];
  if (!(all.slope > 0))
    return [
      "TTFT does not grow with the prompt's length, so there is no ingestion speed: the prompts are too short, or the server cached their prefixes.",
    ];
  const lengths = points.map(([x]) => x);
  const result = [
    `Prompts are read at ${formatNumber(ingestionSpeed(all))} tokens/s: TTFT is ${formatMs(all.intercept)} plus ${formatNumber(1000 * all.slope)} µs a token, over ${points.length} requests of ${least(lengths)} to ${greatest(lengths)} tokens (R² ${all.r2.toFixed(3)}).`,
  ];
  if (all.r2 < 0.9)
    result.push(
      "The line explains less than nine tenths of the differences between requests: the speed is a rough one.",
    );
  return result;
}
