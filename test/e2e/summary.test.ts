/** What a run says of itself can be recomputed from its records, agrees with the server, and gives no secret away. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { builtK6, distDir, root } from "../../build/paths";
import { chunksOf, foldRecords, itlGaps } from "../../lib/figures/fold";
import type { LevelSummary, Stats, Summary } from "../../lib/figures/level-summary";
import type { RecordLine } from "../../lib/figures/records";
import { asEnvironment } from "../../lib/settings/given-settings";
import { k6Environment } from "../../run/simulator";
import { whenValid } from "../support/attempts";
import { startChild } from "../support/child";
import { near } from "../support/near";
import { levelOf, requestsIn, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";
import { largest, smallest, sum } from "../support/statistics";

/** Figures with one value a request, kept exactly; the others pool every gap in a histogram of three digits. */
const perRequest = [
  ...["ttftMs", "ttftScheduledMs", "ttfoMs", "tpotMs", "outputSpeed", "maxStallMs", "e2eMs", "e2eScheduledMs"],
  "queueDelayMs",
] as const;
const pooled = ["itlMs", "chunkGapMs", "arrivalUncertaintyMs"] as const;

/** Nanoseconds are whole in one of the two computations: a TPOT may be off by one. */
const rounding = { relative: 1e-6, absolute: 2e-6 };

function sameLevel(
  measured: LevelSummary,
  folded: LevelSummary,
  pools: Record<(typeof pooled)[number], number[]>,
): void {
  const what = measured.name;
  for (const name of [
    ...(["name", "concurrency", "requests", "completed", "failed", "inputTokens", "outputTokens"] as const),
    ...(["failures", "statuses", "labels", "tokenSources", "tokenMismatches", "warmupRequests"] as const),
    "clockErrors" as const,
    ...(["cachedTokens", "cachedShare", "cachedSource"] as const),
  ]) {
    assert.deepEqual(measured[name], folded[name], `${what} ${name}`);
  }
  for (const name of [
    ...(["windowStartS", "durationS", "requestThroughput", "outputThroughput", "requestGoodput", "goodShare"] as const),
    ...(["releaseSpreadMs", "spanS", "coalescedShare"] as const),
  ]) {
    if (folded[name] === undefined) assert.equal(measured[name], undefined, `${what} ${name}`);
    else near(measured[name], folded[name], `${what} ${name}`, rounding);
  }
  for (const name of Object.keys(folded.whole) as (keyof LevelSummary["whole"])[]) {
    near(measured.whole[name], folded.whole[name], `${what} whole.${name}`, rounding);
  }
  for (const name of perRequest) {
    for (const key of Object.keys(folded[name]) as (keyof Stats)[]) {
      // Speeds are kept in whole thousandths.
      const allowed = name === "outputSpeed" ? { ...rounding, absolute: 0.0011 } : rounding;
      near(measured[name][key], folded[name][key], `${what} ${name}.${key}`, allowed);
    }
  }
  for (const name of pooled) {
    for (const key of ["count", "mean", "std", "min", "max"] as const) {
      near(measured[name][key], folded[name][key], `${what} ${name}.${key}`, rounding);
    }
    // A histogram gives the value of the nearest rank, an exact percentile lies between two.
    const sorted = [...pools[name]].sort((a, b) => a - b);
    for (const key of ["p50", "p90", "p95", "p99", "p999"] as const) {
      const p = key === "p999" ? 0.999 : Number(key.slice(1)) / 100;
      const rank = p * (sorted.length - 1);
      const low = sorted[Math.max(0, Math.floor(rank) - 1)] ?? 0;
      const high = sorted[Math.min(sorted.length - 1, Math.ceil(rank) + 1)] ?? 0;
      const value = measured[name][key];
      assert.ok(
        value >= low * 0.998 && value <= high * 1.002,
        `${what} ${name}.${key} ${value} not in ${low}..${high}`,
      );
    }
  }
}

/** Gaps, ITL and widths of the completed steady requests of a level, as lists of every single one. */
function poolsOf(lines: readonly RecordLine[], level: string): Record<(typeof pooled)[number], number[]> {
  const pools = { itlMs: [] as number[], chunkGapMs: [] as number[], arrivalUncertaintyMs: [] as number[] };
  for (const request of requestsIn(lines)) {
    if (request.level !== level || request.phase !== "steady" || request.outcome === "failed") continue;
    const chunks = chunksOf(request);
    for (const { gapNs } of chunks.slice(1)) pools.chunkGapMs.push(gapNs / 1e6);
    for (const { widthNs } of chunks) pools.arrivalUncertaintyMs.push(widthNs / 1e6);
    for (const { gapNs, tokens } of itlGaps(request)) {
      for (let i = 0; i < tokens; i++) pools.itlMs.push(gapNs / 1e6 / tokens);
    }
  }
  return pools;
}

