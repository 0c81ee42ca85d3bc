/**
 * Folds results folders into report.html, tables/ (CSV and JSON), pictures/ (PNG) and what else a scenario writes. Every
 * picture and table of every scenario is made on this one way.
 */
import { join } from "node:path";
import { makeResultFolder, writeWhole } from "../../build/folder";
import { type Results, readResults } from "../read/read";
import type { Answer, Answerer } from "./answer";
import { arrivalRateRamp } from "./answers/arrival-rate-ramp";
import { burst } from "./answers/burst";
import { capacity } from "./answers/capacity";
import { concurrencySweep } from "./answers/concurrency-sweep";
import { conversations } from "./answers/conversations";
import { endpointsCurve } from "./answers/endpoints-curve";
import { generic } from "./answers/generic";
import { kvCacheProfile } from "./answers/kv-cache-profile";
import { mixed } from "./answers/mixed";
import { prefillDecode } from "./answers/prefill-decode";
import { promptIngestion } from "./answers/prompt-ingestion";
import { soak } from "./answers/soak";
import { speedGeneration } from "./answers/speed-generation";
import { pageHtml } from "./page";
import { picturePng } from "./png";
import { distributionsSection } from "./sections/distributions";
import { failuresSection } from "./sections/failures";
import { requestsSection } from "./sections/requests";
import { shownRuns } from "./sections/runs";
import { serverSection } from "./sections/server";
import { thresholdsSection } from "./sections/thresholds";
import { throughputSection } from "./sections/throughput-latency";
import { timelineSection } from "./sections/timeline";
import { workloadSection } from "./sections/workload";
import { tableCsv, tableJson } from "./table";

const answerers: Record<string, Answerer> = {
  capacity,
  "concurrency-sweep": concurrencySweep,
  conversations,
  mixed,
  "arrival-rate-ramp": arrivalRateRamp,
  "prefill-decode": prefillDecode,
  "batch-burst": burst,
  "embeddings-burst": burst,
  "prompt-ingestion": promptIngestion,
  "kv-cache-profile": kvCacheProfile,
  "speed-generation": speedGeneration,
  "trace-replay": arrivalRateRamp,
  soak,
  "endpoints-curve": endpointsCurve,
};

/** Scenarios whose answer covers two runs: versions A and B, and two phases. */
const ofTwoRuns = ["arrival-rate-ramp", "prefill-decode"];

/** The fold of a scenario: its own for one run, or for two that belong together; else the one that serves any. */
function answererOf(scenario: string, runs: number): Answerer {
  if (runs > (ofTwoRuns.includes(scenario) ? 2 : 1) || !Object.hasOwn(answerers, scenario)) return generic;
  return answerers[scenario] as Answerer;
}

/** What every page has around a scenario's own answer. */
function wholeAnswer(runs: readonly [Results, ...Results[]], own: Answer): Answer {
  const shown = shownRuns(runs);
  return {
    ...own,
    sections: [
      thresholdsSection(shown),
      failuresSection(shown),
      ...own.sections,
      throughputSection(shown),
      distributionsSection(shown),
      timelineSection(shown),
      serverSection(shown),
      requestsSection(shown),
      workloadSection(shown),
    ],
  };
}

/** How reports are made. */
export interface RenderOptions {
  /** Where the files go; by default the first folder. */
  outputDir?: string;
  /** Called now and then with the folder that is read and the share (0..1) that was read of it. */
  onProgress?: (dir: string, share: number) => void;
}

/**
 * Renders one results folder, or several of one scenario beside each other (two phases of prefill-decode are joined, two
 * versions of a ramp compared). Paths in `files` are relative to the folder that they are written to.
 */
export async function renderReport(
  dirs: string | readonly string[],
  { outputDir, onProgress }: RenderOptions = {},
): Promise<{ files: string[] }> {
  const runs: Results[] = [];
  for (const dir of [dirs].flat())
    runs.push(await readResults(dir, onProgress && { onProgress: (share) => onProgress(dir, share) }));
  const [first, ...others] = runs;
  if (first === undefined) throw new Error("no results folder was named");
  const scenarios = new Set(runs.map(({ scenario }) => scenario));
  if (scenarios.size > 1)
    throw new Error(`the folders hold different scenarios (${[...scenarios].join(", ")}); a report covers one`);

  const all = [first, ...others] as const;
  const answer = wholeAnswer(all, answererOf(first.scenario, all.length)([first, ...others]));
  const target = outputDir ?? first.dir;
  const files: string[] = [];
  function write(name: string, content: string | Buffer): void {
    writeWhole(join(target, name), content);
    files.push(name);
  }
  for (const name of ["tables", "pictures"]) makeResultFolder(join(target, name));
  write("report.html", pageHtml(all, answer));
  for (const table of answer.sections.flatMap(({ tables }) => tables)) {
    write(join("tables", `${table.name}.csv`), tableCsv(table));
    write(join("tables", `${table.name}.json`), tableJson(table));
  }
  for (const picture of answer.sections.flatMap(({ pictures }) => pictures)) {
    if (!picture.pageOnly) write(join("pictures", `${picture.name}.png`), picturePng(picture));
  }
  for (const { name, content } of answer.files) write(name, content);
  return { files };
}
