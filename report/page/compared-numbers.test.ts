/**
 * Every number of a comparison and of runs beside each other, against a second computation from the lines of the records:
 * written here from the definitions, without anything that report/ folds or judges with.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { LevelLine, RecordLine, RequestLine } from "../../lib/figures/records";
import { nearTruth } from "../../test/support/near";
import { largest, mean, quantile, sum } from "../../test/support/statistics";
import { sweep, writeRun } from "../../test/support/synthetic";
import { main as compare } from "../cli/compare";
import type { ChartSpec } from "./chart";
import { renderReport } from "./render";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-compared-"));
after(() => rmSync(dir, { recursive: true }));

const levels = ["c2", "c8"];
/** Runs of a side differ by far more than a percentile of one run is uncertain. */
const slower = [1, 1.5, 2.2, 1.2, 1.9, 2.6];
let runs: string[];
before(() => {
  runs = slower.map((factor, i) =>
    writeRun(
      sweep({ seed: 20 + i, concurrencies: [2, 8], requestsPerLevel: 60, tokens: 8, failBeyond: 6, slower: factor }),
      dir,
      `run-${i}`,
    ),
  );
});

type Figures = Record<string, number>;
const ms = (ns: number | undefined) => (ns ?? 0) / 1e6;

/** What one run says of a level, from its lines alone. */
function figuresOf(run: string, name: string): Figures {
  const lines = gunzipSync(readFileSync(join(run, "records.ndjson.gz")))
    .toString()
    .split("\n")
    .filter((text) => text !== "")
    .map((text) => JSON.parse(text) as RecordLine);
  const window = lines.find((line): line is LevelLine => line.type === "level" && line.name === name);
  assert.ok(window);
  const { openNs, closeNs } = window;
  const own = lines.filter((line): line is RequestLine => line.type === "request" && line.level === name);
  const steady = own.filter(({ phase }) => phase === "steady");
  const completed = steady.filter(({ outcome }) => outcome === "completed");
  const gaps = completed.map(({ arrivals = [] }) => arrivals.slice(1).map(([delta]) => ms(delta)));
  const values: Record<string, number[]> = {
    TTFT: completed.map((line) => ms((line.firstOutputNs ?? 0) - (line.sentNs ?? 0))),
    TPOT: completed.map((line) => ms((line.lastOutputNs ?? 0) - (line.firstOutputNs ?? 0)) / 7),
    ITL: gaps.flat(),
    "max stall": gaps.map((each) => largest(each)),
    "e2e latency": completed.map((line) => ms((line.lastOutputNs ?? 0) - (line.sentNs ?? 0))),
  };
  const inside = (atNs: number) => atNs > openNs && atNs <= closeNs;
  const arrived = own
    .filter(({ outcome }) => outcome === "completed")
    .flatMap(({ arrivals = [], sentNs = 0 }) =>
      arrivals.map((_, i) => sentNs + sum(arrivals.slice(0, i + 1).map(([delta]) => delta))),
    );
  const ended = own.filter(({ outcome, endNs = 0 }) => outcome === "completed" && inside(endNs));
  const durationS = (closeNs - openNs) / 1e9;
  return {
    ...Object.fromEntries(
      Object.entries(values).flatMap(([metric, of]) =>
        [0.5, 0.9, 0.99].map((q) => [`${metric} p${100 * q}`, quantile(of, q)]),
      ),
    ),
    "output throughput": arrived.filter(inside).length / durationS,
    "request throughput": ended.length / durationS,
    failed: steady.length - completed.length,
    requests: steady.length,
  };
}

interface Row {
  level: string;
  metric: string;
  a: number;
  b: number;
  change?: number;
  low?: number;
  high?: number;
}

const geometric = (values: number[]) => Math.exp(mean(values.map(Math.log)));