test("bursts are no less than they are, and the summary and the fold agree on how uncertain their arrivals are", {
  skip: process.platform !== "linux" && "only Linux has the socket's times",
  timeout: 90_000,
}, async (t) => {
  const server = await startServer("--ttft", "20ms", "--itl", "normal:10ms,2ms", "--fault", "eventsPerChunk=4");
  t.after(server.stop);
  const { summary, records } = await run("concurrency-sweep", {
    ...{ BASE_URL: server.baseUrl, CONCURRENCY: "4", REQUESTS: 20, WARMUP: 4, OUTPUT_TOKENS: 24 },
    ...{ STAMPS: "socket", THRESHOLDS: "none" },
  });
  const level = levelOf(summary, "c4");
  sameLevel(level, levelOf(foldRecords(records), "c4"), poolsOf(records, "c4"));
  assert.deepEqual([level.completed, level.itlMs.count, level.chunkGapMs.count], [20, 20 * 23, 20 * 23]);
  assert.equal(level.itlMs.p50, 0, "three of four come right behind the one before them");
  assert.ok(level.itlMs.p90 > 30, `the fourth comes after 40 ms, not after its share of that: ${level.itlMs.p90}`);
  const { arrivalUncertaintyMs } = level;
  assert.equal(arrivalUncertaintyMs.count, 20 * 24);
  assert.ok(arrivalUncertaintyMs.p50 > 0, "of four chunks of a receive three are uncertain");
  const exact = requestsIn(records).flatMap(({ arrivals = [] }) =>
    arrivals.filter(([, , , widthNs = 0]) => widthNs === 0),
  );
  assert.ok(exact.length > 0, "and the last is not");
});

test("the summary is the fold of the records, and its windows and phases are as defined", {
  timeout: 90_000,
}, async (t) => {
  const server = await startServer(
    "--ttft",
    "uniform:10ms,60ms",
    "--itl",
    "normal:8ms,2ms",
    "--fault",
    "status=500,share=0.1",
  );
  t.after(server.stop);
  const ended = await whenValid(t, () =>
    run("concurrency-sweep", {
      ...{ BASE_URL: server.baseUrl, CONCURRENCY: "2,8", REQUESTS: 60, WARMUP: 10, OUTPUT_TOKENS: "uniform:8:24" },
      ...{ SLO_TTFT: 40, SLO_E2E: 1000 },
    }),
  );
  if (!ended) return;
  const { code, summary, records } = ended;
  assert.equal(code, 99, "a tenth of the requests fail");
  const folded = foldRecords(records);
  assert.deepEqual(
    summary.levels.map(({ name }) => name),
    folded.levels.map(({ name }) => name),
  );
  for (const level of folded.levels) sameLevel(levelOf(summary, level.name), level, poolsOf(records, level.name));

  const requests = requestsIn(records);
  const { requests: truths, clock } = await server.truth();
  const byId = new Map(truths.map((truth) => [truth.id, truth]));
  for (const line of records) {
    if (line.type !== "level") continue;
    const level = levelOf(summary, line.name);
    const own = requests.filter((request) => request.level === line.name);
    const steady = own.filter(({ phase }) => phase === "steady");
    const warmup = own.filter(({ phase }) => phase === "warmup");
    assert.deepEqual([steady.length, warmup.length], [60, 10]);
    // Requests are numbered as clients ask for them. One whose answer ended before another's may ask after it, so that only the
    // first steady request's own time is the window's.
    assert.deepEqual(
      own.map(({ index, phase }) => [index, phase]).sort(([a = 0], [b = 0]) => Number(a) - Number(b)),
      Array.from({ length: 70 }, (_, index) => [index, index < 10 ? "warmup" : "steady"]),
    );
    const first = steady.find(({ index }) => index === 10);
    assert.equal(line.openNs, first?.scheduledNs);
    assert.ok(warmup.every(({ scheduledNs = 0 }) => scheduledNs <= (first?.startedNs ?? 0)));
    assert.ok(steady.every(({ startedNs = 0 }) => startedNs >= line.openNs));
    assert.ok(steady.every(({ scheduledNs = 0 }) => scheduledNs <= line.closeNs));
    if (level.concurrency === 8) {
      assert.ok(
        warmup.some(({ endNs = 0 }) => endNs > line.openNs),
        "warm-up hands over without draining",
      );
    }
    // SLOs by hand.
    const good = steady.filter(
      ({ outcome, sentNs = 0, firstOutputNs = 0, lastOutputNs = 0 }) =>
        outcome === "completed" && firstOutputNs - sentNs <= 40e6 && lastOutputNs - sentNs <= 1000e6,
    );
    assert.ok(good.length > 0 && good.length < 54, `some requests meet the SLOs, some do not: ${good.length}`);
    near(level.goodShare, good.length / 60, "good share", { absolute: 1e-9 });

    // Tokens that the server sent within the window, on its own clock, of requests that did not fail.
    const startUnixNs = summary.startUnixMs * 1e6;
    const within = (serverNs: number) => {
      const ns = Number(BigInt(clock.zeroUnixNs)) + serverNs - startUnixNs;
      return ns >= line.openNs && ns <= line.closeNs;
    };
    const sent = own
      .filter(({ outcome }) => outcome === "completed")
      .flatMap(({ id }) => byId.get(id ?? "")?.sendsNs.filter(([beforeNs]) => within(beforeNs)) ?? []);
    const tokens = sum(sent.map(([, , count]) => count));
    near(level.outputThroughput * level.durationS, tokens, `${level.name}: tokens in the window`, {
      absolute: 8,
      relative: 0.02,
    });
  }
  const [first, second] = summary.levels as [LevelSummary, LevelSummary];
  assert.ok(first.windowStartS + first.durationS <= second.windowStartS, "one level after the other");
  assert.equal(summary.total.requests, requests.length);
  // Seconds begin with the first window; what was due before it is in none.
  const opened = records.find((line) => line.type === "level" && line.name === first.name);
  assert.ok(opened?.type === "level");
  const counted = requests.filter(({ scheduledNs = 0 }) => scheduledNs >= opened.openNs).length;
  assert.equal(requests.length - counted, 10, "the first level's warm-up");
  assert.equal(sum(summary.seconds.map(({ sent }) => sent)), counted, "every send is in one second");
  assert.equal(sum(summary.seconds.map(({ succeeded, failed }) => succeeded + failed)), counted);
  assert.equal(summary.window.startS, smallest(summary.levels.map(({ windowStartS }) => windowStartS)));
  near(
    summary.window.endS,
    largest(summary.levels.map(({ windowStartS, durationS }) => windowStartS + durationS)),
    "end of the window",
    rounding,
  );
});

