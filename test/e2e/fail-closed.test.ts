/**
 * A gate that cannot be fooled: what is unset, misspelt, cut, unmeasured or not written never ends with 0. Every row is a command as
 * somebody typed it, with the code and the message that it must end with.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { runCommand } from "../../build/command";
import { builtK6, distDir, root } from "../../build/paths";
import type { Summary } from "../../lib/figures/level-summary";
import { switches, valued } from "../../run/k6-options";
import { k6Environment } from "../../run/simulator";
import { type ChildEnd, startChild } from "../support/child";
import { k6Binary, readRecords } from "../support/run";
import { scratchDir } from "../support/scratch";
import { type SimulatedServer, startServer } from "../support/simulated";

let server: SimulatedServer;

/** A test with a server of its own. */
function served(name: string, timeout: number, run: (t: TestContext) => Promise<void>): void {
  test(name, { timeout }, async (t) => {
    server = await startServer("--ttft", "5ms", "--itl", "1ms");
    t.after(server.stop);
    await run(t);
  });
}

/** Waits until `holds`, as long as the child is there. */
async function until(child: { ended: Promise<unknown> }, holds: () => boolean): Promise<void> {
  let over = false;
  const end = () => {
    over = true;
  };
  child.ended.then(end, end);
  while (!holds() && !over) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Enough of a load for a verdict. */
const small = ["CONCURRENCY=1", "REQUESTS=3", "WARMUP=0", "OUTPUT_TOKENS=4"];
/** The same where the machine's own slowness must not count. */
const ungated = [...small, "THRESHOLDS=none"];
const flags = (...pairs: string[]) => pairs.flatMap((pair) => ["-e", pair]);
const named = () => `BASE_URL=${server.baseUrl}`;

/** Nothing of what a test's own run was started with may look like a setting. */
function cleanEnvironment(more: Record<string, string> = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(TOKENCLOCK_|BASE_URL$|API_KEY$)/.test(name));
  return { ...Object.fromEntries(own), ...more };
}

/** `npm start` with these words, in a folder of the user's. */
function npmStart(words: readonly string[], env: Record<string, string> = {}, cwd = root): Promise<ChildEnd> {
  const prefix = cwd === root ? [] : ["--prefix", root];
  const options = { cwd, env: cleanEnvironment(env), timeoutMs: 100_000 };
  return startChild("npm", [...prefix, "start", ...words], options).ended;
}

/** `bin/k6 run` of a bundle with these options, in a folder of the user's. */
function k6Run(
  scenario: string,
  args: readonly string[],
  { env = {}, cwd = scratchDir() }: { env?: Record<string, string>; cwd?: string } = {},
): Promise<ChildEnd> {
  const bundle = path.join(distDir, `${scenario}.js`);
  const options = { cwd, env: k6Environment(cleanEnvironment(env)), timeoutMs: 60_000 };
  return startChild(k6Binary(), ["run", "--quiet", "--no-color", bundle, ...args], options).ended;
}

function endsWith({ code, stdout, stderr }: ChildEnd, expected: number, message: RegExp): void {
  assert.equal(code, expected, stdout + stderr);
  assert.match(stdout + stderr, message);
}

const summaryIn = (dir: string) => JSON.parse(readFileSync(path.join(dir, "summary.json"), "utf8")) as Summary;

interface Typed {
  words: () => string[];
  env?: () => Record<string, string>;
  message: RegExp;
}

