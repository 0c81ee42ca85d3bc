/**
 * Several instances of k6 run one load as k6-operator has them do it: paused, released one after the other, with a real
 * coordinator and the simulated server. Together they send what one process sends, and are judged as one.
 */
import assert from "node:assert/strict";
import { appendFileSync, chmodSync, copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { distDir } from "../../build/paths";
import type { Summary } from "../../lib/figures/level-summary";
import type { RequestLine } from "../../lib/figures/records";
import { main as merge } from "../../report/cli/merge";
import { countsOf } from "../../report/judge/histogram-sum";
import { deploymentOf, manifestsOf } from "../../run/k8s";
import { withAttempts } from "../support/attempts";
import { startChild } from "../support/child";
import { k6Binary, levelOf, type RunSettings, readRecords, requestsIn, run } from "../support/run";
import { runTogether, startCoordinator, startRunner, type Together, token } from "../support/runners";
import { scratchDir } from "../support/scratch";
import { type SimulatedServer, startServer } from "../support/simulated";

/** A variable of a manifest: a value, or the place of a secret one. */
interface Variable {
  readonly name: string;
  readonly value?: string;
}

let server: SimulatedServer;
before(async () => {
  server = await startServer("--ttft", "20ms", "--itl", "4ms");
});
after(() => server.stop());

const partsOf = (dir: string, n: number) => Array.from({ length: n }, (_, k) => path.join(dir, `part-${k + 1}`));

/** Merges the parts in this process, which takes a second less than in one of its own. */
async function merged(dirs: readonly string[], n: number): Promise<{ code: number; said: string; dir: string }> {
  const dir = scratchDir();
  const lines: string[] = [];
  const code = await merge([...dirs, "--parts", String(n), "--output", dir], (text) => lines.push(text));
  return { code, said: lines.join("\n"), dir };
}

const summaryIn = (dir: string) => JSON.parse(readFileSync(path.join(dir, "summary.json"), "utf8")) as Summary;
const requestsOf = (dir: string) => requestsIn(readRecords(path.join(dir, "records.ndjson.gz")));

/** What was sent: the place of each request in the load, and the lengths of its prompt and answer, which follow from it. */
const sent = (requests: readonly RequestLine[]) =>
  requests
    .map(({ level, phase, index, inputTokens, outputTokens }) =>
      [level, phase, index, inputTokens, outputTokens].join(" "),
    )
    .sort();

/** Together and with the parts' own requests; the run must have been judged valid, or the machine was too busy for it. */
async function together(t: TestContext, scenario: string, n: number, settings: RunSettings) {
  const ended = await runTogether(scenario, n, settings, { args: ["--judge", "none"] });
  for (const { code, stderr, stdout } of ended.runners) assert.equal(code, 0, stderr + stdout);
  assert.equal(ended.judged.code, 0, ended.judged.stderr + ended.judged.stdout);
  const dirs = partsOf(ended.coordinator.dir, n);
  const result = await merged(dirs, n);
  const summary = summaryIn(result.dir);
  if (summary.verdict.validity === "CLIENT-BOUND") t.diagnostic(summary.verdict.reasons.join("; "));
  else assert.equal(result.code, 0, result.said);
  return { ...result, summary, requests: requestsOf(result.dir), dirs };
}

/** When the first request of each level left, of each part that has one, ms on the merged axis. */
function starts(requests: readonly RequestLine[]): Map<string, number[]> {
  const first = new Map<string, Map<string, number>>();
  for (const { level, id = "", sentNs = 0 } of requests) {
    const part = id.split("-")[1] ?? ""; // of the process
    const of = first.get(level) ?? new Map<string, number>();
    of.set(part, Math.min(of.get(part) ?? Infinity, sentNs / 1e6));
    first.set(level, of);
  }
  return new Map([...first].map(([level, of]) => [level, [...of.values()]]));
}

const sweep: RunSettings = {
  ...{ CONCURRENCY: "1,2,5", REQUESTS: 12, WARMUP: 3, SALT: "same", CACHE: "warm" },
  ...{ INPUT_TOKENS: "uniform:20:400", OUTPUT_TOKENS: "uniform:4:9" },
};

let twoParts: readonly string[] = [];

test("a sweep on 1, 2 and 3 instances is the sweep of one process", async (t) => {
  const BASE_URL = server.baseUrl;
  const one = await run("concurrency-sweep", { ...sweep, BASE_URL });
  for (const n of [1, 2, 3]) {
    await withAttempts(t, async () => {
      await server.reset();
      const all = await together(t, "concurrency-sweep", n, { ...sweep, BASE_URL });
      assert.deepEqual(sent(all.requests), sent(one.requests), `${n} instances`);
      const truth = await server.truth();
      assert.equal(all.summary.total.requests, truth.requestCount);
      assert.equal(all.summary.total.outputTokens, truth.outputTokens);
      for (const [level, ms] of starts(all.requests)) {
        assert.ok(Math.max(...ms) - Math.min(...ms) < 100, `${n} instances began ${level} at ${ms}`);
        assert.equal(ms.length, Math.min(n, Number(level.slice(1))), level);
      }
      for (const { name, ttftMs, itlMs } of one.summary.levels) {
        const level = levelOf(all.summary, name);
        assert.equal(level.requests, 12);
        assert.ok(
          Math.abs(level.ttftMs.p50 - ttftMs.p50) < 5,
          `TTFT ${level.ttftMs.p50} of ${n}, ${ttftMs.p50} of one`,
        );
        assert.ok(Math.abs(level.itlMs.p50 - itlMs.p50) < 1, `ITL ${level.itlMs.p50} of ${n}, ${itlMs.p50} of one`);
      }
      if (n === 2) twoParts = all.dirs;
    });
  }
});

test("arrivals of three instances are the schedule of one", async (t) => {
  const load = { RATE: "30,60", DURATION: "600ms", ARRIVAL: "poisson", MAX_IN_FLIGHT: 20, SALT: "same" };
  const settings = { ...load, BASE_URL: server.baseUrl, OUTPUT_TOKENS: 4, INPUT_TOKENS: "uniform:20:400" };
  const one = await run("arrival-rate-ramp", settings);
  const all = await together(t, "arrival-rate-ramp", 3, settings);
  assert.deepEqual(sent(all.requests), sent(one.requests));
  const schedule = (requests: readonly RequestLine[]) => {
    const ns = new Map(requests.map(({ level, index, scheduledNs = 0 }) => [`${level} ${index}`, scheduledNs]));
    const zero = ns.get("r30 0") ?? Number.NaN;
    return [...ns].map(([key, at]) => [key, Math.round((at - zero) / 1e6)] as const);
  };
  const want = new Map(schedule(one.requests));
  // The clocks of the three are known to a fraction of a millisecond.
  for (const [key, ms] of schedule(all.requests)) {
    assert.ok(Math.abs(ms - (want.get(key) ?? Number.NaN)) <= 2, `${key} at ${ms}, of one at ${want.get(key)}`);
  }
  // The merged folder has what one process leaves: the ramp second by second, and the server's counters, which count once.
  const cells = (name: string) => {
    const [heading = "", ...rows] = readFileSync(path.join(all.dir, name), "utf8").trim().split("\n");
    return rows.map((row) => Object.fromEntries(heading.split(",").map((key, i) => [key, Number(row.split(",")[i])])));
  };
  const sum = (key: string) => cells("seconds.csv").reduce((total, second) => total + (second[key] ?? 0), 0);
  assert.deepEqual([sum("scheduled"), sum("sent"), sum("succeeded")], new Array(3).fill(one.requests.length));
  const { pages } = JSON.parse(readFileSync(path.join(all.dir, "server-metrics.json"), "utf8"));
  assert.equal(pages.length, 1);
  assert.ok(pages[0].polls >= 2, `${pages[0].polls} polls`);
  const { metrics, points } = pages[0].values as { metrics: string[]; points: number[][] };
  const column = metrics.indexOf("vllm:prompt_tokens_total") + 1;
  const tokens = (points.at(-1)?.[column] ?? 0) - (points[0]?.[column] ?? 0);
  const prompts = all.requests.reduce((total, { inputTokens = 0 }) => total + inputTokens, 0);
  assert.ok(
    column > 0 && tokens > 0 && tokens <= prompts,
    `${tokens} prompt tokens by the server, ${prompts} were sent`,
  );
});

/** The places of all values in a JSON value: items of a list are one place. */
const placesIn = (value: unknown, at = ""): string[] => {
  if (Array.isArray(value)) return value.flatMap((each) => placesIn(each, `${at}[]`));
  if (typeof value !== "object" || value === null) return [at];
  return Object.entries(value).flatMap(([name, each]) => placesIn(each, `${at}.${name}`));
};

test("a merged summary has every value that one process's has, and no other", async (t) => {
  const loads: [string, RunSettings][] = [
    // Long enough for several polls of the server's pages in the window.
    ["soak", { RATE: 20, DURATION: "3s", WARMUP: "300ms", OUTPUT_TOKENS: 6, SLO_TTFT: 100, PRICE_HOUR: 2 }],
    ["conversations", { CONCURRENCY: 4, SESSIONS: 8, SESSION_TURNS: 3, THINK_TIME: 0, OUTPUT_TOKENS: 6 }],
  ];
  for (const [scenario, settings] of loads) {
    const own = { ...settings, BASE_URL: server.baseUrl, SALT: "same" };
    const one = await run(scenario, own);
    const all = await together(t, scenario, 2, own);
    // Whether the host paused a process, and what is to be said of that, is chance; runnersMB is of merged runs only.
    const places = (summary: Summary) =>
      new Set(
        placesIn(summary).filter(
          (at) =>
            !/^\.(notes|levels\[\]\.slices\[\]\.runnersMB|validity\.(hostLevels|notes|reasons)|verdict\.reasons)\b/.test(
              at,
            ),
        ),
      );
    assert.deepEqual([...places(all.summary)].sort(), [...places(one.summary)].sort(), scenario);
    assert.deepEqual(all.summary.schedule, one.summary.schedule);
    for (const { name, itlMs, itlHistograms = {} } of all.summary.levels) {
      const pooled = countsOf(itlHistograms.steady ?? "").reduce((sum, count) => sum + count, 0n);
      assert.equal(Number(pooled), itlMs.count, `${scenario} ${name}`);
    }
  }
});

test("bursts of three instances are released together, each with its own rows of the file", async (t) => {
  const DATASET = path.join(scratchDir(), "rows.jsonl");
  const rows = Array.from({ length: 40 }, (_, k) => JSON.stringify({ prompt: "word ".repeat(k + 3).trim() }));
  writeFileSync(DATASET, `${rows.join("\n")}\n`);
  const settings = { BASE_URL: server.baseUrl, DATASET, BATCH_SIZES: "2,7", RUNS: 2, OUTPUT_TOKENS: 4, CACHE: "warm" };
  const one = await run("batch-burst", settings);
  await withAttempts(t, async () => {
    const all = await together(t, "batch-burst", 3, settings);
    assert.deepEqual(sent(all.requests), sent(one.requests));
    for (const { name, releaseSpreadMs } of all.summary.levels) {
      assert.ok(releaseSpreadMs < 100, `${name} was released over ${releaseSpreadMs} ms`);
    }
  });
});

test("the coordinator merges and judges: the exit code is that of the whole, and nothing that it says is the token", async () => {
  const settings = { BASE_URL: server.baseUrl, CONCURRENCY: 2, REQUESTS: 4, OUTPUT_TOKENS: 4, SLO_TTFT: 1 };
  const { judged, coordinator, runners } = await runTogether("concurrency-sweep", 2, settings);
  for (const { code } of runners) assert.equal(code, 0, "what a part measured is not judged by itself");
  if (summaryIn(coordinator.dir).verdict.validity === "CLIENT-BOUND") assert.equal(judged.code, 98);
  else assert.equal(judged.code, 99, judged.stdout + judged.stderr);
  assert.match(judged.stdout, /FAIL llm_ttft\{level:c2\} p\(95\) [\d.]+ ms, limit < 1 ms/);
  for (const file of ["summary.json", "config.json", "records.ndjson.gz", "report.html", "merge.junit.xml"]) {
    assert.ok(existsSync(path.join(coordinator.dir, file)), file);
  }
  assert.match(readFileSync(path.join(coordinator.dir, "merge.junit.xml"), "utf8"), /failures="[1-9]/);
  const said = [judged, ...runners].map(({ stdout, stderr }) => stdout + stderr).join("");
  const written = partsOf(coordinator.dir, 2).map((dir) => readFileSync(path.join(dir, "records.ndjson"), "utf8"));
  assert.ok(![said, ...written].some((text) => text.includes(token)));
});

test("what is not one whole run is refused by name", async () => {
  assert.equal(twoParts.length, 2, "the parts of the sweep above");
  const [first = "", second = ""] = twoParts;
  const refused = async (dirs: readonly string[], line: RegExp, n = 2) => {
    const { code, said, dir } = await merged(dirs, n);
    assert.equal(code, 98, said);
    assert.match(said, line);
    assert.match(readFileSync(path.join(dir, "merge.junit.xml"), "utf8"), /<error type="not valid"/);
    assert.ok(!existsSync(path.join(dir, "summary.json")));
  };
  const changed = (change: (text: string) => string) => {
    const dir = scratchDir();
    writeFileSync(path.join(dir, "records.ndjson"), change(readFileSync(path.join(second, "records.ndjson"), "utf8")));
    return dir;
  };
  await refused([first], /FAIL runner 2 of 2 is missing/);
  await refused([first, second], /runner 1 of 2 .* belongs to a run of 2 parts, not of 3/, 3);
  await refused([first, first], /runner 1 of 2 .* is the same part as/);
  await refused(
    [first, changed((text) => text.replace(/"build":"\w+"/g, '"build":"0"'))],
    /runner 2 \(.*\) is another build than runner 1/,
  );
  await refused(
    [first, changed((text) => text.replace(/"offsetNs":-?\d+/g, '"offsetNs":-5000000000'))],
    /runner 2 of 2 .* its clock was 5000 ms off the coordinator's, limit 1000 ms/,
  );
  await refused(
    [first, changed((text) => text.replace(/"zeroUnixNs":(\d+)/g, (_, ns) => `"zeroUnixNs":${Number(ns) + 6e10}`))],
    /level c2: the runners' windows do not overlap/,
  );
  await refused(
    [first, changed((text) => text.replace('"REQUESTS":12', '"REQUESTS":13'))],
    /runner 2 .* had another workload: REQUESTS=13, runner 1 12/,
  );
  await refused(
    [first, changed((text) => `${text.split("\n").slice(0, -3).join("\n")}\n{"type":"requ`)],
    /runner 2 of 2 .* the records have no end line: the run was killed/,
  );
});

test("another build, another setting and another token are refused before any load", async () => {
  const other = path.join(scratchDir(), "k6");
  copyFileSync(k6Binary(), other);
  chmodSync(other, 0o755);
  appendFileSync(other, "another build");
  const settings = { BASE_URL: server.baseUrl, CONCURRENCY: 2, REQUESTS: 4, OUTPUT_TOKENS: 4 };
  await server.reset();
  const coordinator = await startCoordinator(2, { args: ["--judge", "none"] });
  const own = { ...settings, COORDINATOR: coordinator.address, COORDINATOR_TOKEN: token };
  const stranger = await startRunner("concurrency-sweep", 1, 2, { ...own, COORDINATOR_TOKEN: "x".repeat(32) });
  const strange = await stranger.child.ended;
  assert.equal(strange.code, 104, strange.stderr);
  assert.match(strange.stderr, /has neither the key that belongs to the token/);
  const runners = [
    await startRunner("concurrency-sweep", 1, 2, own),
    await startRunner("concurrency-sweep", 2, 2, own, { k6: other }),
  ];
  for (const runner of runners) assert.ok(await runner.ready());
  for (const runner of runners) await runner.release();
  const { code, stdout, stderr } = await coordinator.child.ended;
  assert.equal(code, 98, stdout + stderr);
  assert.match(stderr, /runner \d of 2 is another build of k6 than runner \d of 2/);
  for (const { child } of runners) assert.notEqual((await child.ended).code, 0);
  assert.equal((await server.truth()).requestCount, 0);
});

test("a killed runner ends the run for all, and what it had sent is kept; so is what a killed coordinator had", async () => {
  const settings = { BASE_URL: server.baseUrl, CONCURRENCY: 4, DURATION: "30s", OUTPUT_TOKENS: 20, WARMUP: 0 };
  const requestsIn = (dir: string) =>
    readRecords(path.join(dir, "records.ndjson")).filter(({ type }) => type === "request").length;
  const until = async (holds: () => boolean) => {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  const killing = async (kill: (ended: Pick<Together, "coordinator">, runners: { kill(): void }[]) => void) => {
    const coordinator = await startCoordinator(2, { args: ["--judge", "none", "--lost-after", "1s"] });
    const own = { ...settings, COORDINATOR: coordinator.address, COORDINATOR_TOKEN: token };
    const runners = [
      await startRunner("concurrency-sweep", 1, 2, own),
      await startRunner("concurrency-sweep", 2, 2, own),
    ];
    for (const runner of runners) await runner.ready();
    for (const runner of runners) await runner.release();
    const dirs = partsOf(coordinator.dir, 2);
    await until(() => dirs.every((dir) => requestsIn(dir) > 3));
    const had = dirs.map(requestsIn);
    kill(
      { coordinator },
      runners.map(({ child }) => ({ kill: () => child.kill("SIGKILL") })),
    );
    const ends = await Promise.all(runners.map(({ child }) => child.ended));
    const judged = await coordinator.child.ended;
    for (const [k, dir] of dirs.entries())
      assert.ok(requestsIn(dir) >= (had[k] ?? 0), "nothing that had arrived is lost");
    return { dirs, ends, judged, had };
  };

  const lost = await killing((_, runners) => runners[1]?.kill());
  assert.equal(lost.judged.code, 98, lost.judged.stderr);
  assert.match(lost.judged.stderr, /runner 2 of 2 is lost: nothing was heard of it for 1s/);
  assert.equal(lost.ends[0]?.code, 95);
  assert.match(lost.ends[0]?.stderr ?? "", /the run ends for all runners: runner 2 of 2 is lost/);
  const refused = await merged(lost.dirs, 2);
  assert.equal(refused.code, 98);
  assert.match(refused.said, /runner 2 of 2 .* the records have no end line/);

  const alone = await killing(({ coordinator }) => coordinator.child.kill("SIGKILL"));
  for (const { code, stderr } of alone.ends) {
    assert.equal(code, 95, stderr);
    assert.match(stderr, /the coordinator does not take this runner's records/);
  }
});

test("an open load ends soon after its coordinator was killed, and every request that the server had is in the records", async () => {
  const [rate, loadS] = [40, 45];
  const load = { RATE: rate, DURATION: `${loadS}s`, WARMUP: 0, OUTPUT_TOKENS: 4, MAX_IN_FLIGHT: 40 };
  // Runners lose a coordinator whose port is closed before this.
  const coordinator = await startCoordinator(2, { args: ["--judge", "none", "--lost-after", "40s"] });
  const own = { ...load, BASE_URL: server.baseUrl, COORDINATOR: coordinator.address, COORDINATOR_TOKEN: token };
  await server.reset();
  const runners = [
    await startRunner("arrival-rate-ramp", 1, 2, own),
    await startRunner("arrival-rate-ramp", 2, 2, own),
  ];
  for (const runner of runners) await runner.ready();
  for (const runner of runners) await runner.release();
  const files = partsOf(coordinator.dir, 2).map((dir) => path.join(dir, "records.ndjson"));
  while (!files.every((file) => requestsIn(readRecords(file)).length > 5)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  coordinator.child.kill("SIGKILL");
  const killedMs = performance.now();
  const ends = await Promise.all(runners.map(({ child }) => child.ended));
  const tookMs = performance.now() - killedMs;
  // After 3 s of refused connections; the rest is this machine's.
  assert.ok(tookMs < 20_000, `the runners went on for ${tookMs.toFixed(0)} ms`);
  const ids: string[] = [];
  for (const [k, { code, stderr }] of ends.entries()) {
    assert.equal(code, 95, stderr);
    const [, restFile = "", at = ""] =
      /they are in (\S+) and follow the first (\d+) bytes of the coordinator's part-\d/.exec(stderr) ?? [];
    const whole = Buffer.concat([readFileSync(files[k] ?? "").subarray(0, Number(at)), readFileSync(restFile)]);
    const joined = path.join(scratchDir(), "records.ndjson");
    writeFileSync(joined, whole);
    const lines = readRecords(joined);
    assert.equal(lines.length, whole.toString().trim().split("\n").length, "every line is whole");
    assert.equal(lines.at(-1)?.type, "end");
    ids.push(...requestsIn(lines).map(({ id = "" }) => id));
  }
  const truth = await server.truth();
  assert.ok(truth.requestCount < (rate * loadS) / 2, `${truth.requestCount} requests were served`);
  const kept = new Set(ids);
  assert.deepEqual(
    truth.requests.map(({ id }) => id).filter((id) => !kept.has(id)),
    [],
  );
  assert.equal(ids.length, kept.size);
});

test("the operator's initializer takes the manifests: k6 archive with the runners' arguments, and no line of an error", async () => {
  const dir = scratchDir();
  for (const scenario of ["concurrency-sweep", "batch-burst"]) {
    const [testRun] = manifestsOf(deploymentOf([scenario, "-n", "3", "--secret-setting", "BASE_URL=llm:url"]));
    assert.ok(testRun);
    const { args, initializer } = testRun.spec as unknown as { args: string[]; initializer: { env: Variable[] } };
    const env = Object.fromEntries(initializer.env.map(({ name, value }) => [name, value ?? "http://vllm:8000/v1"]));
    assert.ok(!("TOKENCLOCK_COORDINATOR_TOKEN" in env), "it meets nobody");
    const archive = path.join(dir, `${scenario}.archived.tar`);
    const inCluster = { cwd: dir, env: { ...env, PATH: "/nonexistent", HOME: dir }, timeoutMs: 60_000 };
    const script = path.join(distDir, `${scenario}.js`);
    // As k6-operator 1.6 has it: what its initializer prints must not match level.*error, or the TestRun ends in "error".
    const made = await startChild(k6Binary(), ["archive", script, "-O", archive, ...args], inCluster).ended;
    const seen = await startChild(k6Binary(), ["inspect", "--execution-requirements", archive], inCluster).ended;
    for (const { code, stdout, stderr } of [made, seen]) {
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stdout + stderr, /level.*error/);
    }
    // It refuses fewer VUs than runners.
    assert.ok(JSON.parse(seen.stdout.slice(seen.stdout.indexOf("{"))).maxVUs >= 3, seen.stdout);
  }
});

test("instances without a coordinator, or of another number than RUNNERS, are refused", async () => {
  const settings = { BASE_URL: server.baseUrl, CONCURRENCY: 2, REQUESTS: 4, OUTPUT_TOKENS: 4 };
  const args = ["--execution-segment", "0:1/2", "--execution-segment-sequence", "0,1/2,1"];
  const cases: [RunSettings, RegExp][] = [
    [{ ...settings, RUNNERS: 2 }, /RUNNERS=2 without COORDINATOR: the instances cannot begin a level together/],
    [settings, /RUNNERS=1, but k6's execution segments make 2 instances/],
  ];
  for (const [given, line] of cases) {
    const ended = await run("concurrency-sweep", given, { args });
    assert.equal(ended.code, 104, ended.stderr);
    assert.match(ended.stderr, line);
    assert.equal(ended.requests.length, 0);
  }
});
