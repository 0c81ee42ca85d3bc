/** The suite's page: what was measured and what was not, in the same self-contained form as the report of a run. Pure. */
import { formatNumber, plural } from "../report/format";
import { fullCache, gaugesOf, profileTable } from "../report/page/answers/kv-cache-profile";
import { present } from "../report/page/answers/levels";
import { fitsTable, type Ingestion, ingestionSentences } from "../report/page/answers/prompt-ingestion";
import { type SpeedPoint, speedSentence, speedTable, type ThresholdRow } from "../report/page/answers/speed-generation";
import { hasCurves, type Picture } from "../report/page/chart";
import { html } from "../report/page/markup";
import { documentHtml, navHtml, sectionHtml } from "../report/page/page";
import { definitionsHtml, definitionTable, settingRows, shellWord } from "../report/page/sections/facts";
import type { Table } from "../report/page/table";
import type { Results } from "../report/read/read";
import type { Combination } from "../report/read/request";
import { optionName, type Step, type SuiteOptions, suiteDefaults, suiteSettings } from "./suite-plan";
import { type LeftOut, lengthsWords } from "./suite-refusals";

/** The KV cache profile of one pair of lengths. */
export interface SuiteProfile {
  readonly run: Results;
  readonly combination: Combination;
  readonly picture: Picture;
}

/** The speeds of one pair of lengths, and its line of thresholds.csv. */
export interface SuiteSpeeds {
  readonly combination: Combination;
  readonly points: SpeedPoint[];
  readonly picture: Picture;
  readonly row: ThresholdRow;
}

/** What the page shows. */
export interface SuiteMeasured {
  readonly ingestion: Ingestion;
  readonly ingestionPictures: Picture[];
  readonly profiles: readonly SuiteProfile[];
  readonly speeds: readonly SuiteSpeeds[];
  readonly total: Picture[];
  /** Those of the left out pairs are empty. */
  readonly thresholds: readonly ThresholdRow[];
  readonly leftOut: readonly LeftOut[];
}

/** A step that was measured, and why it does not count. */
export interface SuiteStep {
  readonly step: Step;
  readonly run: Results;
  readonly flaws: readonly string[];
}

export function suitePageHtml(
  parameters: Readonly<Record<string, unknown>>,
  options: SuiteOptions,
  steps: readonly SuiteStep[],
  measured: SuiteMeasured,
): string {
  const { ingestion, ingestionPictures, profiles, speeds, total, thresholds, leftOut } = measured;
  const flawed = steps.filter(({ flaws }) => flaws.length > 0);
  const sections = [
    { heading: "Left out", pictures: [], tables: present([leftOutTable(leftOut)]) },
    {
      heading: "Thresholds",
      text: [
        `The largest number of parallel requests, of those that were measured, that each get a median of ${formatNumber(options.speedThreshold)} tokens/s, waiting included, and the largest with the KV cache below ${100 * fullCache} %; 0 where none does. A pair without thresholds was not measured, or a step of it does not count.`,
      ],
      pictures: total.filter(hasCurves),
      tables: thresholds.length > 0 ? [thresholdsTable(thresholds)] : [],
    },
    {
      heading: "Prompt ingestion",
      pictures: ingestionPictures.filter(hasCurves),
      tables: ingestion.points.length > 0 ? [fitsTable(ingestion)] : [],
    },
    {
      heading: "Speed of each request",
      text:
        speeds.length === 0
          ? []
          : [
              "With waiting: output tokens over the time from send to the last token. Without waiting: tokens after the first over the time they took, standstills (gaps beyond the median plus three standard deviations) taken out.",
            ],
      pictures: speeds.map(({ picture }) => picture).filter(hasCurves),
      tables: speeds.length > 0 ? [speedTable(speeds)] : [],
    },
    {
      heading: "KV cache, running and waiting requests",
      pictures: profiles.map(({ picture }) => picture),
      tables: profiles.map(
        ({ run, combination }): Table => ({
          ...profileTable(run, gaugesOf(run), [combination]),
          name: `kv_cache_profile_${combination.stem}`,
          title: combination.words,
          folded: true,
        }),
      ),
    },
    { heading: "Steps", pictures: [], tables: steps.length > 0 ? [stepsTable(steps)] : [] },
  ].filter(({ tables, pictures }) => tables.length + pictures.length > 0);
  const valid = flawed.length + leftOut.length === 0;
  const reasons = [
    ...leftOut.map((each) => `The server does not serve ${lengthsWords(each)}.`),
    ...flawed.map(({ step, flaws }) => `${step.name}: ${flaws.join("; ")}.`),
  ];
  const body = html`<header><h1>serving suite</h1><p class="muted">${[parameters.model_name ?? parameters.model, parameters.suite_id].filter(Boolean).join(" · ")}</p>
<p class="workload">${`Server ${options.baseUrl} · input ${options.inputLengths.join(", ")} tokens · output ${options.outputLengths.join(", ")} tokens`}</p>
<div class="verdict"><div class="${valid ? "good" : "bad"}" id="verdict"><strong>${valid ? "VALID" : "NOT VALID"}</strong>${
    valid
      ? `All ${plural(steps.length, "step")} count.`
      : `${flawed.length} of ${plural(steps.length, "step")} do not count, and ${plural(leftOut.length, "length")} could not be measured.`
  }${reasons.length > 0 && html`<ul>${reasons.map((reason) => html`<li>${reason}</li>`)}</ul>`}</div></div></header>
<main>
<section class="answer" id="answer">${sentences(measured, options).map((sentence) => html`<p>${sentence}</p>`)}</section>
${navHtml(sections)}
${sections.map(sectionHtml)}${definitionsHtml()}
<section><h2>How to repeat it</h2>${definitionTable("repeat", [
    ["Command", html`<pre>${suiteCommand(options)}</pre>`],
    ["Keys", "A key is never saved: set API_KEY in the environment."],
  ])}</section>
<section><h2>Server and parameters</h2>${definitionTable("parameters", settingRows(parameters))}</section>
</main>`;
  return documentHtml(
    `serving suite – ${parameters.model_name ?? parameters.model ?? options.baseUrl}`,
    body,
    sections.flatMap(({ pictures }) => pictures),
  );
}

