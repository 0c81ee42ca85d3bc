/** compare.html: two sides, each of one run or several, figure by figure and beside each other. */
import { formatNumber, formatShare } from "../format";
import { boundsText, type CapacityBounds } from "../judge/capacity";
import type { ComparedMetric, CompareOptions } from "../judge/comparison";
import type { Outcome } from "../judge/outcome";
import type { Results } from "../read/read";
import type { Section } from "./answer";
import { draw, type Picture } from "./chart";
import { html } from "./markup";
import { documentHtml, sectionHtml } from "./page";
import { distributionsSection } from "./sections/distributions";
import { definitionsHtml, repeatHtml, workloadWords } from "./sections/facts";
import { rounded, type ShownRun } from "./sections/runs";
import { serverSection } from "./sections/server";
import { throughputSection } from "./sections/throughput-latency";
import { timelineSection } from "./sections/timeline";
import type { Table } from "./table";

/** Runs of a side whose curves are drawn: more hide each other. */
const mostRuns = 2;

/** A1, A2, ...; A where the side has one run. */
function shownSide(letter: string, runs: readonly Results[]): ShownRun[] {
  return runs.map((run, i) => ({ run, label: runs.length === 1 ? letter : `${letter}${i + 1}` }));
}

type Sides = readonly [readonly Results[], readonly Results[]];

/** The page of a comparison figure by figure. */
export function comparePage(
  outcome: Outcome,
  rows: readonly ComparedMetric[],
  notes: readonly string[],
  options: CompareOptions,
  sides: Sides,
): string {
  return pageOf(
    outcome,
    {
      heading: "Figures",
      text: [...notes],
      pictures: changePictures(rows, options),
      tables: [figuresTable(rows, options)],
    },
    sides,
  );
}

/** The page of two searches for capacity. */
export function capacityComparePage(
  outcome: Outcome,
  bounds: readonly [CapacityBounds, CapacityBounds],
  sides: Sides,
): string {
  const unit = bounds[0].unit;
  // A side that no probe showed is open: it has no number.
  const rows = bounds.map(({ low, high }, i) => ({
    ...{ side: "AB"[i] as string, low: low > 0 ? low : null, high: Number.isFinite(high) ? high : null },
  }));
  const picture = draw({
    name: "capacities",
    title: "Capacity of A and B",
    alt: bounds.map((each, i) => `${"AB"[i]}: ${boundsText(each)}`).join("; "),
    panels: [
      {
        x: { title: "Side", categories: ["A", "B"] },
        y: { title: `Capacity (${unit})`, min: 0 },
        series: (["low", "high"] as const).map((end, color) => ({
          name: end === "low" ? "at least" : "below",
          kind: "scatter" as const,
          color,
          points: rows.map((row, i) => [i, row[end]] as const),
        })),
        height: 200,
      },
    ],
    pageOnly: true,
  });
  const table: Table = {
    name: "capacities",
    title: "Capacity",
    note: "The interval that each search found, with its confidence. B is worse where its interval lies below A's.",
    columns: [
      { key: "side", title: "Side" },
      { key: "low", title: "At least", unit },
      { key: "high", title: "Below", unit },
    ],
    rows,
  };
  return pageOf(outcome, { heading: "Capacity", pictures: [picture], tables: [table] }, sides);
}