for (const [what, sideA, sideB] of [
  ["one run a side", [0], [3]],
  ["three runs a side", [0, 1, 2], [3, 4, 5]],
] as const)
  test(`compare, ${what}: every figure, its change and its bounds follow from the records`, async () => {
    const output = join(dir, what.replaceAll(" ", "-"));
    const folders = (side: readonly number[]) => side.map((i) => runs[i] as string);
    await compare([...folders(sideA), "--", ...folders(sideB), "--output", output], () => undefined);
    const { rows } = JSON.parse(readFileSync(join(output, "compare.json"), "utf8")) as { rows: Row[] };
    const seen = new Set<string>();
    let bounded = 0;
    for (const row of rows) {
      const { level, metric } = row;
      const name = `${level} ${metric}`;
      seen.add(name);
      const [a, b] = [sideA, sideB].map((side) => folders(side).map((run) => figuresOf(run, level))) as [
        Figures[],
        Figures[],
      ];
      if (metric === "failed requests") {
        const share = (side: Figures[]) =>
          sum(side.map(({ failed = Number.NaN }) => failed)) / sum(side.map(({ requests = Number.NaN }) => requests));
        nearTruth(row.a, 100 * share(a), `${name}, A`);
        nearTruth(row.b, 100 * share(b), `${name}, B`);
        continue;
      }
      const of = (side: Figures[]) => side.map((each) => each[metric] ?? Number.NaN);
      nearTruth(row.a, geometric(of(a)), `${name}, A`);
      nearTruth(row.b, geometric(of(b)), `${name}, B`);
      nearTruth(row.change, geometric(of(b)) / geometric(of(a)) - 1, `${name}, change`);
      if (row.low === undefined || row.high === undefined || sideA.length === 1) continue;
      // Between runs: one variance for both sides, 4 degrees of freedom, t(0.99, 4) = 3.74695.
      const squares = [of(a), of(b)].flatMap((side) => {
        const logs = side.map(Math.log);
        return logs.map((log) => (log - mean(logs)) ** 2);
      });
      const slack = 3.74695 * Math.sqrt((sum(squares) / 4) * (2 / 3));
      const by = Math.log(geometric(of(b)) / geometric(of(a)));
      nearTruth(row.low, Math.exp(by - slack) - 1, `${name}, at least`, 1e-4);
      nearTruth(row.high, Math.exp(by + slack) - 1, `${name}, at most`, 1e-4);
      bounded++;
    }
    const metrics = Object.keys(figuresOf(runs[0] as string, "c2")).filter((each) => !/^(failed|requests)$/.test(each));
    assert.deepEqual(
      [...seen].sort(),
      levels.flatMap((level) => [...metrics, "failed requests"].map((metric) => `${level} ${metric}`)).sort(),
    );
    if (sideA.length > 1) assert.ok(bounded >= 2 * 9, `${bounded} figures have bounds`);

    // The page draws the same changes, in per cent.
    const html = readFileSync(join(output, "compare.html"), "utf8");
    const charts = JSON.parse(/id="charts">([^<]*)</.exec(html)?.[1] ?? "{}") as Record<string, ChartSpec>;
    for (const [i, level] of levels.entries()) {
      const panel = charts[`change-${i + 1}`]?.panels[0];
      const shown = rows.filter((row) => row.level === level && row.change !== undefined && row.low !== undefined);
      const drawn = panel?.series.find(({ name }) => name === "change")?.points ?? [];
      assert.equal(drawn.length, shown.length);
      for (const [k, [, change]] of drawn.entries())
        nearTruth(change, 100 * (shown[k]?.change ?? Number.NaN), `${level} ${shown[k]?.metric}, drawn`, 1e-4);
    }
  });