const npmRows: Typed[] = [
  {
    words: () => ["concurrency-sweep", "-e", named()],
    message: /npm took -e BASE_URL=\.\.\. for itself; write -- before/,
  },
  { words: () => ["-e", "SLO_TTFT=1"], message: /npm took -e SLO_TTFT=\.\.\. for itself/ },
  { words: () => ["-e", named(), "-e", "REQUESTS=3"], message: /npm took -e BASE_URL=\.\.\. and -e REQUESTS=\.\.\./ },
  { words: () => ["--env", named()], message: /npm took -e BASE_URL=\.\.\./ },
  { words: () => ["concurrency-sweep"], message: /no server is named: set BASE_URL, or SIMULATE=true/ },
  { words: () => ["--", "-e", "SLO_TTFT=1"], message: /no server is named/ },
  { words: () => ["--", "--quiet"], message: /no server is named/ },
  { words: () => ["--", "--bogus"], message: /--bogus is no option of k6 run/ },
  { words: () => [], env: () => ({ TOKENCLOCK_REQUESTS: "3" }), message: /no server is named/ },
  { words: () => [], env: () => ({ API_KEY: "sk-1" }), message: /no server is named/ },
  {
    words: () => ["--", "-e", "BASE_URL="],
    message: /-e BASE_URL= is empty: is the variable that it comes from unset\?/,
  },
  { words: () => [], env: () => ({ BASE_URL: "" }), message: /BASE_URL= is empty/ },
  {
    words: () => ["--", "-e", named().toLowerCase()],
    message: /-e base_url is not a setting; did you mean BASE_URL\?/,
  },
  { words: () => ["--", ...flags(named(), "SLO_TFTT=1")], message: /-e SLO_TFTT is not .*did you mean SLO_TTFT\?/ },
  {
    words: () => ["--", "-e", named()],
    env: () => ({ TOKENCLOCK_CONCURENCY: "4" }),
    message: /TOKENCLOCK_CONCURENCY is not a setting; did you mean CONCURRENCY\?/,
  },
  { words: () => ["--", ...flags(named(), "SIMULATE=true")], message: /SIMULATE=true and BASE_URL both say/ },
  { words: () => ["--", named()], message: /BASE_URL=\.\.\. stands alone/ },
  { words: () => ["concurency-sweep", "--", "-e", named()], message: /there is no scenario concurency-sweep/ },
  { words: () => ["--", ...flags(named(), "RATE=3")], message: /concurrency-sweep does not use RATE/ },
];
served("npm start: nothing of this is loaded, and all of it ends with 104", 240_000, async (t) => {
  for (const { words, env, message } of npmRows) {
    const typed = words();
    await t.test(`npm start ${typed.join(" ").replace(/127\S+/, "...")} ${JSON.stringify(env?.() ?? {})}`, async () => {
      endsWith(await npmStart(typed, env?.()), 104, message);
    });
  }
  assert.equal((await server.truth()).requestCount, 0);
});

test("npm start knows every option of k6 run, and whether a value follows it", async () => {
  const { stdout } = await runCommand(builtK6, ["run", "--help"]);
  const lines = [...stdout.matchAll(/^ +(?:(-\w), |)(--[\w-]+) ( ?)(\S*)/gm)];
  assert.ok(lines.length > 40, stdout);
  const found: { switches: string[]; valued: string[] } = { switches: [], valued: [] };
  // What stands behind one blank is the name of a value; an optional one never is the next word.
  for (const [, short, long = "", blank, type = ""] of lines)
    found[blank === "" && !type.includes("[=") ? "valued" : "switches"].push(long, ...(short ? [short] : []));
  assert.deepEqual(found.switches.sort(), [...switches].sort());
  assert.deepEqual(found.valued.sort(), [...valued].sort());
});

served("npm start: results are below the user's own folder, and so are the files that they name", 120_000, async () => {
  const cwd = scratchDir();
  writeFileSync(path.join(cwd, "mine.jsonl"), '{"prompt": "hello there"}\n');
  const words = ["--", ...flags("SIMULATE=true", ...ungated, "DATASET=mine.jsonl")];
  // What a CI image's variables of these names mean, nobody here knows.
  const { code, stdout, stderr } = await npmStart(words, { TIMEOUT: "300", TRACE: "1", REQUESTS: "x" }, cwd);
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /SIMULATE=true: the simulated server answers at/);
  const [, dir = ""] = /^tokenclock: results are in (results\/\S+)$/m.exec(stdout) ?? [];
  const { config, digests, ended } = summaryIn(path.join(cwd, dir));
  assert.deepEqual([config.SIMULATE, ended, "RATE" in config], [true, "complete", false]);
  assert.match(digests?.DATASET ?? "", /^[0-9a-f]{64}$/);
  assert.ok(existsSync(path.join(cwd, dir, "report.html")));
});

