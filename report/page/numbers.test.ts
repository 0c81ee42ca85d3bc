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
import type { LevelLine, RecordLine, RequestLine } from "../../lib/figures/records";
import type { PointsLine } from "../../lib/figures/server";
import { writeFolded } from "../../test/support/folded-run";
import { nearTruth } from "../../test/support/near";
import { largest, mean, quantile, sum } from "../../test/support/statistics";
import { lasting, metricsPages, type RunSpec, requestLine, sweep, writeRun } from "../../test/support/synthetic";
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
    nearTruth(atS, Math.min(...own.map(({ endNs = 0 }) => endNs)) / 1e9, "first");
  }
  assert.ok(html.includes("no slot &lt;b&gt;"));
});

test("a percentile curve goes through the percentiles of its level's completed requests", () => {
  for (const level of levels) {
    for (const [name, of] of Object.entries({ ttft, tpot, e2e })) {
      const values = completed(steady(level)).map(of);
      const curve = points(`${name}-percentiles`, level);
      assert.ok(curve.length > 15 && curve.at(-1)?.[0] !== undefined);
      for (const [nines, y] of curve)
        nearTruth(y, quantile(values, 1 - 10 ** -nines), `${level} ${name} ${nines}`, 2e-4);
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
      nearTruth(x, (bin + 0.5) * widthS, `${series} ${bin}`);
      const truth = of(bin);
      if (truth === undefined) assert.equal(y, null, `${series} ${bin}`);
      else nearTruth(y, truth, `${series} ${bin}`);
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
  nearTruth(sum(tokens), sum(completed(lines).map(({ outputTokens = 0 }) => outputTokens)), "tokens", 1e-4);
  const bySlice = new Map<number, number>();
  for (const line of completed(lines)) {
    let at = line.sentNs ?? 0;
    for (const [delta, count] of line.arrivals ?? []) {
      at += delta;
      bySlice.set(Math.floor(at / 1e8), (bySlice.get(Math.floor(at / 1e8)) ?? 0) + count);
    }
  }
  for (const [bin, amount] of tokens.entries())
    nearTruth(
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
    nearTruth(x, (i * 2e8 - zero) / 1e9, "x");
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
        nearTruth(y, quantile(completed(steady(levels[i] as string)).map(of), q), `${p} ${levels[i]}`);
  const throughput = rows("levels").map(({ output_throughput_tokens_per_s: perS }) => Number(perS));
  const knee = throughput.findIndex((perS) => perS >= 0.9 * Math.max(...throughput));
  nearTruth(byTtft?.marks?.[0]?.[0], throughput[knee] ?? 0, "knee");
  assert.equal(byTtft?.marks?.[0]?.[1], `knee ${levels[knee]}`);
});

test("single requests: each point is one, and the waterfall has the slowest", () => {
  for (const level of levels) {
    const own = completed(lines.filter((line) => line.level === level));
    const truth = own.map((line) => [((line.sentNs ?? 0) - firstDueNs()) / 1e9, ttft(line)] as const);
    const drawn = points("requests-scatter", level);
    assert.equal(drawn.length, own.length);
    for (const [i, [x, y]] of drawn.entries()) {
      nearTruth(x, truth[i]?.[0] ?? 0, "sent");
      nearTruth(y, truth[i]?.[1] ?? 0, "TTFT");
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
    nearTruth(x, truth[i]?.[0] ?? 0, "span");
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
      nearTruth(row[`${side}_tokens_min`], Math.min(...tokens), "min");
      nearTruth(row[`${side}_tokens_max`], Math.max(...tokens), "max");
      nearTruth(row[`${side}_tokens_mean`], mean(tokens), "mean");
      nearTruth(row[`${side}_tokens_p50`], quantile(tokens, 0.5), "p50");
      nearTruth(row[`${side}_tokens_p99`], quantile(tokens, 0.99), "p99");
    }
    const cached = sum(done.map(({ cachedTokens = 0 }) => cachedTokens));
    nearTruth(row.cached_share, cached / sum(done.map(({ inputTokens = 0 }) => inputTokens)), "cached");
    const opened = own.filter(({ reused }) => !reused);
    assert.equal(row.connections, opened.length);
    nearTruth(row.reused_share, 1 - opened.length / own.length, "reused");
    nearTruth(
      row.connect_p50_ms,
      quantile(
        opened.map(({ connectNs }) => ms(connectNs)),
        0.5,
      ),
      "connect p50",
    );
    nearTruth(row.connect_max_ms, Math.max(...opened.map(({ connectNs }) => ms(connectNs))), "connect max");
    const reason = (name: string) => done.filter(({ finishReason }) => finishReason === name).length;
    assert.equal(row.finish_reasons, `length ${reason("length")}, stop ${reason("stop")}`);
  }
  const bars = charts.lengths?.panels[0];
  assert.equal(bars?.x.title, "Input tokens");
  const all = completed(lines.filter(({ phase }) => phase === "steady"));
  for (const [i, words] of (bars?.x.categories ?? []).entries()) {
    const [low = 0, high = low] = words.split("–").map(Number);
    const share = all.filter(({ inputTokens = 0 }) => inputTokens >= low && inputTokens <= high).length / all.length;
    nearTruth(bars?.series[0]?.points[i]?.[1], 100 * share, words);
  }
});

test("the command repeats what was set, in the form that is read again", () => {
  const [, command = ""] = /<td>Command<\/td><td class="wrap"><pre>([^<]*)</.exec(html) ?? [];
  assert.match(command, /^npm start concurrency-sweep -- \\\n/);
  assert.ok(command.includes("-e CONCURRENCY=2,8"), command);
  assert.ok(command.includes("-e REQUESTS=120"), command);
});

/** The page of a run whose summary is folded from its records, and these records. */
class Page {
  readonly html: string;
  readonly lines: (RecordLine | PointsLine)[];
  readonly requests: RequestLine[];

  constructor(private readonly run: string) {
    this.html = readFileSync(join(run, "report.html"), "utf8");
    this.lines = gunzipSync(readFileSync(join(run, "records.ndjson.gz")))
      .toString()
      .split("\n")
      .flatMap((text) => (text === "" ? [] : [JSON.parse(text)]));
    this.requests = this.lines.filter((line): line is RequestLine => line.type === "request");
  }

  static async of(spec: RunSpec, name: string): Promise<Page> {
    const run = writeFolded(spec, dir, name);
    await renderReport(run);
    return new Page(run);
  }

  rows(table: string): Cells[] {
    return JSON.parse(readFileSync(join(this.run, "tables", `${table}.json`), "utf8")).rows;
  }

  points(chart: string, series: string, panel = 0): [number, number | null][] {
    const all = JSON.parse(/id="charts">([^<]*)</.exec(this.html)?.[1] ?? "{}") as Record<string, ChartSpec>;
    return (all[chart]?.panels[panel]?.series.find(({ name }) => name === series)?.points ?? []).map(([x, y]) => [
      x,
      y,
    ]);
  }

  window(level: string): LevelLine {
    const found = this.lines.find((line): line is LevelLine => line.type === "level" && line.name === level);
    assert.ok(found);
    return found;
  }

  steady(level: string): RequestLine[] {
    return this.requests.filter((line) => line.level === level && line.phase === "steady");
  }

  /** The polls of a metric: [ns, value]. */
  polls(metric: string): [number, number][] {
    return this.lines.flatMap((line) => {
      if (line.type !== "points" || !line.metrics.includes(metric)) return [];
      const column = 1 + line.metrics.indexOf(metric);
      return line.points.map((row): [number, number] => [row[0], row[column] as number]);
    });
  }

  /** By how much a counter grew in a window, between two polls evenly. */
  grown(metric: string, { openNs, closeNs }: LevelLine): number {
    const at = (ns: number): number => {
      const polls = this.polls(metric);
      const after = polls.findIndex(([pollNs]) => pollNs >= ns);
      const [[fromNs, from], [toNs, to]] = [polls[after - 1], polls[after]] as [[number, number], [number, number]];
      return from + ((to - from) * (ns - fromNs)) / (toNs - fromNs);
    };
    return at(closeNs) - at(openNs);
  }

  /** A gauge in a window, each poll holding until the next: its mean over time, and its most. */
  held(metric: string, { openNs, closeNs }: LevelLine): { mean: number; max: number } {
    const polls = this.polls(metric);
    const spans = polls.map(([ns, value], i) => ({
      value,
      ns: Math.min(closeNs, polls[i + 1]?.[0] ?? closeNs) - Math.max(openNs, ns),
    }));
    const within = spans.filter(({ ns }) => ns > 0);
    return {
      mean: sum(within.map(({ value, ns }) => value * ns)) / (closeNs - openNs),
      max: largest(within.map(({ value }) => value)),
    };
  }

  /** The output tokens of a level that arrived in a span of time. */
  tokens(level: string, fromNs: number, toNs: number): number {
    return sum(
      completed(this.requests.filter((line) => line.level === level)).flatMap(({ sentNs = 0, arrivals = [] }) => {
        let atNs = sentNs;
        return arrivals.map(([delta, tokens]) => {
          atNs += delta;
          return atNs > fromNs && atNs <= toNs ? tokens : 0;
        });
      }),
    );
  }
}

/** The text of the answer that stands on top of a page. */
const answerOf = ({ html }: Page): string => /id="answer">(.*?)<\/section>/s.exec(html)?.[1] ?? "";

test("a soak's parts: requests, latencies, throughput and memory of each tenth, and the drift over all", async () => {
  const page = await Page.of(lasting({ seed: 50 }), "soak");
  const { openNs, closeNs, clientMB = [] } = page.window("c4");
  const lengthNs = (closeNs - openNs) / 10;
  const rows = page.rows("parts_c4");
  assert.equal(rows.length, 10);
  const medians: Record<string, number[]> = { TTFT: [], TPOT: [] };
  for (const [part, row] of rows.entries()) {
    const fromNs = openNs + part * lengthNs;
    const own = page
      .steady("c4")
      .filter(({ scheduledNs = 0 }) => scheduledNs >= fromNs && scheduledNs < fromNs + lengthNs);
    const done = completed(own);
    assert.ok(done.length > 20);
    nearTruth(row.from_s, (fromNs - openNs) / 1e9, "from", 1e-3);
    assert.deepEqual([row.requests, row.failed], [own.length, own.length - done.length], `part ${part}`);
    for (const [name, of] of Object.entries({ ttft, tpot }))
      for (const q of [0.5, 0.99])
        nearTruth(row[`${name}_p${100 * q}_ms`], quantile(done.map(of), q), `${name} of ${part}`);
    nearTruth(
      row.output_tokens_per_s,
      (1e9 * page.tokens("c4", fromNs, fromNs + lengthNs)) / lengthNs,
      `tokens of ${part}`,
    );
    nearTruth(row.client_mb, clientMB[0]?.[part] ?? 0, `memory of ${part}`);
    medians.TTFT?.push(quantile(done.map(ttft), 0.5));
    medians.TPOT?.push(quantile(done.map(tpot), 0.5));
    for (const [panel, series, key] of [
      [0, "TTFT p50", "ttft_p50_ms"],
      [0, "TPOT p50", "tpot_p50_ms"],
      [1, "Output tokens/s", "output_tokens_per_s"],
      [1, "Client's memory", "client_mb"],
    ] as const) {
      const [x, y] = page.points("soak-c4", series, panel)[part] ?? [];
      nearTruth(x, (part + 0.5) * (lengthNs / 1e9), `${series}, middle of part ${part}`);
      nearTruth(y, Number(row[key]), `${series} of part ${part}, drawn`);
    }
  }
  // Theil and Sen: the median slope of all pairs, and the line through the medians.
  for (const [name, values] of Object.entries(medians)) {
    const slopes = values.flatMap((a, i) => values.slice(i + 1).map((b, k) => (b - a) / (k + 1)));
    const slope = quantile(slopes, 0.5);
    const begin = quantile(
      values.map((value, i) => value - slope * i),
      0.5,
    );
    const [, percent] = new RegExp(`The median ${name} rises by ([0-9.]+) %`).exec(answerOf(page)) ?? [];
    nearTruth(Number(percent), (900 * slope) / begin, `drift of the ${name}`, 0.006);
  }
});

test("the server's side and what it costs in energy: from the polls and the requests of each window", async () => {
  const spec = sweep({ seed: 51, concurrencies: [2, 8], requestsPerLevel: 90, tokens: 12 });
  const polled: RunSpec = {
    ...{ ...spec, points: metricsPages(spec, 130) },
    config: { ...spec.config, METRICS_URL: "http://127.0.0.1:8000/metrics" },
  };
  const page = await Page.of(polled, "polled");
  const [rows, latencies] = [page.rows("server"), page.rows("server_latencies")];
  assert.deepEqual(
    latencies.map(({ level, latency }) => `${level} ${latency}`),
    ["c2 TTFT", "c2 ITL", "c8 TTFT", "c8 ITL"],
  );
  for (const [i, level] of ["c2", "c8"].entries()) {
    const window = page.window(level);
    const row = rows[i] ?? {};
    const grown = (metric: string) => page.grown(`vllm:${metric}_total`, window);
    const held = (metric: string) => page.held(metric, window);
    const power = held("DCGM_FI_DEV_POWER_USAGE").mean;
    const joules = (power * (window.closeNs - window.openNs)) / 1e9;
    const truths = {
      running_mean: held("vllm:num_requests_running").mean,
      running_max: held("vllm:num_requests_running").max,
      waiting_mean: held("vllm:num_requests_waiting").mean,
      waiting_max: held("vllm:num_requests_waiting").max,
      kv_usage_mean: held("vllm:kv_cache_usage_perc").mean,
      kv_usage_max: held("vllm:kv_cache_usage_perc").max,
      preemptions: grown("num_preemptions"),
      prefix_hit_share: grown("prefix_cache_hits") / grown("prefix_cache_queries"),
      draft_acceptance: grown("spec_decode_num_accepted_tokens") / grown("spec_decode_num_draft_tokens"),
      gpu_use: held("DCGM_FI_DEV_GPU_UTIL").mean / 100,
      power_w: power,
      energy_j: joules,
      joules_per_output_token: joules / page.tokens(level, window.openNs, window.closeNs),
    };
    assert.deepEqual(Object.keys(row), ["level", ...Object.keys(truths)]);
    for (const [key, truth] of Object.entries(truths)) nearTruth(row[key], truth, `${level} ${key}`);

    const done = completed(page.steady(level));
    for (const [k, [name, ours]] of (
      [
        ["time_to_first_token", done.map(ttft)],
        ["inter_token_latency", done.flatMap(({ arrivals = [] }) => arrivals.slice(1).map(([ns]) => ms(ns)))],
      ] as const
    ).entries()) {
      const told = latencies[2 * i + k] ?? {};
      const part = (suffix: string) => page.grown(`vllm:${name}_seconds_${suffix}`, window);
      const [count, meanMs] = [part("count"), (1000 * part("sum")) / part("count")];
      nearTruth(told.server_count, count, `${level} ${name}, count`);
      nearTruth(told.server_mean_ms, meanMs, `${level} ${name}, mean`);
      nearTruth(told.client_mean_ms, mean(ours), `${level} ${name}, our mean`);
      nearTruth(told.client_p50_ms, quantile(ours, 0.5), `${level} ${name}, our p50`, k === 0 ? 1e-5 : 2e-3);
      assert.equal(told.client_count, ours.length);
      nearTruth(told.outside_ms, mean(ours) - meanMs, `${level} ${name}, outside`);
      const bounds = [0.01, 0.025, 0.05, 0.1, 0.25, 1];
      const half = bounds.findIndex((bound) => part(`bucket{le="${bound}"}`) >= count / 2);
      nearTruth(told.server_p50_from_ms, 1000 * (bounds[half - 1] ?? 0), `${level} ${name}, p50 from`);
      nearTruth(told.server_p50_to_ms, 1000 * (bounds[half] ?? Number.NaN), `${level} ${name}, p50 to`);
    }
  }
});

test("costs: by the prices of tokens and by the hour, of all requests and of those that met the SLOs", async () => {
  const base = sweep({
    ...{ seed: 52, concurrencies: [2, 8], requestsPerLevel: 90, tokens: 12, failBeyond: 6 },
    sloMs: { ttft: 40, e2e: 190 },
  });
  const spec: RunSpec = {
    ...base,
    requests: base.requests.map((line, i) => ({ ...line, tokenSource: "usage", cachedTokens: i % 50 })),
  };
  const isGood = (line: RequestLine) => line.outcome === "completed" && ttft(line) <= 40 && e2e(line) <= 190;
  for (const [name, prices] of Object.entries({
    tokens: { PRICE_INPUT: 0.5, PRICE_CACHED: 0.05, PRICE_OUTPUT: 1.5 },
    hour: { PRICE_HOUR: 3.6 },
  })) {
    const page = await Page.of({ ...spec, config: { ...spec.config, ...prices } }, `costs-${name}`);
    const rows = page.rows("costs");
    assert.equal(rows.length, 2);
    for (const [i, level] of ["c2", "c8"].entries()) {
      const { openNs, closeNs } = page.window(level);
      const own = page.steady(level);
      const done = completed(own);
      const good = own.filter(isGood);
      assert.ok(good.length > 0 && (level === "c2" || good.length < done.length), `${good.length} of ${done.length}`);
      const tokens = (key: "inputTokens" | "outputTokens" | "cachedTokens", of: RequestLine[]) =>
        sum(of.map((line) => line[key] ?? 0));
      const dollars =
        (0.5 * (tokens("inputTokens", done) - tokens("cachedTokens", done)) +
          0.05 * tokens("cachedTokens", done) +
          1.5 * tokens("outputTokens", done)) /
        1e6;
      // The server's time costs 0.1 cent a second: over what ended, or arrived, in the window.
      const windowS = (closeNs - openNs) / 1e9;
      const ended = completed(page.requests).filter(
        (line) => line.level === level && (line.endNs ?? 0) > openNs && (line.endNs ?? 0) <= closeNs,
      );
      const perRequest = name === "tokens" ? dollars / done.length : (0.001 * windowS) / ended.length;
      const perToken =
        name === "tokens"
          ? dollars / tokens("outputTokens", done)
          : (0.001 * windowS) / page.tokens(level, openNs, closeNs);
      const row = rows[i] ?? {};
      nearTruth(row.cost_per_request, perRequest, `${name} ${level}, a request`);
      nearTruth(
        row.cost_per_good_request,
        (perRequest * done.length) / good.length,
        `${name} ${level}, a good request`,
      );
      nearTruth(row.cost_per_million_output_tokens, 1e6 * perToken, `${name} ${level}, a million tokens`);
      nearTruth(
        row.cost_per_million_good_output_tokens,
        (1e6 * perToken * tokens("outputTokens", done)) / tokens("outputTokens", good),
        `${name} ${level}, a million good tokens`,
      );
    }
  }
});
