/** Pages of the kinds that need more than a run's own files, from synthetic runs: what the tests in a browser open. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import type { Interval } from "../../lib/load/capacity-search";
import { renderReport } from "../../report/page/render";
import { writeFolded } from "./folded-run";
import { batches, classes, lasting, metricsPages, phases, sweep, talks, writeRun } from "./synthetic";

/** The page of a run, or of several in a folder of their own. */
async function pageOf(run: string, ...others: string[]): Promise<string> {
  const outputDir = others.length === 0 ? run : `${run}-and-${others.length}`;
  await renderReport([run, ...others], { outputDir });
  return path.join(outputDir, "report.html");
}

/** Versions of a server on the same load, each slower than the one before, and the last one polled. */
function versions(dir: string, count: number): [string, ...string[]] {
  return Array.from({ length: count }, (_, i) => {
    const spec = sweep({
      ...{ seed: 40 + i, concurrencies: [1, 4, 16], requestsPerLevel: 40, tokens: 8, slower: 1 + 0.2 * i },
      ...{ sloMs: { ttft: 60 }, failBeyond: i === 0 ? undefined : 12 },
    });
    return writeRun({ ...spec, points: i === 1 ? metricsPages(spec) : [] }, dir, `version-${count}-${i + 1}`);
  }) as [string, ...string[]];
}

function capacityRun(dir: string, name: string, seed: number, interval: Interval): string {
  const spec = sweep({
    ...{ seed, concurrencies: [2, 4, 6, 7, 8, 9, 10, 16], requestsPerLevel: 60, tokens: 8, sloMs: { ttft: 45 } },
    config: { LOOP: "closed" },
  });
  const run = writeRun({ ...spec, scenario: "capacity" }, dir, name);
  const probed = { low: 6, high: 9 };
  const found = { unit: "clients", state: "found", interval, probed, probeSd: 0.03, confidence: 0.95, precise: true };
  writeFileSync(
    path.join(run, "capacity.json"),
    JSON.stringify({ ...found, ninety: probed, knee: 6, probes: [], notes: ["the search took 3 minutes"] }),
  );
  return run;
}

function curveRun(dir: string): string {
  const spec = sweep({ seed: 39, concurrencies: [1, 2, 4, 8, 16, 32, 64], requestsPerLevel: 64, tokens: 6 });
  return writeRun({ ...spec, scenario: "endpoints-curve" }, dir, "endpoints-curve");
}

/** Writes the page of a kind into a folder and returns its path. */
export const pageKinds: Readonly<Record<string, (dir: string) => Promise<string>>> = {
  capacity: (dir) => pageOf(capacityRun(dir, "capacity", 33, { low: 5.8, high: 9.3 })),
  conversations: (dir) => pageOf(writeFolded(talks({ seed: 36 }), dir, "conversations")),
  mixed: (dir) => pageOf(writeFolded(classes({ seed: 37 }), dir, "mixed")),
  "own script": (dir) =>
    pageOf(writeRun({ ...sweep({ seed: 38, concurrencies: [1, 4] }), scenario: "my-own-chat" }, dir, "own-script")),
  soak: (dir) => pageOf(writeFolded(lasting({ seed: 41, lastsS: 10 }), dir, "soak")),
  "endpoints-curve": (dir) => pageOf(curveRun(dir)),
  "prefill-decode": (dir) => pageOf(writeRun(phases({ seed: 42, prompts: 12, tokens: 10 }), dir, "prefill-decode")),
  embeddings: (dir) => pageOf(writeRun(batches({ seed: 43, sizes: [1, 8, 64], embeddings: true }), dir, "embeddings")),
  "a run of one level": (dir) =>
    pageOf(writeRun(sweep({ seed: 44, concurrencies: [8], requestsPerLevel: 40, tokens: 8 }), dir, "one-level")),
  "two runs beside each other": (dir) => pageOf(...versions(dir, 2)),
  "three runs beside each other": (dir) => pageOf(...versions(dir, 3)),
};
