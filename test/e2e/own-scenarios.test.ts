/** Scripts of a user's own, as docs/own-scenarios.md shows them: in a folder outside the project, beside the library and nothing else. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { packLibrary } from "../../build/pack";
import { builtK6, loadTypeScript, root } from "../../build/paths";
import type { Summary } from "../../lib/figures/level-summary";
import type { RunLine } from "../../lib/figures/records";
import { k6Environment } from "../../run/simulator";
import { whenValid } from "../support/attempts";
import { startChild } from "../support/child";
import { type KeptRequest, keepingServer } from "../support/keeping-server";
import { readRecords, requestsIn } from "../support/run";
import { scratchDir } from "../support/scratch";
import { serverFor } from "../support/simulated";

const limits = { timeout: 90_000 };
const examples = ["simple", "own-requests", "multi-turn", "support-chat", "classes", "mix", "two-servers"];

let installed: Promise<string> | undefined;

/** A folder into which npm has installed the package from its file. Made once for all tests: the types take seconds. */
function packageFolder(): Promise<string> {
  installed ??= (async () => {
    const dir = scratchDir();
    const packed = await packLibrary(scratchDir());
    writeFileSync(path.join(dir, "package.json"), "{}");
    const npm = ["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", packed];
    const { status, stderr } = spawnSync("npm", npm, {
      cwd: dir,
      encoding: "utf8",
      shell: process.platform === "win32",
    });
    assert.equal(status, 0, stderr);
    return dir;
  })();
  return installed;
}

/** A user's folder: examples, and the two files of the library. */
async function userFolder(names: readonly string[] = examples): Promise<string> {
  const library = path.join(await packageFolder(), "node_modules", "tokenclock", "dist");
  const dir = scratchDir();
  for (const file of ["tokenclock.js", "tokenclock.d.ts"]) copyFileSync(path.join(library, file), path.join(dir, file));
  const files = [...names.map((name) => `${name}.ts`), ...(names.includes("classes") ? ["articles.jsonl"] : [])];
  for (const file of files) copyFileSync(path.join(root, "examples", file), path.join(dir, file));
  return dir;
}

/** What the compiler finds wrong with the scripts of a folder in strict mode, declarations of the library included. */
function typeErrors(dir: string, types: readonly string[] = []): string {
  const compilerOptions = {
    ...{ strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true, skipLibCheck: false },
    ...{ module: "ESNext", moduleResolution: "Bundler", target: "ES2022", noEmit: true, types },
  };
  const project = path.join(dir, "tsconfig.json");
  writeFileSync(project, JSON.stringify({ compilerOptions, include: ["*.ts"] }));
  const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc");
  const { stdout } = spawnSync(process.execPath, [tsc, "-p", dir], { encoding: "utf8" });
  rmSync(project);
  return stdout;
}

async function runScript(dir: string, name: string, server: { baseUrl: string }, out: string, more: string[] = []) {
  const results = path.join(dir, out);
  const records = path.join(results, "records.ndjson.gz");
  const k6 = process.env.K6_BINARY || builtK6;
  const settings = [`BASE_URL=${server.baseUrl}`, `RESULTS=${results}`, ...more].flatMap((each) => ["-e", each]);
  const args = ["run", "--quiet", "--no-color", `${name}.ts`, ...settings, "--out", `records=${records}`];
  const child = startChild(k6, args, { cwd: dir, env: k6Environment(), timeoutMs: 60_000 });
  const { code, stdout, stderr } = await child.ended;
  return {
    ...{ code, stdout, stderr, results },
    summary: () => JSON.parse(readFileSync(path.join(results, "summary.json"), "utf8")) as Summary,
    head: () => readRecords(records).find(({ type }) => type === "run") as RunLine | undefined,
    requests: () => requestsIn(readRecords(records)),
  };
}

function tool(script: string, ...args: string[]) {
  const command = ["-r", loadTypeScript, path.join(root, "report", "cli", `${script}.ts`), ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: root, encoding: "utf8" });
  return { status, text: stdout + stderr };
}