test("a level by time ends in time: its window is as long as set, streams in flight are drained", {
  timeout: 60_000,
}, async (t) => {
  const server = await startServer("--ttft", "20ms", "--itl", "10ms");
  t.after(server.stop);
  const { summary, records } = await run("concurrency-sweep", {
    ...{ BASE_URL: server.baseUrl, CONCURRENCY: 4, DURATION: "2s", WARMUP: "500ms", OUTPUT_TOKENS: 30 },
  });
  const level = levelOf(summary, "c4");
  near(level.durationS, 2, "length of the window", { absolute: 0.001 });
  const line = records.find((each) => each.type === "level");
  const own = requestsIn(records);
  assert.ok(
    own.every(({ outcome }) => outcome === "completed"),
    "none is cut",
  );
  assert.ok(
    own.some(({ endNs = 0 }) => endNs > (line?.type === "level" ? line.closeNs : 0)),
    "some end after the window",
  );
  // Four streams, each with 30 tokens in 310 ms: less where the machine is slow, never more.
  assert.ok(level.outputThroughput > 100 && level.outputThroughput < 4 * 100, `${level.outputThroughput} tokens/s`);
  const { itlMs } = level;
  assert.ok(itlMs.count > 0);
});

/** What must be the same in two runs of the same settings. */
const shapeOf = (summary: Summary) => ({
  keys: Object.keys(summary),
  levels: summary.levels.map((level) => [level.name, level.requests, level.outputTokens, Object.keys(level)]),
  reasons: summary.verdict.reasons
    .filter((reason) => !reason.startsWith("CLIENT-BOUND"))
    .map((reason) => reason.replace(/\d+(\.\d+)?/g, "N")),
  sloMs: summary.sloMs,
  config: { ...summary.config, BASE_URL: "", RESULTS: "" },
});