function pageOf({ state, headline, invalid }: Outcome, figures: Section, [a, b]: Sides): string {
  const sides = [shownSide("A", a), shownSide("B", b)] as const;
  const all = sides.flat();
  const drawn = sides.flatMap((side) => side.slice(0, mostRuns));
  const left = all.length - drawn.length;
  const sections = [
    {
      ...figures,
      text: [
        ...(figures.text ?? []),
        ...(left > 0 ? [`The curves below are of the first ${mostRuns} runs of each side.`] : []),
      ],
    },
    throughputSection(drawn),
    distributionsSection(drawn),
    timelineSection(drawn),
    serverSection(all),
  ];
  const mood = { passed: "good", failed: "bad", inconclusive: "doubt", "not valid": "bad", refused: "bad" }[state];
  const [verdict, ...rest] = headline.split(": ");
  const body = html`<header><h1>compare</h1>
${all.map(({ run, label }) => html`<p class="muted">${label}: ${run.name} · ${workloadWords(run).join(" · ")}</p>\n`)}<div class="verdict"><div class="${mood}" id="verdict"><strong>${verdict}</strong>${rest.join(": ")}${
    invalid.length > 1 && html`<ul>${invalid.map((reason) => html`<li>${reason}</li>`)}</ul>`
  }</div></div></header>
<main>
${sections.map(sectionHtml)}${definitionsHtml()}
${all.map(({ run, label }) => html`<section><h2>How to repeat ${label}</h2>${repeatHtml(run, `-${label}`)}</section>\n`)}</main>`;
  return documentHtml(
    `compare – ${all.map(({ run }) => run.name).join(", ")}`,
    body,
    sections.flatMap(({ pictures }) => pictures),
  );
}

function figuresTable(rows: readonly ComparedMetric[], { confidence }: CompareOptions): Table {
  return {
    name: "comparison",
    title: "Every metric",
    note: `A and B are geometric means over the runs of a side. Each bound of the change is right with ${formatShare(confidence)} confidence; p is the chance that a server that is no worse shows as much. "watched": a pass does not need the metric.`,
    columns: [
      { key: "level", title: "Level" },
      { key: "metric", title: "Metric" },
      { key: "verdict", title: "Verdict" },
      { key: "a", title: "A" },
      { key: "b", title: "B" },
      { key: "unit", title: "Unit" },
      { key: "change", title: "Change", format: "change" },
      { key: "low", title: "at least", format: "change" },
      { key: "high", title: "at most", format: "change" },
      { key: "p", title: "p" },
    ],
    rows: rows.map(({ level, metric, verdict, a, b, unit, change, low, high, p, required }) => ({
      ...{
        level,
        metric,
        a,
        b,
        unit,
        change: change ?? null,
        low: low ?? null,
        high: high ?? null,
        p: p === undefined ? null : p < 0.001 ? "<0.001" : p,
      },
      verdict: required ? verdict : `${verdict} (watched)`,
    })),
  };
}

/** The changes with their bounds, a picture a level: left of 0 is lower in B. */
function changePictures(rows: readonly ComparedMetric[], { limit }: CompareOptions): Picture[] {
  const levels = [...new Set(rows.map(({ level }) => level))];
  return levels.flatMap((level, i): Picture[] => {
    const own = rows.filter((row) => row.level === level && row.change !== undefined && row.low !== undefined);
    if (own.length === 0) return [];
    const percent = (share: number | undefined) => rounded(100 * (share ?? 0));
    return [
      draw({
        name: `change-${i + 1}`,
        title: `Change from A to B: ${level}`,
        alt: `Change of ${own.map(({ metric, change }) => `${metric} ${formatNumber(percent(change))} %`).join(", ")}`,
        panels: [
          {
            x: { title: "Metric", categories: own.map(({ metric }) => metric) },
            y: { title: "Change (%)" },
            series: [
              {
                name: "bounds",
                kind: "range",
                color: 0,
                points: own.flatMap(({ low, high }, at): (readonly [number, number | null])[] => [
                  [at, percent(low)],
                  [at, percent(high)],
                  [at, null],
                ]),
              },
              {
                name: "change",
                kind: "scatter",
                color: 0,
                points: own.map(({ change }, at) => [at, percent(change)] as const),
              },
            ],
            limits: [
              [100 * limit, `+${formatShare(limit)}`],
              [-100 * limit, `−${formatShare(limit)}`],
            ],
            height: 200,
          },
        ],
        pageOnly: true,
      }),
    ];
  });
}