const k6Rows: {
  scenario?: string;
  options: () => string[];
  env?: Record<string, string>;
  code: number;
  message: RegExp;
}[] = [
  { options: () => [], code: 104, message: /BASE_URL is not set: name the server/ },
  { options: () => ["SIMULATE=true"], code: 104, message: /only `npm start` starts the simulated server/ },
  { options: () => ["BASE_URL="], code: 104, message: /-e BASE_URL= is empty/ },
  {
    options: () => [named(), "SLO_TFTT=1"],
    code: 104,
    message: /-e SLO_TFTT is not a setting; did you mean SLO_TTFT\?/,
  },
  { options: () => [named(), "SLO_TTFT="], code: 104, message: /-e SLO_TTFT= is empty/ },
  { options: () => [named(), "RATE=3"], code: 104, message: /concurrency-sweep does not use RATE/ },
  { options: () => [named(), "DATASET=nope.jsonl"], code: 104, message: /DATASET=nope\.jsonl cannot be read/ },
  { options: () => [named(), "THRESHOLDS=nope.json"], code: 104, message: /THRESHOLDS=nope\.json cannot be used/ },
  {
    scenario: "arrival-rate-ramp",
    options: () => [named(), "TRACE=nope.jsonl"],
    code: 104,
    message: /TRACE=nope\.jsonl cannot be read/,
  },
  {
    options: () => [named(), ...ungated],
    env: { TIMEOUT: "300", TRACE: "1", CONCURENCY: "4" },
    code: 0,
    message: /^c1 +3 /m,
  },
  {
    options: () => [named(), ...small, "TIMEOUT=300"],
    env: { TIMEOUT: "300" },
    code: 104,
    message: /TIMEOUT=300 is not a duration/,
  },
  { options: () => ["BASE_URL=http://127.0.0.1:1/v1"], code: 108, message: /cannot be reached/ },
];
for (const { scenario = "concurrency-sweep", options, env, code, message } of k6Rows) {
  served(`bin/k6 run: ${message.source}`, 60_000, async () => {
    endsWith(await k6Run(scenario, flags(...options()), { env }), code, message);
  });
}

served("what k6 is told not to judge does not pass", 60_000, async () => {
  for (const [args, message] of [
    [["--no-thresholds"], /^FAIL \d+ thresholds were not judged: run without --no-thresholds$/m],
    [["--summary-mode", "disabled"], /nobody judged this run/],
  ] as const) {
    endsWith(await k6Run("concurrency-sweep", [...flags(named(), ...small), ...args]), 98, message);
  }
});

served(
  "an archive's options are options, and an archive with a whole environment is none to read them from",
  60_000,
  async () => {
    const cwd = scratchDir();
    const bundle = path.join(distDir, "concurrency-sweep.js");
    const archive = (...args: string[]) => {
      const env = k6Environment(cleanEnvironment({ TRACE: "1" }));
      const made = spawnSync(k6Binary(), ["archive", bundle, ...flags(named(), ...ungated), ...args], { cwd, env });
      assert.equal(made.status, 0, String(made.stderr));
    };
    const runIt = () => {
      const options = {
        cwd,
        env: k6Environment(cleanEnvironment({ REQUESTS: "x", CONCURRENCY: "8" })),
        timeoutMs: 60_000,
      };
      return startChild(k6Binary(), ["run", "--quiet", "--no-color", "archive.tar"], options).ended;
    };
    archive();
    endsWith(await runIt(), 0, /^c1 +3 /m);
    archive("--include-system-env-vars");
    endsWith(await runIt(), 104, /this archive holds the environment of the machine that made it/);
  },
);