test(
  "a threshold of the script's own is refused of several runners, whose merge has no such metric",
  limits,
  async () => {
    const dir = await userFolder(["own-requests"]);
    const child = startChild(
      process.env.K6_BINARY || builtK6,
      ["run", "--quiet", "own-requests.ts", "-e", "BASE_URL=http://127.0.0.1:9/v1", "-e", "RUNNERS=2"],
      { cwd: dir, env: k6Environment(), timeoutMs: 60_000 },
    );
    const { code, stderr } = await child.ended;
    assert.equal(code, 104, stderr);
    assert.match(stderr, /a threshold on answer_tokens .* what 2 runners measured together has no such metric/);
  },
);

test(
  "a script of five lines type-checks and runs beside two files of the library; its results pass report, gate and compare",
  limits,
  async (t) => {
    const [dir, server] = [await userFolder(["simple"]), await serverFor(t, "--ttft", "20ms", "--itl", "2ms")];
    assert.deepEqual(readdirSync(dir).sort(), ["simple.ts", "tokenclock.d.ts", "tokenclock.js"]);
    assert.equal(typeErrors(dir), "");
    // Whether a busy machine kept up is not the point; without a gate nobody judges it.
    const a = await runScript(dir, "simple", server, "a", ["THRESHOLDS=none"]);
    const b = await runScript(dir, "simple", server, "b", ["THRESHOLDS=none"]);
    assert.equal(a.code, 0, a.stderr);
    assert.equal(b.code, 0, b.stderr);
    assert.deepEqual(
      a.summary().levels.map(({ name, completed }) => [name, completed]),
      [
        ["c2", 8],
        ["c4", 8],
      ],
    );
    for (const [script, args] of [
      ["report", [a.results]],
      ["gate", [a.results, "--slo-ttft", "5000"]],
      ["compare", [a.results, "--", b.results]],
    ] as const) {
      const { status, text } = tool(script, ...args);
      assert.ok(
        status === 0 ||
          (status === 96 && script !== "report") ||
          (status === 98 && /CLIENT-BOUND/.test(text)) ||
          // Two runs of 16 requests on a busy machine may well differ.
          (status === 99 && script === "compare" && /REGRESSION/.test(text)),
        text,
      );
    }
  },
);

test("a setting of one's own is checked, and a metric of one's own gates the run", limits, async (t) => {
  const [dir, server] = [await userFolder(), await serverFor(t, "--ttft", "5ms", "--itl", "1ms")];
  const passed = await whenValid(t, async () => {
    const run = await runScript(dir, "own-requests", server, "passed", ["THRESHOLDS=none", "HEAT=1.5"]);
    return { ...run, summary: run.summary() };
  });
  if (!passed) return;
  assert.equal(passed.code, 0, passed.stderr);
  assert.equal(passed.summary.config.HEAT, 1.5);
  const violated = await whenValid(t, async () => {
    const run = await runScript(dir, "own-requests", server, "violated", ["THRESHOLDS=none", "OUTPUT_TOKENS=8"]);
    return { ...run, summary: run.summary() };
  });
  if (!violated) return;
  assert.equal(violated.code, 99, violated.stderr);
  assert.match(violated.stdout, /^FAIL answer_tokens min 8/m);
  const refused = await runScript(dir, "own-requests", server, "refused", ["HEAT=3"]);
  assert.equal(refused.code, 104);
  assert.match(refused.stderr, /HEAT=3 is not a number from 0 to 2/);
});