function sentences({ ingestion, speeds }: SuiteMeasured, { speedThreshold }: SuiteOptions): string[] {
  return [
    ...ingestionSentences(ingestion),
    ...speeds.map(({ combination, points, row }) => {
      if (row.speedThreshold === undefined) return `${combination.words}: no thresholds, for a step does not count.`;
      return speedSentence(combination, points, { ...row, speedThreshold: row.speedThreshold }, speedThreshold);
    }),
  ];
}

function leftOutTable(leftOut: readonly LeftOut[]): Table | undefined {
  if (leftOut.length === 0) return undefined;
  return {
    name: "left_out",
    title: "Lengths that the server does not serve",
    note: "Every request of the step was refused, or its output was cut short. The message is the server's own where it gave one.",
    columns: [
      { key: "input_tokens", title: "Input", unit: "tokens", format: "integer" },
      { key: "output_tokens", title: "Output", unit: "tokens", format: "integer" },
      { key: "message", title: "Message", wrap: true },
      { key: "status", title: "HTTP status", format: "integer" },
      { key: "step", title: "Step" },
    ],
    rows: leftOut.map(({ inputTokens, outputTokens, step, status, words }) => ({
      ...{ input_tokens: inputTokens, output_tokens: outputTokens ?? null, message: words, status, step },
    })),
  };
}

function thresholdsTable(rows: readonly ThresholdRow[]): Table {
  return {
    name: "thresholds",
    title: "Parallel requests by length",
    columns: [
      { key: "input_length", title: "Input", unit: "tokens", format: "integer" },
      { key: "output_length", title: "Output", unit: "tokens", format: "integer" },
      { key: "speed_threshold", title: "By speed", unit: "requests", format: "integer" },
      { key: "kv_cache_threshold", title: "By KV cache", unit: "requests", format: "integer" },
    ],
    rows: rows.map((row) => ({
      input_length: row.inputTokens ?? null,
      output_length: row.outputTokens ?? null,
      speed_threshold: row.speedThreshold ?? null,
      kv_cache_threshold: row.kvCacheThreshold ?? null,
    })),
  };
}

function stepsTable(steps: readonly SuiteStep[]): Table {
  return {
    name: "steps",
    title: "Every k6 run",
    note: "The folder of each step in runs/ is a results folder: npm run report -- FOLDER makes its own page.",
    folded: true,
    columns: [
      { key: "step", title: "Step" },
      { key: "requests", title: "Requests", format: "integer" },
      { key: "completed", title: "Completed", format: "integer" },
      { key: "failed", title: "Failed", format: "integer" },
      { key: "validity", title: "Client" },
      { key: "flaws", title: "Why it does not count", wrap: true },
    ],
    rows: steps.map(({ step, run: { levelSummaries, summary }, flaws }) => {
      const sum = (key: "requests" | "completed" | "failed") =>
        levelSummaries.reduce((total, level) => total + level[key], 0);
      return {
        ...{ step: step.name, requests: sum("requests"), completed: sum("completed"), failed: sum("failed") },
        ...{ validity: summary?.validity.state ?? "not known", flaws: flaws.join("; ") },
      };
    }),
  };
}

/** The command that repeats the suite: each argument with another value than its default. */
function suiteCommand(options: SuiteOptions): string {
  const words = suiteSettings.flatMap((name) => {
    if (name === "host" || name === "port") return [];
    const value = String(options[name]);
    return value === String(suiteDefaults[name]) ? [] : [`--${optionName(name)} ${shellWord(value)}`];
  });
  const flags = [...(options.quick ? ["--quick"] : []), ...(options.sweep ? ["--sweep"] : [])];
  return ["npm run suite --", ...words, ...flags].join(" \\\n  ");
}
