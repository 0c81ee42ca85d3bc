/** How much load does the server carry? */
import { readFileSync } from "node:fs";
import path from "node:path";
import { capacitySentences, type FoundCapacity } from "../../../lib/figures/capacity-lines";
import type { LevelSummary, Results } from "../../read/read";
import type { Answer } from "../answer";
import { drawCurves } from "../chart";
import { failureSentence, failuresTable, levelsTable, percentilesTable, present, statusTable } from "./levels";

export function capacity([run]: [Results, ...Results[]]): Answer {
  const loadOf = (level: LevelSummary) => level.rate ?? level.concurrency ?? Number.NaN;
  const levels = run.levelSummaries.filter(({ requests }) => requests > 0).sort((a, b) => loadOf(a) - loadOf(b));
  const clients = levels.some(({ concurrency }) => concurrency !== undefined);
  const title = clients ? "Concurrency (clients)" : "Offered rate (requests/s)";
  return {
    sentences: [...answerOf(run.dir), failureSentence(levels)],
    sections: [
      {
        heading: "Goodput curve",
        text: ["A point is a probe. Good requests met every SLO; the rest of the throughput did not."],
        pictures: drawCurves({
          name: "goodput-by-load",
          title: "Throughput and goodput by load",
          alt: "Completed and good requests a second against the load that was offered",
          panels: [
            {
              x: { title },
              y: { title: "Requests/s", min: 0 },
              series: [
                { name: "completed", symbols: true, points: levels.map((l) => [loadOf(l), l.requestThroughput]) },
                { name: "good", symbols: true, points: levels.map((l) => [loadOf(l), l.requestGoodput ?? null]) },
              ],
            },
          ],
        }),
        tables: [
          levelsTable(levels, { key: "load", title: clients ? "Clients" : "Rate", format: "number" }, (l) => loadOf(l)),
        ],
      },
      {
        heading: "Failures and details",
        pictures: [],
        tables: present([failuresTable(levels), statusTable(levels), percentilesTable(levels)]),
      },
    ],
    files: [],
  };
}

/** The answer that the run wrote down; its probes ended by bounds that the levels' figures do not hold. */
function answerOf(dir: string): string[] {
  let text: string;
  try {
    text = readFileSync(path.join(dir, "capacity.json"), "utf8");
  } catch {
    return ["The folder has no capacity.json: the search did not end, so there is no capacity to report."];
  }
  return capacitySentences(JSON.parse(text) as FoundCapacity);
}