// Two runs and four commands.
test("a script's own metrics with their tags are in summary, report, gate and compare", {
  timeout: 240_000,
}, async (t) => {
  const [dir, server] = [await userFolder(), await keepingServer(t)];
  const own = readFileSync(path.join(dir, "own-requests.ts"), "utf8");
  const declared = `
    test.threshold("answer_tokens{tenant:b}", "max<=16");
    test.threshold("orders", "count>=16");
    test.threshold("late{tenant:a}", "rate<0.5");
    test.threshold("depth", "value>0");
    const orders = new Counter("orders");
    const late = new Rate("late");
    const depth = new Gauge("depth");`;
  const script = own
    .replace("import { Trend }", "import { Counter, Gauge, Rate, Trend }")
    .replace(/(const answerTokens = .*)/, `$1${declared}`)
    .replace(
      "answerTokens.add(reply.outputTokens);",
      `const tags = { tenant: second ? "b" : "a" };
       answerTokens.add(reply.outputTokens, tags);
       orders.add(1);
       late.add(second, tags);
       depth.add(3);`,
    );
  writeFileSync(path.join(dir, "own-metrics.ts"), script);
  const start = async (out: string, ...more: string[]) => {
    const run = await runScript(dir, "own-metrics", server, out, ["THRESHOLDS=none", "WARMUP=0", "SALT=a", ...more]);
    return { ...run, summary: run.summary() };
  };
  const a = await start("a");
  const { thresholds = [], scriptMetrics = [] } = a.summary;
  assert.deepEqual(
    thresholds
      .map(({ metric, tags, expression, value, margin, result, script }) => [
        ...[metric, tags?.tenant, expression, value, margin, result, script],
      ])
      .sort(),
    [
      ["answer_tokens", undefined, "min>=16", 16, 0, "passed", true],
      ["answer_tokens", "b", "max<=16", 16, 0, "passed", true],
      ["depth", undefined, "value>0", 3, 3, "passed", true],
      ["late", "a", "rate<0.5", 0, 0.5, "passed", true],
      ["orders", undefined, "count>=16", 16, 0, "passed", true],
    ],
  );
  const kept = (name: string, tenant: string | undefined, aggregate: string) =>
    scriptMetrics.find((each) => each.name === name && each.tags?.tenant === tenant)?.values[aggregate];
  assert.deepEqual(
    [
      kept("answer_tokens", undefined, "count"),
      kept("answer_tokens", "b", "count"),
      kept("orders", undefined, "count"),
    ],
    [16, 8, 16],
  );
  assert.deepEqual(
    [kept("late", undefined, "rate"), kept("late", "a", "rate"), kept("depth", undefined, "value")],
    [0.5, 0, 3],
  );

  const judged = tool("gate", a.results);
  const bound = /CLIENT-BOUND|never steady/.test(judged.text);
  assert.ok(judged.status === 0 || (bound && [96, 98].includes(judged.status ?? 0)), judged.text);
  if (!bound) {
    assert.match(judged.text, /^ok {3}run answer_tokens\{tenant:b\} max<=16: 16, as k6 judged it$/m);
    assert.match(judged.text, /PASSED: 5 thresholds of the script passed, as k6 judged them/);
  }
  const page = tool("report", a.results);
  assert.equal(page.status, 0, page.text);
  const table = readFileSync(path.join(a.results, "tables", "thresholds.csv"), "utf8");
  assert.match(table, /passed,the whole run,answer_tokens\{tenant:b\},max<=16,16,0,/);
  assert.match(readFileSync(path.join(a.results, "tables", "script_metrics.csv"), "utf8"), /late,rate,rate,0\.5/);

  const b = await start("b", "OUTPUT_TOKENS=8");
  assert.notEqual(b.code, 0);
  const failed = tool("gate", b.results);
  assert.ok(failed.status === 99 || /CLIENT-BOUND/.test(failed.text), failed.text);
  assert.match(failed.text, /FAIL run answer_tokens min>=16: 8, as k6 judged it|CLIENT-BOUND/);
  const compared = tool("compare", "--anyway", "--output", dir, a.results, b.results);
  assert.match(compared.text, /answer_tokens, the script's own: avg 16 to 8 \(-50\.0 %\), .*shown and not judged/);
});

for (const kind of ["Trend", "Rate", "Gauge"]) {
  test(`a ${kind} of one's own that never gets a value passes no gate, as it would in k6`, limits, async (t) => {
    const [dir, server] = [await userFolder(), await serverFor(t, "--ttft", "1ms", "--itl", "100us")];
    const own = readFileSync(path.join(dir, "own-requests.ts"), "utf8");
    const unset = own
      .replaceAll("Trend", kind)
      .replace('"min>=16"', kind === "Trend" ? '"p(95)<9"' : kind === "Rate" ? '"rate<0.5"' : '"value<9"')
      .replace(/answerTokens\.add.*/, "");
    writeFileSync(path.join(dir, "unset.ts"), unset);
    const run = await runScript(dir, "unset", server, "unset", ["THRESHOLDS=none"]);
    assert.equal(run.code, 98, run.stdout + run.stderr);
    assert.match(run.stdout, /answer_tokens \S+ was not measured: the metric has no values/);
    assert.equal(run.summary().verdict.pass, false);
  });
}

test(
  "users hold conversations: think time is no queue delay, turns are tagged, and tools are answered",
  limits,
  async (t) => {
    const [dir, server] = [await userFolder(), await serverFor(t, "--ttft", "5ms", "--itl", "1ms")];
    const run = await runScript(dir, "support-chat", server, "chat", [
      ...["THRESHOLDS=none", "THINK=150", "CONCURRENCY=2", "DURATION=1500ms", "OUTPUT_TOKENS=16"],
      'HEADERS={"X-Simulate":"{\\"toolRounds\\":1}"}',
    ]);
    assert.equal(run.code, 0, run.stderr);
    const [level] = run.summary().levels;
    assert.ok((level?.sessions?.completed ?? 0) >= 2, run.stdout);
    assert.ok((level?.sessions?.waitMs.min ?? 0) >= 299, "150 ms before the second and the third turn");
    assert.ok((level?.queueDelayMs.p50 ?? Infinity) < 100, "think time is not among the queue delay");
    const requests = run.requests();
    const whole = [...new Set(requests.map(({ session }) => session))]
      .map((of) => requests.filter(({ session }) => session === of))
      .filter(({ length }) => length === 6);
    assert.ok(whole.length >= 2, "three turns, and a tool's result behind each");
    for (const turns of whole) {
      const tags = turns
        .sort((a, b) => (a.turn ?? 0) - (b.turn ?? 0))
        .map(({ tags, tool }) => (tool ? "tool" : tags?.turn));
      assert.deepEqual(tags, ["t1", "tool", "t2", "tool", "t3", "tool"]);
    }
    const refused = await runScript(dir, "support-chat", server, "refused", ["API=messages"]);
    // A script comes to its conversations while the test runs, so that what is refused there has cut the run.
    assert.equal(refused.code, 98, refused.stderr);
    assert.equal(refused.requests().length, 0);
    assert.match(refused.stderr, /API=messages: user\.conversation\(\{ tools \}\) .* set API=chat/);
  },
);

test(
  "classes of a script run at once, each with its own body, SLOs and thresholds, and pass the gate",
  limits,
  async (t) => {
    const [dir, server] = [await userFolder(), await keepingServer(t, () => ({ pauseMs: 5 }))];
    const settings = ["DURATION=1500ms", "SALT=a", "THRESHOLDS=none"];
    const run = await runScript(dir, "classes", server, "out", settings);
    const { levels, thresholds = [], verdict, digests } = run.summary();
    assert.equal(run.code, verdict.validity === "VALID" ? 0 : 98, run.stdout + run.stderr);
    const articles = createHash("sha256")
      .update(readFileSync(path.join(dir, "articles.jsonl")))
      .digest("hex");
    assert.deepEqual(digests, { "summary.DATASET": articles });
    assert.deepEqual(run.head()?.digests, digests, "in the records' first line, too");
    assert.deepEqual(
      levels.map(({ name }) => name),
      ["chat", "summary"],
    );
    const limitsOf = (of: string) =>
      thresholds
        .filter(({ level, expression }) => level === of && /^p\(/.test(expression))
        .map((each) => `${each.metric} ${each.expression}`);
    assert.deepEqual(limitsOf("chat").sort(), ["llm_tpot p(95)<40", "llm_ttft p(95)<300"]);
    assert.deepEqual(limitsOf("summary"), ["llm_e2e_latency p(95)<20000"]);
    assert.ok(server.requests.length >= 5, `${server.requests.length} requests`);
    for (const { body } of server.requests) {
      const summary = /^Summarize/.test(body.messages[0].content);
      assert.deepEqual([body.temperature, body.max_tokens], summary ? [0, 300] : [undefined, 128]);
    }
    const records = run.requests();
    assert.ok(records.every(({ level, tags }) => tags?.class === level));
    const { status, text } = tool("gate", run.results, "--percentile", "95");
    // So few requests show little, and a busy machine may be at fault.
    assert.ok(status === 96 || status === 98, text);
    assert.match(text, status === 98 ? /CLIENT-BOUND/ : /\?\? +summary llm_e2e_latency p\(95\)/);
  },
);

test("users of a class hold conversations beside another class", limits, async (t) => {
  const [dir, server] = [await userFolder(), await serverFor(t, "--ttft", "5ms", "--itl", "1ms")];
  const settings = ["DURATION=1s", "THINK=20", "THRESHOLDS=none"];
  const run = await runScript(dir, "mix", server, "out", settings);
  assert.ok([0, 98, 99].includes(run.code ?? 1), run.stdout + run.stderr);
  const [support, summary] = run.summary().levels;
  assert.deepEqual([support?.name, summary?.name], ["support", "summary"]);
  assert.ok((support?.sessions?.completed ?? 0) >= 4, "each of four users has held one");
  assert.ok((support?.turns?.length ?? 0) >= 3);
  assert.equal(summary?.sessions, undefined);
  assert.equal((summary?.outputTokens ?? 0) / (summary?.completed ?? 1), 100);
});

test("two clients of a script: each server gets its own requests, and only one of them the key", limits, async (t) => {
  const small = await keepingServer(t, () => ({ text: "Is order 7 late?" }));
  const large = await keepingServer(t);
  const settings = [`LARGE_URL=${large.baseUrl}`, "API_KEY=sk-small", "SESSIONS=4", "THRESHOLDS=none"];
  const run = await runScript(await userFolder(), "two-servers", small, "out", settings);
  assert.equal(run.code, 0, run.stdout + run.stderr);
  assert.deepEqual([small.requests.length, large.requests.length], [4, 4]);
  const shown = ({ headers, body }: KeptRequest) => [headers.authorization, body.max_tokens, body.messages[0].content];
  for (const each of small.requests) {
    assert.deepEqual(shown(each), ["Bearer sk-small", 16, "Which order is late?"]);
  }
  for (const each of large.requests) assert.deepEqual(shown(each), [undefined, 64, "Is order 7 late?"]);
  const tags = run
    .requests()
    .map((each) => JSON.stringify(each.tags))
    .sort();
  assert.deepEqual([...new Set(tags)], ['{"client":"large","stage":"answer"}', '{"stage":"ask"}']);
  assert.match(run.stdout, /PASS/);
  const dir = await userFolder();
  const unknown = readFileSync(path.join(dir, "two-servers.ts"), "utf8").replace(
    '{ client: "large",',
    '{ client: "huge",',
  );
  writeFileSync(path.join(dir, "unknown.ts"), unknown);
  const refused = await runScript(dir, "unknown", small, "unknown", settings);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /client \\"huge\\" is not known; declare it: test\.client\(\\"huge\\"/);
});

test(
  "a request's own path that leads to another server ends the run before it is sent there with the key",
  limits,
  async (t) => {
    const [own, other, dir] = [await keepingServer(t), await keepingServer(t), await userFolder(["own-requests"])];
    const script = readFileSync(path.join(dir, "own-requests.ts"), "utf8");
    const settings = ["API_KEY=sk-own", "REQUESTS=4", "WARMUP=0", "THRESHOLDS=none"];
    const withPath = async (name: string, given: string, more: string[] = settings) => {
      const changed = script.replace("await request.send({", `await request.send({ path: ${JSON.stringify(given)},`);
      assert.notEqual(changed, script);
      writeFileSync(path.join(dir, `${name}.ts`), changed);
      return runScript(dir, name, own, name, more);
    };
    const elsewhere = `${other.baseUrl}/chat/completions`;
    const refused = await withPath("elsewhere", elsewhere);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /is of another server than .*, which the headers of the client are for/);
    // Behind the host's name it would make another one.
    for (const [i, given] of ["@127.0.0.1/x", ".example.com/x"].entries()) {
      const ended = await withPath(`glued${i}`, given);
      assert.notEqual(ended.code, 0);
      assert.match(ended.stderr, /is no path that begins with \/ and no address/);
    }
    assert.deepEqual([own.requests.length, other.requests.length], [0, 0]);
    const named = await withPath("named", elsewhere, [...settings, `KEY_ORIGINS=${new URL(elsewhere).origin}`]);
    assert.equal(named.requests().length, 4, named.stderr);
    assert.ok(other.requests.every(({ headers }) => headers.authorization === "Bearer sk-own"));
  },
);

test("{{session}} is the user in all headers of what a script's users send", limits, async (t) => {
  const [dir, server] = [await userFolder(["multi-turn"]), await keepingServer(t)];
  const script = readFileSync(path.join(dir, "multi-turn.ts"), "utf8").replace(
    "{ tags: {",
    '{ headers: { "X-Turn": "{{session}}:{{level}}" }, tags: {',
  );
  writeFileSync(path.join(dir, "sessions.ts"), script);
  const settings = ["THINK=10", "CONCURRENCY=2", "SESSIONS=4", "THRESHOLDS=none", 'HEADERS={"X-User":"u-{{session}}"}'];
  const run = await runScript(dir, "sessions", server, "out", settings);
  assert.equal(run.code, 0, run.stderr);
  const records = new Map(run.requests().map((each) => [each.id, each]));
  assert.ok(server.requests.length >= 12, `${server.requests.length} requests`);
  for (const { id, headers } of server.requests) {
    const { session, level } = records.get(String(id)) ?? {};
    assert.ok(session);
    assert.deepEqual([headers["x-user"], headers["x-turn"]], [`u-${session}`, `${session}:${level}`]);
  }
  assert.ok(new Set(server.requests.map(({ headers }) => headers["x-user"])).size >= 4);
});

test("the examples type-check in strict mode beside the library, and a wrong setting does not", limits, async () => {
  const dir = await userFolder();
  const types = path.join(root, "node_modules", "@types");
  cpSync(path.join(types, "k6"), path.join(dir, "node_modules", "@types", "k6"), { recursive: true });
  writeFileSync(
    path.join(dir, "wrong.ts"),
    'import { levels, openTest } from "./tokenclock.js";\n// @ts-expect-error\nopenTest("wrong", { CONCURENCY: [1] }, levels);\n',
  );
  assert.equal(typeErrors(dir, ["k6"]), "");
});

test("the npm package has library, types and licences; a script beside it type-checks and runs", limits, async (t) => {
  const [dir, server] = [await packageFolder(), await serverFor(t, "--ttft", "5ms", "--itl", "1ms")];
  const tokenclock = path.join(dir, "node_modules", "tokenclock");
  assert.match(readFileSync(path.join(tokenclock, "LICENSE"), "utf8"), /Apache License/);
  assert.match(readFileSync(path.join(tokenclock, "THIRD_PARTY_LICENSES"), "utf8"), /papaparse \S+ \(MIT\)/);
  const script = /```ts\n([\s\S]*?)```/.exec(readFileSync(path.join(tokenclock, "README.md"), "utf8"))?.[1] ?? "";
  // By its file, as k6 takes it, and by its name, as bundlers do.
  writeFileSync(path.join(dir, "my-test.ts"), script);
  writeFileSync(path.join(dir, "bundled.ts"), script.replace(/"\.\/node_modules[^"]*"/, '"tokenclock"'));
  assert.match(readFileSync(path.join(dir, "bundled.ts"), "utf8"), /from "tokenclock"/);
  assert.equal(typeErrors(dir), "");
  const settings = ["THRESHOLDS=none", "OUTPUT_TOKENS=4", "CONCURRENCY=2", "DATASET=chats"];
  const run = await runScript(dir, "my-test", server, "out", settings);
  assert.equal(run.code, 0, run.stdout + run.stderr);
  assert.equal(run.summary().levels[0]?.completed, 16);
  assert.doesNotMatch(run.stderr, /source map/);
});
