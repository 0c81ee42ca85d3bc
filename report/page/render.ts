/**
 * Folds results folders into report.html, tables/ (CSV and JSON), pictures/ (PNG) and what else a scenario writes. Every
 * picture and table of every scenario is made on this one way.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Results, readResults } from "../read/read";
import type { Answerer } from "./answer";
import { arrivalRateRamp } from "./answers/arrival-rate-ramp";
import { burst } from "./answers/burst";
import { concurrencySweep } from "./answers/concurrency-sweep";
import { conversations } from "./answers/conversations";
import { kvCacheProfile } from "./answers/kv-cache-profile";
import { prefillDecode } from "./answers/prefill-decode";
import { promptIngestion } from "./answers/prompt-ingestion";
import { speedGeneration } from "./answers/speed-generation";
import { pageHtml } from "./html";
import { picturePng } from "./png";
import { tableCsv, tableJson } from "./table";

const answerers: Record<string, Answerer> = {
  "concurrency-sweep": concurrencySweep,
  conversations,
  "arrival-rate-ramp": arrivalRateRamp,
  "prefill-decode": prefillDecode,
  "batch-burst": burst,
  "embeddings-burst": burst,
  "prompt-ingestion": promptIngestion,
  "kv-cache-profile": kvCacheProfile,
  "speed-generation": speedGeneration,
};

/** Scenarios whose answer covers two runs: versions A and B, and two phases. */
const ofTwoRuns = ["arrival-rate-ramp", "prefill-decode"];

/** The fold of a scenario; one that this report does not know is shown as plain levels. */
function answererOf(scenario: string): Answerer {
  return answerers[scenario] ?? concurrencySweep;
}

/**
 * Renders one results folder, or two that belong together (the two phases of prefill-decode, version A and B of a ramp);
 * the files go into `outputDir`, by default the first folder. Paths in `files` are relative to it.
 */
export async function renderReport(
  dirs: string | [string, ...string[]],
  outputDir?: string,
): Promise<{ files: string[] }> {
  const [first, ...others] = typeof dirs === "string" ? [dirs] : dirs;
  if (first === undefined) throw new Error("no results folder was named");
  const runs: [Results, ...Results[]] = [await readResults(first)];
  for (const dir of others) runs.push(await readResults(dir));
  const scenarios = new Set(runs.map(({ scenario }) => scenario));
  if (scenarios.size > 1)
    throw new Error(`the folders hold different scenarios (${[...scenarios].join(", ")}); a report covers one`);

  const { scenario } = runs[0];
  if (runs.length > 1 && !ofTwoRuns.includes(scenario))
    throw new Error(
      `a report of ${scenario} covers one folder; npm run compare -- A B says in what two of them differ`,
    );

  const answer = answererOf(scenario)(runs);
  const target = outputDir ?? first;
  const files: string[] = [];
  async function write(name: string, content: string | Buffer): Promise<void> {
    await writeFile(join(target, name), content);
    files.push(name);
  }
  await mkdir(join(target, "tables"), { recursive: true });
  await mkdir(join(target, "pictures"), { recursive: true });
  await write("report.html", pageHtml(runs, answer));
  for (const table of answer.sections.flatMap(({ tables }) => tables)) {
    await write(join("tables", `${table.name}.csv`), tableCsv(table));
    await write(join("tables", `${table.name}.json`), tableJson(table));
  }
  for (const picture of answer.sections.flatMap(({ pictures }) => pictures)) {
    await write(join("pictures", `${picture.name}.png`), picturePng(picture));
  }
  for (const { name, content } of answer.files) await write(name, content);
  return { files };
}
