/** A scenario's run against the simulated server, its report, and the server's truth of every request. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import type { LevelLine, RequestLine } from "../../lib/figures/records";
import { renderReport } from "../../report/page/render";
import { assertEndedWell, type EndedRun, type RunSettings, run } from "./run";
import { type RequestTruth, startServer, type Truth } from "./simulated";
import { largest, smallest } from "./statistics";

/** A request as client and server saw it. */
export interface Seen {
  request: RequestLine;
  truth: RequestTruth;
}

export interface Reported {
  ended: EndedRun;
  truth: Truth;
  /** The steady requests of a level; of all levels without a name. */
  seen(level?: string): Seen[];
  level(name: string): LevelLine;
  /** The server's time as the records count it: ns from the run's start. */
  atNs(serverNs: number): number;
  /** Rows of tables/<name>.json. */
  rows(name: string): Record<string, number | string | null>[];
  file(name: string): string;
}

/** Runs a scenario on a server of its own and renders the report. Validity is no part of it: the machine may be busy. */
export async function runReported(
  scenario: string,
  flags: readonly string[],
  settings: RunSettings,
): Promise<Reported> {
  const server = await startServer(...flags);
  try {
    const ended = await run(scenario, { THRESHOLDS: "none", ...settings, BASE_URL: server.baseUrl });
    assertEndedWell(ended);
    const truth = await server.truth();
    const { records, requests } = ended;
    assert.equal(truth.requestCount, requests.length, "every request is in the records, and no other was sent");
    await renderReport(ended.dir);
    const byId = new Map(truth.requests.map((each) => [each.id, each]));
    const first = records[0];
    assert.ok(first?.type === "run");
    const file = (name: string) => readFileSync(path.join(ended.dir, name), "utf8");
    for (const name of ["summary.json", "config.json", "records.ndjson.gz", "report.html"]) {
      assert.ok(existsSync(path.join(ended.dir, name)), name);
    }
    return {
      ended,
      truth,
      seen: (level) =>
        requests
          .filter((request) => request.phase === "steady" && (level === undefined || request.level === level))
          .map((request) => {
            const own = byId.get(request.id ?? "");
            assert.ok(own, `the server knows nothing of request ${request.id}`);
            return { request, truth: own };
          }),
      level: (name) => {
        const line = records.find((each): each is LevelLine => each.type === "level" && each.name === name);
        assert.ok(line, `no level ${name}`);
        return line;
      },
      atNs: (serverNs) => Number(BigInt(truth.clock.zeroUnixNs) - BigInt(first.startUnixNs)) + serverNs,
      rows: (name) =>
        (JSON.parse(file(`tables/${name}.json`)) as { rows: Record<string, number | string | null>[] }).rows,
      file,
    };
  } finally {
    await server.stop();
  }
}

/** When the server began to send the last of the answer. */
export const lastSendNs = ({ sendsNs, doneNs }: RequestTruth): number => sendsNs.at(-1)?.[0] ?? doneNs;

/** When it began to send the first of it. */
export const firstSendNs = ({ sendsNs, doneNs }: RequestTruth): number => sendsNs[0]?.[0] ?? doneNs;

/** e2e latency on the server's side. */
export const trueE2eMs = (truth: RequestTruth): number => (lastSendNs(truth) - truth.beginNs) / 1e6;

/** First begin to last send of several requests, in seconds. */
export function trueSpanS(seen: readonly Seen[]): number {
  const begin = smallest(seen.map(({ truth }) => truth.beginNs));
  return (largest(seen.map(({ truth }) => lastSendNs(truth))) - begin) / 1e9;
}

export const succeeded = (seen: readonly Seen[]): Seen[] => seen.filter(({ truth }) => truth.status === 200);