served("a refused run leaves nothing that a gate could pass", 180_000, async () => {
  const dir = path.join(scratchDir(), "out");
  const gate = () =>
    spawnSync(process.execPath, [path.join(root, "build", "bootstrap.cjs"), "report/cli/gate.ts", dir], { cwd: root });
  const first = await npmStart(["--", ...flags(named(), ...small, `RESULTS=${dir}`)]);
  assert.ok([0, 98].includes(first.code ?? -1), first.stdout);
  assert.ok(existsSync(path.join(dir, "summary.json")) && existsSync(path.join(dir, "tables")));

  endsWith(await npmStart(["--", ...flags(named(), `RESULTS=${dir}`, "SLO_TFTT=1")]), 104, /did you mean SLO_TTFT/);
  const left = readdirSync(dir);
  assert.ok(left.length === 1 && left[0]?.startsWith("previous-"), String(left));
  assert.ok(existsSync(path.join(dir, left[0] ?? "", "summary.json")), "they are kept");
  assert.notEqual(gate().status, 0);

  // The same where npm takes even RESULTS for itself, and with k6 alone, whose records have a name of their own.
  for (const again of [
    () => npmStart(["concurrency-sweep", ...flags(named(), `RESULTS=${dir}`)]),
    () =>
      k6Run("concurrency-sweep", [...flags(named(), `RESULTS=${dir}`, "RATE=3"), "--out", `records=${dir}/r.ndjson`]),
  ]) {
    writeFileSync(path.join(dir, "summary.json"), '{"schema": 1, "scenario": "s"}');
    writeFileSync(path.join(dir, "records.ndjson.gz"), "old");
    writeFileSync(path.join(dir, "r.ndjson"), "old");
    assert.equal((await again()).code, 104);
    assert.deepEqual(
      readdirSync(dir).filter((name) => /^(summary|records)/.test(name)),
      [],
    );
    assert.notEqual(gate().status, 0);
  }
  assert.ok(!existsSync(path.join(dir, "r.ndjson")));
});

served("plain k6 writes nothing but what it is told to, and no file of another program", 60_000, async () => {
  const cwd = scratchDir();
  const own = { "config.json": '{"port": 8080}', "summary.json": "mine", "records.ndjson": "mine" };
  for (const [name, text] of Object.entries(own)) writeFileSync(path.join(cwd, name), text);
  endsWith(await k6Run("concurrency-sweep", flags(named(), ...ungated), { cwd }), 0, /^c1 +3 /m);
  endsWith(await k6Run("concurrency-sweep", flags(named(), ...ungated, "RESULTS=."), { cwd }), 104, /is not a result/);
  assert.deepEqual(readdirSync(cwd).sort(), Object.keys(own).sort());
  for (const [name, text] of Object.entries(own)) assert.equal(readFileSync(path.join(cwd, name), "utf8"), text, name);

  const toRecords = [...flags(named(), ...ungated), "--out", "records=records.ndjson"];
  endsWith(await k6Run("concurrency-sweep", toRecords, { cwd }), 0, /^c1 +3 /m);
  const [previous = ""] = readdirSync(cwd).filter((name) => name.startsWith("previous-"));
  assert.equal(readFileSync(path.join(cwd, previous, "records.ndjson"), "utf8"), "mine");
  assert.equal(readRecords(path.join(cwd, "records.ndjson")).at(-1)?.type, "end");
});

/** A file system of so many kB in a folder of the test; undefined where none can be mounted. */
function tinyDisk(t: TestContext, kB: number): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    t.skip("needs root on Linux to mount a small file system");
    return undefined;
  }
  const dir = scratchDir();
  if (spawnSync("mount", ["-t", "tmpfs", "-o", `size=${kB}k`, "tmpfs", dir]).status !== 0) {
    t.skip("no file system can be mounted here");
    return undefined;
  }
  t.after(() => {
    execFileSync("umount", [dir]);
  });
  return dir;
}