test("k6 alone gives the thresholds, exit code and summary of npm start", { timeout: 120_000 }, async (t) => {
  const server = await startServer("--ttft", "20ms", "--itl", "10ms");
  t.after(server.stop);
  const settings = { CONCURRENCY: "1,4", REQUESTS: "12", OUTPUT_TOKENS: "8", SALT: "same" };
  for (const [slo, expected] of [
    ["SLO_TTFT=1", 99],
    ["SLO_TTFT=5000", 0],
  ] as const) {
    const start = async () => {
      const alone = scratchDir();
      const flags = [...Object.entries(settings).map((each) => each.join("=")), slo, `BASE_URL=${server.baseUrl}`];
      const bundle = path.join(distDir, "concurrency-sweep.js");
      const k6 = startChild(
        process.env.K6_BINARY || builtK6,
        ["run", bundle, ...[...flags, `RESULTS=${alone}`].flatMap((flag) => ["-e", flag])],
        {
          cwd: alone,
          env: k6Environment(),
          timeoutMs: 60_000,
        },
      );
      const k6Ended = await k6.ended;
      const started = await npmStart(["-e", slo], { ...settings, BASE_URL: server.baseUrl });
      const [summary, other] = [alone, started.dir].map(
        (dir) => JSON.parse(readFileSync(path.join(dir, "summary.json"), "utf8")) as Summary,
      ) as [Summary, Summary];
      const unfit = [summary, other].find(({ verdict }) => verdict.validity === "CLIENT-BOUND");
      return { summary: unfit ?? summary, own: summary, other, alone, k6Ended, started };
    };
    // What a missed SLO ends with holds on any machine.
    const both = expected === 0 ? await whenValid(t, start) : await start();
    if (!both) return;
    const { own: summary, other, alone, k6Ended, started } = both;
    assert.deepEqual([k6Ended.code, started.code], [expected, expected], k6Ended.stdout + started.stdout);
    assert.deepEqual(shapeOf(summary), shapeOf(other));
    assert.equal(readFileSync(path.join(alone, "config.json"), "utf8").includes(server.baseUrl), true);
  }
});

interface Started {
  dir: string;
  code: number | undefined;
  stdout: string;
  stderr: string;
}

/** `npm start` with arguments and environment, its results in a folder of the test. */
async function npmStart(
  args: readonly string[],
  env: Record<string, string>,
  meanwhile?: () => void,
): Promise<Started> {
  const dir = scratchDir();
  const child = startChild("npm", ["start", "--", ...args], {
    cwd: root,
    env: { ...process.env, ...asEnvironment({ ...env, RESULTS: dir }) },
    timeoutMs: 100_000,
  });
  const timer = meanwhile && setInterval(meanwhile, 50);
  try {
    const { code, stdout, stderr } = await child.ended;
    return { dir, code, stdout, stderr };
  } finally {
    clearInterval(timer);
  }
}

/** Command lines of all processes that work in or run from this project, where the system shows them. */
function commandLines(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        const cwd = readlinkSync(`/proc/${pid}/cwd`);
        return line.includes(root) || cwd.startsWith(root) ? [line] : [];
      } catch {
        // Gone, or another user's.
        return [];
      }
    });
}

test("no secret is written or shown, though the server gets it", { timeout: 120_000 }, async (t) => {
  const server = await startServer("--ttft", "20ms", "--itl", "20ms", "--fault", "status=401,share=0.1");
  t.after(server.stop);
  const keys: { authorization?: string; team?: string }[] = [];
  const proxy = http.createServer((request, reply) => {
    keys.push({ authorization: request.headers.authorization, team: String(request.headers["x-team"] ?? "") });
    const { method, url, headers } = request;
    const onward = http.request(`${server.origin}${url}`, { method, headers }, (answer) => {
      reply.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(reply);
    });
    onward.on("error", () => reply.destroy());
    request.pipe(onward);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  const address = proxy.address();
  assert.ok(typeof address === "object" && address);

  const secrets = { API_KEY: "sk-e2e-7Q9vX2mN", header: "blue-pelican-41" };
  const seen = new Set<string>();
  const look = () => {
    for (const line of commandLines()) seen.add(line);
  };
  const { dir, stdout, stderr } = await npmStart(
    [],
    {
      ...{ BASE_URL: `http://127.0.0.1:${address.port}/v1`, CONCURRENCY: "2", REQUESTS: "20", OUTPUT_TOKENS: "10" },
      ...{ API_KEY: secrets.API_KEY, HEADERS: JSON.stringify({ "X-Team": secrets.header }) },
    },
    process.platform === "linux" ? look : undefined,
  );
  const generation = keys.filter(({ team }) => team === secrets.header);
  assert.ok(generation.length >= 20, "the server got the header");
  assert.ok(
    generation.every(({ authorization }) => authorization === `Bearer ${secrets.API_KEY}`),
    "and the key",
  );

  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const names = files.map(({ name }) => name);
  for (const name of ["summary.json", "config.json", "records.ndjson.gz", "report.html"])
    assert.ok(names.includes(name), name);
  const texts = files.map((file) => {
    const bytes = readFileSync(path.join(file.parentPath ?? file.path, file.name));
    return [file.name, (file.name.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("latin1")] as const;
  });
  if (process.platform === "linux") {
    assert.ok(
      [...seen].some((line) => / run .*concurrency-sweep\.js/.test(line)),
      "k6's command line was looked at",
    );
  }
  for (const secret of Object.values(secrets)) {
    for (const [name, text] of [...texts, ["stdout", stdout], ["stderr", stderr]] as const) {
      assert.ok(!text.includes(secret), `${name} holds a secret`);
    }
    for (const line of seen) assert.ok(!line.includes(secret), `a command line holds a secret: ${line}`);
  }
});