test("three runs beside each other: each has its own figures in the table and its own points in the picture", async () => {
  const output = join(dir, "beside");
  mkdirSync(output);
  await renderReport(runs.slice(0, 3), { outputDir: output });
  const table = (name: string) =>
    (
      JSON.parse(readFileSync(join(output, "tables", `${name}.json`), "utf8")) as {
        rows: Record<string, number | string>[];
      }
    ).rows;
  const html = readFileSync(join(output, "report.html"), "utf8");
  const charts = JSON.parse(/id="charts">([^<]*)</.exec(html)?.[1] ?? "{}") as Record<string, ChartSpec>;
  for (const [i, label] of ["A", "B", "C"].entries())
    for (const [k, level] of levels.entries()) {
      const truth = figuresOf(runs[i] as string, level);
      const row = table("levels").find((each) => each.run === label && each.level === level) ?? {};
      for (const [key, metric] of [
        ["requests", "requests"],
        ["ttft_p50_ms", "TTFT p50"],
        ["ttft_p99_ms", "TTFT p99"],
        ["tpot_p50_ms", "TPOT p50"],
        ["e2e_p50_ms", "e2e latency p50"],
        ["output_throughput_tokens_per_s", "output throughput"],
        ["request_throughput_per_s", "request throughput"],
      ] as const)
        if (key in row || key !== "tpot_p50_ms")
          nearTruth(row[key], truth[metric] ?? Number.NaN, `${label} ${level} ${key}`);
      for (const [panel, name] of [
        [0, "TTFT"],
        [1, "e2e latency"],
      ] as const)
        for (const p of ["p50", "p99"]) {
          const [x, y] =
            charts["throughput-against-latency"]?.panels[panel]?.series.find((each) => each.name === `${label} ${p}`)
              ?.points[k] ?? [];
          nearTruth(x, truth["output throughput"] ?? Number.NaN, `${label} ${level}, x of ${name} ${p}`);
          nearTruth(y, truth[`${name} ${p}`] ?? Number.NaN, `${label} ${level}, ${name} ${p}`);
        }
    }
});

test("capacity: a point a probe, of what completed and of what met every SLO", async () => {
  const base = sweep({
    seed: 40,
    concurrencies: [2, 4, 8, 16],
    requestsPerLevel: 60,
    tokens: 6,
    failBeyond: 12,
    sloMs: { ttft: 45 },
  });
  const run = writeRun({ ...base, scenario: "capacity", config: { ...base.config, LOOP: "closed" } }, dir, "capacity");
  const interval = { low: 3, high: 9 };
  const probed = { low: 4, high: 8 };
  writeFileSync(
    join(run, "capacity.json"),
    JSON.stringify({
      unit: "clients",
      state: "found",
      interval,
      probed,
      probeSd: 0.03,
      confidence: 0.95,
      precise: true,
      ninety: interval,
      knee: 4,
      probes: [],
      notes: [],
    }),
  );
  await renderReport(run);
  const html = readFileSync(join(run, "report.html"), "utf8");
  assert.match(html, /capacity: from 3 to 9 clients, with 95 % confidence/);
  assert.match(html, /4 passed, 8 failed \(clients\); PROBE_SD: a server differs by 3 % from probe to probe/);
  const charts = JSON.parse(/id="charts">([^<]*)</.exec(html)?.[1] ?? "{}") as Record<string, ChartSpec>;
  const lines = gunzipSync(readFileSync(join(run, "records.ndjson.gz")))
    .toString()
    .split("\n")
    .filter((text) => text !== "")
    .map((text) => JSON.parse(text) as RecordLine);
  for (const [i, clients] of [2, 4, 8, 16].entries()) {
    const window = lines.find((line): line is LevelLine => line.type === "level" && line.name === `c${clients}`);
    const { openNs = Number.NaN, closeNs = Number.NaN } = window ?? {};
    const ended = lines.filter(
      (line): line is RequestLine =>
        line.type === "request" &&
        line.level === `c${clients}` &&
        line.outcome === "completed" &&
        (line.endNs ?? 0) > openNs &&
        (line.endNs ?? 0) <= closeNs,
    );
    const good = ended.filter((line) => ms((line.firstOutputNs ?? 0) - (line.sentNs ?? 0)) <= 45);
    for (const [name, of] of Object.entries({ completed: ended, good })) {
      const series = charts["goodput-by-load"]?.panels[0]?.series.find((each) => each.name === name);
      assert.equal(series?.points[i]?.[0], clients);
      nearTruth(series?.points[i]?.[1], of.length / ((closeNs - openNs) / 1e9), `${name} at ${clients}`);
    }
  }
});