for (const kB of [8, 16, 32]) {
  served(`on a disk of ${kB} kB that fills up no run passes`, 120_000, async (t) => {
    const dir = tinyDisk(t, kB);
    if (dir === undefined) return;
    // Records of a few hundred kB.
    const load = ["CONCURRENCY=16", "REQUESTS=400", "OUTPUT_TOKENS=32", "THRESHOLDS=none"];
    for (const start of [
      () => npmStart(["--", ...flags(named(), ...load, `RESULTS=${dir}`)]),
      () =>
        k6Run("concurrency-sweep", [
          ...flags(named(), ...load, `RESULTS=${dir}`),
          "--out",
          `records=${dir}/records.ndjson`,
        ]),
    ]) {
      for (const name of readdirSync(dir)) rmSync(path.join(dir, name), { recursive: true });
      const ended = await start();
      endsWith(ended, 98, /^FAIL results were not written whole: .*no space left on device/m);
      assert.doesNotMatch(ended.stderr, /no space left on device\\nwrite/, "once is enough");
      const file = path.join(dir, "summary.json");
      if (existsSync(file)) assert.equal(summaryIn(dir).verdict.pass, false, "whole, and no pass");
      assert.doesNotMatch(ended.stdout, /^PASS/m);
    }
  });
}

served(
  "a disk that fills up after the load: report and verdict name the file, the reason and RESULTS",
  60_000,
  async (t) => {
    const disk = tinyDisk(t, 96);
    if (disk === undefined) return;
    const dir = path.join(disk, "out");
    const ended = await npmStart(["--", ...flags(named(), ...small, `RESULTS=${dir}`)]);
    endsWith(ended, 98, /results are in/);
    const why = (file: string) =>
      `${path.join(dir, file)} cannot be written \\(ENOSPC: [^)]*\\); make room there, or name another`;
    assert.match(
      ended.stderr,
      new RegExp(`^tokenclock: the report could not be rendered: ${why("report.html")} folder with RESULTS$`, "m"),
    );
    assert.doesNotMatch(ended.stderr, /--output|^ +at /m, "no option of another command, no stack");
    assert.equal(existsSync(path.join(dir, "report.html")), false, "half a page is none");

    // Its folder has what the run measured: the report is made elsewhere.
    const report = (to: string) =>
      runCommand(process.execPath, [
        path.join(root, "build", "bootstrap.cjs"),
        path.join(root, "report", "cli", "report.ts"),
        ...[dir, "--output", to],
      ]);
    const again = await report(path.join(disk, "elsewhere"));
    assert.equal(again.code, 104);
    assert.match(
      again.stderr,
      /^report: \S+elsewhere\/report.html cannot be written \(ENOSPC: [^)]*\); make room there, or name another folder with --output$/m,
    );
    assert.equal((await report(scratchDir())).code, 0);
  },
);

served("a report that cannot be written fails the run", 60_000, async () => {
  const dir = path.join(scratchDir(), "out");
  // A folder in its place, which is moved aside with the other results, stands there again once the run has begun.
  const ended = npmStart(["--", ...flags(named(), ...small, "REQUESTS=40", `RESULTS=${dir}`)]);
  await until({ ended }, () => existsSync(path.join(dir, "records.ndjson.gz")));
  mkdirSync(path.join(dir, "report.html"), { recursive: true });
  endsWith(await ended, 98, /the report could not be rendered/);
});

/** Two rows, of which MAX_DURATION lets the first be sent. */
function shortTrace(): string {
  const file = path.join(scratchDir(), "trace.jsonl");
  const row = (timestamp: number) => JSON.stringify({ timestamp, input_length: 16, output_length: 4, hash_ids: [] });
  writeFileSync(file, `${row(0)}\n${row(20_000)}\n`);
  return file;
}

