/** Pages of the kinds that need more than a run's own files, from synthetic runs: what the tests in a browser open. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import type { Interval } from "../../lib/load/capacity-search";
import { renderReport } from "../../report/page/render";
import { writeFolded } from "./folded-run";
import { classes, sweep, talks, writeRun } from "./synthetic";

/** The page of a run. */
async function pageOf(run: string): Promise<string> {
  await renderReport(run);
  return path.join(run, "report.html");
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

/** Writes the page of a kind into a folder and returns its path. */
export const pageKinds: Readonly<Record<string, (dir: string) => Promise<string>>> = {
  capacity: (dir) => pageOf(capacityRun(dir, "capacity", 33, { low: 5.8, high: 9.3 })),
  conversations: (dir) => pageOf(writeFolded(talks({ seed: 36 }), dir, "conversations")),
  mixed: (dir) => pageOf(writeFolded(classes({ seed: 37 }), dir, "mixed")),
  "own script": (dir) =>
    pageOf(writeRun({ ...sweep({ seed: 38, concurrencies: [1, 4] }), scenario: "my-own-chat" }, dir, "own-script")),
};
