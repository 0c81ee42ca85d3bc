/**
 * Every number of the sections that all pages have, against a second computation from the lines of the records: written here
 * from the definitions, without anything that the report folds with.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { RequestLine } from "../../lib/figures/records";
import { mean, quantile, sum } from "../../test/support/statistics";
import { type RunSpec, requestLine, sweep, writeRun } from "../../test/support/synthetic";
import type { ChartSpec } from "./chart";
import { renderReport } from "./render";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-numbers-"));
after(() => rmSync(dir, { recursive: true }));

type Cells = Record<string, number | string | null>;
let charts: Record<string, ChartSpec>;
let html: string;
let lines: RequestLine[];
const levels = ["c2", "c8"];
const rows = (name: string): Cells[] =>
  JSON.parse(readFileSync(join(dir, "run", "tables", `${name}.json`), "utf8")).rows;
const points = (name: string, series: string, panel = 0): [number, number | null][] => {
  const found = charts[name]?.panels[panel]?.series.find((each) => each.name === series);
  assert.ok(found, `${name} has a series ${series}`);
  return found.points.map(([x, y]) => [x, y]);
};

function near(value: unknown, truth: number, what: string, relative = 1e-5): void {
  assert.ok(
    typeof value === "number" && Math.abs(value - truth) <= relative * Math.abs(truth) + 1e-9,
    `${what}: ${value} for ${truth}`,
  );
}

const thresholds = [
  { metric: "llm_ttft", level: "c8", expression: "p(95)<50", value: 48.5, margin: 1.5, result: "passed" },
  {
    metric: "llm_samples",
    of: "llm_ttft",
    level: "c8",
    expression: "count>=20",
    value: 100,
    margin: 80,
    result: "passed",
  },
  { metric: "llm_tpot", level: "c8", expression: "drift<=5%", value: 1.5, margin: 3.5, result: "passed" },
  { metric: "llm_request_failed", expression: "rate<=0.01", value: 0.05, margin: -0.04, result: "violated" },
];

before(async () => {
  const base = sweep({
    seed: 12,
    concurrencies: [2, 8],
    requestsPerLevel: 120,
    failBeyond: 6,
    sloMs: { ttft: 60, e2e: 900 },
  });
  const requests = base.requests.map(
    (line, i): RequestLine => ({
      ...line,
      ...{
        reused: i % 10 > 0,
        connectNs: i % 10 > 0 ? 0 : 1e6 + 1e4 * i,
        cachedTokens: i % 3,
        finishReason: i % 7 ? "length" : "stop",
      },
      ...(line.outcome === "failed" ? { message: i % 2 ? "queue is full" : `no slot <b>` } : {}),
    }),
  );
  const warmup = Array.from({ length: 5 }, (_, i) =>
    requestLine({ level: "c2", phase: "warmup", sentMs: 500 + 60 * i, ttftMs: 30, gapsMs: [10, 10], inputTokens: 9 }),
  );
  const metrics = ["vllm:num_requests_running", "vllm:kv_cache_usage_perc"];
  const polled = Array.from({ length: 90 }, (_, i): [number, number, number | null] => [
    i * 2e8,
    i % 9,
    i % 4 ? i / 100 : null,
  ]);
  const spec: RunSpec = {
    ...{ ...base, requests: [...warmup, ...requests] },
    points: [{ type: "points", name: "gauges", metrics, points: polled }],
  };
  const run = writeRun(spec, dir, "run");
  const file = join(run, "summary.json");
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), thresholds }));
  await renderReport(run);
  html = readFileSync(join(run, "report.html"), "utf8");
  charts = JSON.parse(/id="charts">([^<]*)</.exec(html)?.[1] ?? "{}");
  lines = gunzipSync(readFileSync(join(run, "records.ndjson.gz")))
    .toString()
    .split("\n")
    .filter((text) => text.includes('"type":"request"'))
    .map((text) => JSON.parse(text) as RequestLine);
});

const steady = (level: string) => lines.filter((line) => line.level === level && line.phase === "steady");
const completed = (of: RequestLine[]) => of.filter(({ outcome }) => outcome === "completed");
const ms = (ns: number | undefined) => (ns ?? 0) / 1e6;
const ttft = (line: RequestLine) => ms((line.firstOutputNs ?? 0) - (line.sentNs ?? 0));
const e2e = (line: RequestLine) => ms((line.lastOutputNs ?? 0) - (line.sentNs ?? 0));
const tpot = (line: RequestLine) =>
  ms((line.lastOutputNs ?? 0) - (line.firstOutputNs ?? 0)) / ((line.outputTokens ?? 0) - 1);
const firstDueNs = () => Math.min(...lines.map(({ scheduledNs = 0 }) => scheduledNs));

test("every threshold stands with its value, limit and margin", () => {
  assert.deepEqual(
    rows("thresholds").map(({ result, level, metric, limit, value, margin, unit, margin_share: share }) => [
      ...[result, level, metric, limit, value, margin, unit],
      Math.round(1e6 * Number(share)) / 1e6,
    ]),
    [
      ["violated", "the whole run", "llm_request_failed", "rate<=0.01", 0.05, -0.04, "share", -4],
      ["passed", "c8", "llm_samples of llm_ttft", "count>=20", 100, 80, "samples", 4],
      ["passed", "c8", "llm_tpot", "drift<=5%", 1.5, 3.5, "%", 0.7],
      ["passed", "c8", "llm_ttft", "p(95)<50", 48.5, 1.5, "ms", 0.03],
    ],
  );
  assert.match(html, /3 of 4 thresholds passed/);
});

test("what failed is counted by class and message, in the server's words", () => {
  const failed = lines.filter(({ outcome }) => outcome === "failed") as (RequestLine & { message: string })[];
  const found = rows("failure_messages");
  assert.equal(sum(found.map(({ requests }) => Number(requests))), failed.length);
  for (const { message, requests, first_at_s: atS, level, status } of found) {
    const own = failed.filter((line) => line.message === message);
    assert.equal(requests, own.length, String(message));
    assert.deepEqual([level, status], ["c8", 429]);
    near(atS, Math.min(...own.map(({ endNs = 0 }) => endNs)) / 1e9, "first");
  }
  assert.ok(html.includes("no slot &lt;b&gt;"));
});

test("a percentile curve goes through the percentiles of its level's completed requests", () => {
  for (const level of levels) {
    for (const [name, of] of Object.entries({ ttft, tpot, e2e })) {
      const values = completed(steady(level)).map(of);
      const curve = points(`${name}-percentiles`, level);
      assert.ok(curve.length > 15 && curve.at(-1)?.[0] !== undefined);
      for (const [nines, y] of curve) near(y, quantile(values, 1 - 10 ** -nines), `${level} ${name} ${nines}`, 2e-4);
    }
    const gaps = completed(steady(level)).flatMap(({ arrivals = [] }) => arrivals.slice(1).map(([ns]) => ns / 1e6));
    const sorted = [...gaps].sort((a, b) => a - b);
    for (const [nines, y] of points("itl-percentiles", level)) {
      const rank = Math.floor((1 - 10 ** -nines) * (sorted.length - 1) + 1e-9);
      const close = [-1, 0, 1].map((i) => sorted[Math.min(sorted.length - 1, Math.max(0, rank + i))] as number);
      assert.ok(
        close.some((truth) => Math.abs(Number(y) - truth) <= 0.0035 * truth),
        `${level} ITL ${nines}: ${y} for ${close}`,
      );
    }
  }
  assert.deepEqual(charts["ttft-percentiles"]?.panels[0]?.limits, [[60, "SLO 60 ms"]]);
});

test("over time: rates, tokens, requests in flight and latencies of each bin", () => {
  const zero = firstDueNs();
  const scheduled = points("requests-over-time", "scheduled");
  const widthS = (scheduled[1]?.[0] ?? 0) - (scheduled[0]?.[0] ?? 0);
  const last = scheduled.length - 1;
  const binOf = (ns: number) => Math.min(last, Math.max(0, Math.floor((ns - zero) / 1e9 / widthS + 1e-9)));
  const check = (name: string, series: string, of: (bin: number) => number | undefined, panel = 0) => {
    for (const [bin, [x, y]] of points(name, series, panel).entries()) {
      near(x, (bin + 0.5) * widthS, `${series} ${bin}`);
      const truth = of(bin);
      if (truth === undefined) assert.equal(y, null, `${series} ${bin}`);
      else near(y, truth, `${series} ${bin}`);
    }
  };
  const within = (ns: number | undefined, bin: number) => binOf(ns ?? 0) === bin;
  const rate = (keep: (line: RequestLine, bin: number) => boolean) => (bin: number) =>
    lines.filter((line) => keep(line, bin)).length / widthS;
  check(
    "requests-over-time",
    "scheduled",
    rate(({ scheduledNs }, bin) => within(scheduledNs, bin)),
  );
  check(
    "requests-over-time",
    "sent",
    rate(({ sentNs }, bin) => within(sentNs, bin)),
  );
  check(
    "requests-over-time",
    "completed",
    rate(({ outcome, endNs }, bin) => outcome === "completed" && within(endNs, bin)),
  );
  check(
    "requests-over-time",
    "failed",
    rate(({ outcome, endNs }, bin) => outcome === "failed" && within(endNs, bin)),
  );
  check(
    "failures-over-time",
    "http_429",
    rate(({ outcome, endNs }, bin) => outcome === "failed" && within(endNs, bin)),
  );
  check("in-flight-over-time", "in flight", (bin) => {
    const [from, to] = [zero + bin * widthS * 1e9, zero + (bin + 1) * widthS * 1e9];
    return sum(
      lines.map(({ sentNs = 0, endNs = 0 }) => Math.max(0, Math.min(endNs, to) - Math.max(sentNs, from)) / (to - from)),
    );
  });
  // Tokens are kept in bins of 100 ms of the run's clock; all of them are there.
  const tokens = points("tokens-over-time", "output tokens").map(([, y]) => (y ?? 0) * widthS);
  near(sum(tokens), sum(completed(lines).map(({ outputTokens = 0 }) => outputTokens)), "tokens", 1e-4);
  const bySlice = new Map<number, number>();
  for (const line of completed(lines)) {
    let at = line.sentNs ?? 0;
    for (const [delta, count] of line.arrivals ?? []) {
      at += delta;
      bySlice.set(Math.floor(at / 1e8), (bySlice.get(Math.floor(at / 1e8)) ?? 0) + count);
    }
  }
  for (const [bin, amount] of tokens.entries())
    near(
      amount,
      sum([...bySlice].filter(([slice]) => binOf((slice + 0.5) * 1e8) === bin).map(([, n]) => n)),
      `tokens ${bin}`,
    );
  for (const [panel, of] of [ttft, e2e].entries())
    for (const [p, q] of [
      ["p50", 0.5],
      ["p95", 0.95],
    ] as const)
      check(
        "latency-over-time",
        p,
        (bin) => {
          const own = completed(lines).filter(({ sentNs }) => within(sentNs, bin));
          return own.length > 0 ? quantile(own.map(of), q) : undefined;
        },
        panel,
      );
});

test("the server's metrics stand at the times of their polls", () => {
  const zero = firstDueNs();
  const [running, usage] = charts["server-metrics"]?.panels ?? [];
  assert.deepEqual([running?.y.title, usage?.y.title], ["num_requests_running", "kv_cache_usage_perc"]);
  for (const [i, [x, y]] of (running?.series[0]?.points ?? []).entries()) {
    near(x, (i * 2e8 - zero) / 1e9, "x");
    assert.equal(y, i % 9);
  }
  assert.equal(running?.series[0]?.points.length, 90);
  assert.equal(usage?.series[0]?.points.length, 67, "polls without the metric are no values");
});

test("throughput against latency has a point a level, and the SLOs", () => {
  const [byTtft, byE2e] = charts["throughput-against-latency"]?.panels ?? [];
  assert.deepEqual([byTtft?.limits?.[0]?.[0], byE2e?.limits?.[0]?.[0]], [60, 900]);
  for (const [panel, of] of [ttft, e2e].entries())
    for (const [p, q] of [
      ["p50", 0.5],
      ["p99", 0.99],
    ] as const)
      for (const [i, [, y]] of points("throughput-against-latency", p, panel).entries())
        near(y, quantile(completed(steady(levels[i] as string)).map(of), q), `${p} ${levels[i]}`);
  const throughput = rows("levels").map(({ output_throughput_tokens_per_s: perS }) => Number(perS));
  const knee = throughput.findIndex((perS) => perS >= 0.9 * Math.max(...throughput));
  near(byTtft?.marks?.[0]?.[0], throughput[knee] ?? 0, "knee");
  assert.equal(byTtft?.marks?.[0]?.[1], `knee ${levels[knee]}`);
});

test("single requests: each point is one, and the waterfall has the slowest", () => {
  for (const level of levels) {
    const own = completed(lines.filter((line) => line.level === level));
    const truth = own.map((line) => [((line.sentNs ?? 0) - firstDueNs()) / 1e9, ttft(line)] as const);
    const drawn = points("requests-scatter", level);
    assert.equal(drawn.length, own.length);
    for (const [i, [x, y]] of drawn.entries()) {
      near(x, truth[i]?.[0] ?? 0, "sent");
      near(y, truth[i]?.[1] ?? 0, "TTFT");
    }
  }
  const failed = lines.filter(({ outcome }) => outcome === "failed");
  assert.equal(points("requests-scatter", "failed after").length, failed.length);

  const all = lines.filter(({ phase }) => phase === "steady").sort((a, b) => (a.sentNs ?? 0) - (b.sentNs ?? 0));
  const slowest = all.reduce(
    (most, line) => (line.outcome === "completed" && e2e(line) > e2e(most) ? line : most),
    all[0] as RequestLine,
  );
  const from = Math.min(Math.max(0, all.indexOf(slowest) - 20), all.length - 40);
  const shown = all.slice(from, from + 40);
  const zero = Math.min(...shown.map(({ scheduledNs = 0 }) => scheduledNs));
  const spans = points("waterfall", "generates").filter(([, y]) => y !== null);
  const truth = shown.flatMap((line, i) =>
    line.outcome === "completed"
      ? [
          [ms((line.firstOutputNs ?? 0) - zero), i + 1],
          [ms((line.lastOutputNs ?? 0) - zero), i + 1],
        ]
      : [],
  );
  assert.equal(spans.length, truth.length);
  for (const [i, [x, y]] of spans.entries()) {
    near(x, truth[i]?.[0] ?? 0, "span");
    assert.equal(y, truth[i]?.[1]);
  }
});

test("the workload as it was: lengths, cached input, connections and endings", () => {
  for (const row of rows("workload")) {
    const own = steady(String(row.level));
    const done = completed(own);
    for (const [side, key] of [
      ["input", "inputTokens"],
      ["output", "outputTokens"],
    ] as const) {
      const tokens = done.map((line) => line[key] ?? 0);
      near(row[`${side}_tokens_min`], Math.min(...tokens), "min");
      near(row[`${side}_tokens_max`], Math.max(...tokens), "max");
      near(row[`${side}_tokens_mean`], mean(tokens), "mean");
      near(row[`${side}_tokens_p50`], quantile(tokens, 0.5), "p50");
      near(row[`${side}_tokens_p99`], quantile(tokens, 0.99), "p99");
    }
    const cached = sum(done.map(({ cachedTokens = 0 }) => cachedTokens));
    near(row.cached_share, cached / sum(done.map(({ inputTokens = 0 }) => inputTokens)), "cached");
    const opened = own.filter(({ reused }) => !reused);
    assert.equal(row.connections, opened.length);
    near(row.reused_share, 1 - opened.length / own.length, "reused");
    near(
      row.connect_p50_ms,
      quantile(
        opened.map(({ connectNs }) => ms(connectNs)),
        0.5,
      ),
      "connect p50",
    );
    near(row.connect_max_ms, Math.max(...opened.map(({ connectNs }) => ms(connectNs))), "connect max");
    const reason = (name: string) => done.filter(({ finishReason }) => finishReason === name).length;
    assert.equal(row.finish_reasons, `length ${reason("length")}, stop ${reason("stop")}`);
  }
  const bars = charts.lengths?.panels[0];
  assert.equal(bars?.x.title, "Input tokens");
  const all = completed(lines.filter(({ phase }) => phase === "steady"));
  for (const [i, words] of (bars?.x.categories ?? []).entries()) {
    const [low = 0, high = low] = words.split("–").map(Number);
    const share = all.filter(({ inputTokens = 0 }) => inputTokens >= low && inputTokens <= high).length / all.length;
    near(bars?.series[0]?.points[i]?.[1], 100 * share, words);
  }
});

test("the command repeats what was set, in the form that is read again", () => {
  const [, command = ""] = /<td>Command<\/td><td class="wrap"><pre>([^<]*)</.exec(html) ?? [];
  assert.match(command, /^npm start concurrency-sweep -- \\\n/);
  assert.ok(command.includes("-e CONCURRENCY=2,8"), command);
  assert.ok(command.includes("-e REQUESTS=120"), command);
});