const cuts: [why: string, scenario: string, options: () => string[], missing: RegExp][] = [
  ["a trace", "arrival-rate-ramp", () => [`TRACE=${shortTrace()}`], /1 of the schedule's 2 requests were sent/],
  [
    "an open load",
    "arrival-rate-ramp",
    () => ["RATE=2", "DURATION=30s", "OUTPUT_TOKENS=4"],
    /\d of the schedule's 60 requests were sent/,
  ],
  ["a closed load", "concurrency-sweep", () => ["CONCURRENCY=1,2", "REQUESTS=100000"], /level c1 began \d+ of 100000/],
  ["bursts", "batch-burst", () => ["BATCH_SIZES=1", "RUNS=100"], /level b1-\d+ was not over/],
];
for (const [why, scenario, options, missing] of cuts) {
  served(`${why} that MAX_DURATION cuts does not pass`, 60_000, async () => {
    for (const gate of ["smoke", "none"]) {
      const dir = scratchDir();
      const settings = flags(named(), ...options(), "MAX_DURATION=1s", `THRESHOLDS=${gate}`, `RESULTS=${dir}`);
      const ended = await k6Run(scenario, [...settings, "--out", `records=${dir}/records.ndjson`]);
      endsWith(ended, 98, new RegExp(`^FAIL the run was cut short: ${missing.source}`, "m"));
      const { verdict, ended: how, unsent = "" } = summaryIn(dir);
      assert.deepEqual([verdict.pass, how], [false, "cut"]);
      assert.match(unsent, missing);
      const last = readRecords(path.join(dir, "records.ndjson")).at(-1);
      assert.ok(last?.type === "end" && last.ended === "cut" && missing.test(last.unsent ?? ""));
    }
  });
}

served("an interrupted run does not pass, whichever signal it was", 60_000, async () => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    const dir = scratchDir();
    const records = path.join(dir, "records.ndjson");
    const child = startChild(
      k6Binary(),
      [
        ...["run", "--quiet", path.join(distDir, "arrival-rate-ramp.js"), "--out", `records=${records}`],
        ...flags(named(), `TRACE=${shortTrace()}`, `RESULTS=${dir}`),
      ],
      { cwd: dir, env: k6Environment(cleanEnvironment()), timeoutMs: 30_000 },
    );
    await until(child, () => readRecords(records).some(({ type }) => type === "request"));
    child.kill(signal);
    const ended = await child.ended;
    endsWith(ended, 105, /^FAIL the run was interrupted: 1 of the schedule's 2 requests were sent$/m);
    assert.deepEqual([summaryIn(dir).verdict.pass, summaryIn(dir).ended], [false, "interrupted"]);
    const last = readRecords(records).at(-1);
    assert.ok(last?.type === "end" && last.ended === "interrupted");
  }
});

served("a level without a completed request is not measured, with or without a gate", 60_000, async (t) => {
  const broken = await startServer("--fault", "status=500,share=1");
  t.after(broken.stop);
  const load = flags(`BASE_URL=${broken.baseUrl}`, ...small);
  endsWith(await k6Run("concurrency-sweep", [...load, "-e", "THRESHOLDS=none"]), 98, /no request/);
  endsWith(await k6Run("concurrency-sweep", load), 99, /llm_request_failed\{level:c1\} rate 1/);
});

served("too few requests for a verdict are no pass and no failure of the server", 60_000, async () => {
  const file = path.join(scratchDir(), "own.json");
  writeFileSync(file, '{"minRequests": 20, "llm_ttft": "p(99)<10000"}');
  const ended = await k6Run("concurrency-sweep", flags(named(), ...small, `THRESHOLDS=${file}`));
  // A busy machine makes it invalid first.
  assert.ok([96, 98].includes(ended.code ?? -1), ended.stdout);
  assert.match(ended.stdout, /^FAIL llm_requests\{level:c1\} count 3 requests, limit >= 20/m);
  assert.match(
    ended.stderr,
    /REQUESTS=3, level c1 has 3 requests: too few for `npm run gate` .* p\(99\)<\d+ needs 459/,
  );
});

served("a profile is kept whole, and every limit with its margin", 60_000, async () => {
  const dir = scratchDir();
  const file = path.join(scratchDir(), "own.json");
  writeFileSync(file, '{"minRequests": 2, "llm_ttft": ["p(95)<10000", "avg<0.001"]}');
  const ended = await k6Run("concurrency-sweep", flags(named(), ...small, `THRESHOLDS=${file}`, `RESULTS=${dir}`));
  rmSync(file);
  assert.ok([98, 99].includes(ended.code ?? -1), ended.stdout);
  const { profile, thresholds = [], levels } = summaryIn(dir);
  assert.deepEqual(profile?.limits, { llm_ttft: ["p(95)<10000", "avg<0.001"] });
  assert.deepEqual(JSON.parse(readFileSync(path.join(dir, "config.json"), "utf8")).profile, profile);
  const of = (expression: string) => thresholds.find((limit) => limit.expression === expression);
  const value = levels[0]?.ttftMs.p95 ?? 0;
  const kept = of("p(95)<10000");
  assert.deepEqual([kept?.metric, kept?.level, kept?.result], ["llm_ttft", "c1", "passed"]);
  assert.ok(Math.abs((kept?.value ?? 0) - value) < 1e-6 && Math.abs((kept?.margin ?? 0) - (10_000 - value)) < 1e-6);
  assert.equal(of("avg<0.001")?.result, "violated");
  assert.ok((of("avg<0.001")?.margin ?? 0) < 0);
});

/** What must never end with 0, whatever else is asked for. */
const faults: readonly (() => { options?: string[]; args?: string[] })[] = [
  () => ({ options: ["BASE_URL="] }),
  () => ({ options: ["REQUEST=3"] }),
  () => ({ options: ["SLO_TFTT=100"] }),
  () => ({ options: ["RATE=3"] }),
  () => ({ options: ["SEED="] }),
  () => ({ options: ["DATASET=nope.jsonl"] }),
  () => ({ options: ["THRESHOLDS=nope.json"] }),
  () => ({ options: ["REQUESTS=100000", "MAX_DURATION=300ms"] }),
  () => ({ options: ["TIMEOUT=1ms"] }),
  () => ({ args: ["--no-thresholds"] }),
  () => ({ args: ["--summary-mode=disabled"] }),
];
served("with any of the faults and any gate, alone or together, no run ends with 0", 120_000, async () => {
  const asked = fc.record({
    faults: fc.subarray([...faults], { minLength: 1, maxLength: 3 }),
    gate: fc.constantFrom("smoke", "interactive", "none"),
    levels: fc.constantFrom("1", "1,2"),
  });
  for (const { faults: some, gate, levels } of fc.sample(asked, { seed: 7, numRuns: 25 })) {
    const parts = some.map((fault) => fault());
    const options = [named(), ...small, `CONCURRENCY=${levels}`, `THRESHOLDS=${gate}`];
    const flagged = flags(...options, ...parts.flatMap((part) => part.options ?? []));
    // There is nothing to leave out of a run without thresholds.
    if (gate === "none" && parts.every(({ args }) => args?.[0] === "--no-thresholds")) continue;
    const dir = scratchDir();
    const args = [...flagged, "-e", `RESULTS=${dir}`, ...parts.flatMap((part) => part.args ?? [])];
    const { code, stdout, stderr } = await k6Run("concurrency-sweep", args);
    assert.ok(code !== 0 && code !== undefined, `${args.join(" ")}\n${stdout}${stderr}`);
    if (existsSync(path.join(dir, "summary.json"))) assert.equal(summaryIn(dir).verdict.pass, false, args.join(" "));
  }
});
