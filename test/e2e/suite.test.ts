/**
 * The serving suite on a simulated server whose context is too small for some of its lengths: its folders, its thresholds, what
 * it leaves out, and that an interrupted one goes on.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { root } from "../../build/paths";
import type { LevelLine } from "../../lib/figures/records";
import type { LeftOut } from "../../run/suite-refusals";
import { type Child, startChild } from "../support/child";
import { readRecords, requestsIn } from "../support/run";
import { scratchDir } from "../support/scratch";
import { type RequestTruth, startServer } from "../support/simulated";
import { largest, quantile } from "../support/statistics";

const inputs = [32, 1024];
const outputs = [16, 128];
/** Prompts of 4,096 tokens are refused. */
const context = 2048;
const longInput = 4096;
const parallel = [1, 2, 4, 8, 16];
const speedThreshold = 1500;

// A step takes 0.15 ms and 0.1 ms more a sequence: some 1,800 tokens/s for each of four requests, 1,050 for each of eight.
const engine = [
  "--max-model-len",
  String(context),
  "--step-time",
  "150us",
  "--sequence-time",
  "100us",
  "--prefill-rate",
  "5000000",
];

/** `npm run suite`, as the script in package.json runs it. */
function startSuite(baseUrl: string, folder: string, inputLengths: number[]): Child {
  return startChild(
    process.execPath,
    [
      ...[path.join("build", "bootstrap.cjs"), path.join("run", "suite.ts"), "--base-url", baseUrl, "--quick"],
      ...["--speed-threshold", String(speedThreshold), "--max-queries", "16", "--output-folder", folder],
      ...["--input-lengths", inputLengths.join(","), "--output-lengths", outputs.join(",")],
      ...["--ingestion-lengths", ["512", ...inputLengths].join(",")],
    ],
    { cwd: root, timeoutMs: 170_000 },
  );
}

test("the suite leaves out what the server refuses, can be interrupted, goes on, and reports what the server really did", {
  timeout: 180_000,
}, async (t) => {
  const server = await startServer(...engine);
  t.after(server.stop);
  const folder = path.join(scratchDir(), "suite");
  const file = (...names: string[]) => readFileSync(path.join(folder, ...names), "utf8");
  const rawNames = () => readdirSync(path.join(folder, "raw_results")).filter((name) => name.endsWith(".json"));

  const interrupted = startSuite(server.baseUrl, folder, [...inputs, longInput]);
  t.after(() => interrupted.kill("SIGKILL"));
  while (!existsSync(path.join(folder, "raw_results")) || rawNames().length < 2) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  interrupted.kill("SIGINT");
  const { code: interruptedCode, stderr } = await interrupted.ended;
  assert.equal(interruptedCode, 105, stderr);
  assert.match(stderr, /interrupted; the same command goes on/);
  assert.equal(existsSync(path.join(folder, "report")), false);
  const before = new Map(rawNames().map((name) => [name, file("raw_results", name)]));

  const suite = startSuite(server.baseUrl, folder, [...inputs, longInput]);
  t.after(() => suite.kill("SIGKILL"));
  const ended = await suite.ended;
  assert.equal(ended.code, 98, ended.stderr);
  const refusal = `maximum context length is ${context} tokens. However, your prompt contains ${longInput} input tokens`;
  const leftOut = JSON.parse(file("report", "left_out.json")) as LeftOut[];
  assert.deepEqual(
    leftOut.map(({ inputTokens, outputTokens, status }) => [inputTokens, outputTokens, status]),
    [undefined, ...outputs].map((output) => [longInput, output, 400]),
  );
  for (const { words } of leftOut) assert.ok(words.includes(refusal), words);
  for (const words of [
    `ingestion of ${longInput} tokens left out: HTTP 400, This model's ${refusal}`,
    ...outputs.map(
      (output) => `input ${longInput}, output ${output} tokens left out: HTTP 400, This model's ${refusal}`,
    ),
    "NOT VALID: the server does not serve ingestion of 4096 tokens; input 4096, output 16 tokens",
  ])
    assert.ok(ended.stdout.includes(words), `${words} in ${ended.stdout}`);
  const page = file("report", "report.html");
  assert.match(page, /id="verdict"><strong>NOT VALID/);
  assert.ok(page.includes(refusal), "the server's words are on the page");
  for (const [name, content] of before) {
    assert.match(ended.stdout, new RegExp(`${path.basename(name, ".json")} \\(measured before\\)`));
    assert.equal(file("raw_results", name), content, "what was measured is kept");
  }

  const pairs = inputs.flatMap((input) => outputs.map((output) => `input_${input}_output_${output}`));
  const expected = [
    ...["parameters.json", "prompt_ingestion_graph.png", "total_speed_generation_graph.png", "thresholds.csv"],
    ...pairs.map((pair) => `kv_cache_profile/graph_kv_cache_profile_${pair}.png`),
    ...pairs.map((pair) => `speed_generation/speed_generation_graph_${pair}.png`),
    ...["data/prompt_ingestion_graph_data.json", "data/total_speed_generation_graph_data.json"],
  ];
  for (const name of expected) {
    const content = readFileSync(path.join(folder, "report", name));
    assert.ok(content.length > 0, name);
    if (name.endsWith(".png")) assert.equal(content.subarray(1, 4).toString(), "PNG", name);
  }
  const parameters = JSON.parse(file("report", "parameters.json"));
  assert.deepEqual([parameters.model, parameters.step_time_ms], ["simulated", 0.15], "the server's launch arguments");

  const { requests } = await server.truth();
  const truths = new Map(requests.map((truth) => [truth.id, truth]));
  const speeds = new Map<string, { n: number; speed: number; kv: number }[]>();
  for (const step of readdirSync(path.join(folder, "runs"))) {
    const records = readRecords(path.join(folder, "runs", step, "records.ndjson.gz"));
    const own = requestsIn(records).map(({ id }) => {
      const truth = truths.get(id ?? "");
      assert.ok(truth, `${step}: the server knows nothing of request ${id}`);
      return truth;
    });
    const [, input, output] = /input_(\d+)_output_(\d+)/.exec(step) ?? [];
    if (!input || !output || Number(input) === longInput) continue;
    for (const truth of own) {
      assert.equal(truth.outputTokens, Number(output), `${step}: output lengths are exact`);
      assert.ok(truth.promptTokens >= Number(input), `${step}: input lengths are at least the number`);
    }
    const n = Number(/nb_requests_(\d+)/.exec(step)?.[1]);
    if (!n) continue;
    assert.ok(parallel.includes(n), step);
    const pair = `${input},${output}`;
    const { metrics, points } = JSON.parse(file("runs", step, "server-metrics.json")).pages[0].values;
    const level = records.find((line): line is LevelLine => line.type === "level");
    const kvColumn = metrics.indexOf("vllm:kv_cache_usage_perc") + 1;
    const within = (points as number[][]).filter(([ns = 0]) => ns >= (level?.openNs ?? 0) && ns <= (level?.endNs ?? 0));
    const kv = largest([0, ...within.map((point) => point[kvColumn] ?? 0)]);
    speeds.set(pair, [...(speeds.get(pair) ?? []), { n, speed: quantile(own.map(speedOf), 0.5), kv }]);
  }

  const [header, ...lines] = file("report", "thresholds.csv").trim().split("\n");
  assert.equal(header, "speed_threshold,kv_cache_threshold,input_length,output_length");
  // Where all that was refused has no thresholds.
  const empty = lines.filter((line) => line.endsWith(`,${longInput},16`) || line.endsWith(`,${longInput},128`));
  assert.deepEqual(empty, [`,,${longInput},16`, `,,${longInput},128`]);
  assert.equal(lines.length, pairs.length + empty.length);
  const largestWhere = (points: { n: number; holds: boolean }[]) =>
    Math.max(0, ...points.filter(({ holds }) => holds).map(({ n }) => n));
  const valid = lines.filter((line) => !line.startsWith(","));
  // Busy processors may make a step client-bound; that is said, and its thresholds are left out.
  if (!/CLIENT-BOUND: /.test(ended.stdout)) assert.equal(valid.length, pairs.length);
  for (const line of valid) {
    const [speed, kv, input, output] = line.split(",").map(Number);
    const measured = speeds.get(`${input},${output}`) ?? [];
    assert.ok(measured.length >= 2, `${line}: at least two numbers of requests were tried`);
    assert.equal(kv, largestWhere(measured.map(({ n, kv }) => ({ n, holds: kv < 0.95 }))), `${line}: KV threshold`);
    // A speed at the very threshold may be on either side of it for the client.
    const clear = measured.filter(({ speed }) => Math.abs(speed / speedThreshold - 1) > 0.05);
    if (clear.length < measured.length) continue;
    const fast = largestWhere(clear.map(({ n, speed }) => ({ n, holds: speed >= speedThreshold })));
    assert.equal(speed, fast, `${line}: speed threshold`);
  }

  // Without the lengths that the server refuses all is measured already, but for the ingestion, and the suite is valid.
  const served = startSuite(server.baseUrl, folder, inputs);
  t.after(() => served.kill("SIGKILL"));
  const rest = await served.ended;
  assert.equal(rest.stdout.match(/measured before/g)?.length, rawNames().length - 1, rest.stdout);
  if (rest.code !== 0) assert.match(rest.stdout, /CLIENT-BOUND: [\s\S]*NOT VALID: \d+ of \d+ steps/, rest.stderr);
  assert.ok([0, 98].includes(rest.code ?? 1), rest.stderr);
  assert.equal(existsSync(path.join(folder, "report", "left_out.json")), false);
  t.diagnostic(`${readdirSync(path.join(folder, "runs")).length} runs, thresholds ${lines.join(" ")}`);
});

test("folders that cannot be are refused before anything is started", async () => {
  for (const [args, words] of [
    [["--output-folder", "/dev/null/x"], /^tokenclock: \/dev\/null\/x cannot be made: E\w+: .*\n$/],
    [["--output-folder", "/proc/x"], /^tokenclock: \/proc\/x cannot be made: E\w+: .*\n$/],
    [["--dataset-folder", "/nowhere"], /^tokenclock: dataset-folder=\/nowhere does not exist\n$/],
  ] as const) {
    const command = [path.join("build", "bootstrap.cjs"), path.join("run", "suite.ts"), "--backend", "simulator"];
    const suite = startChild(process.execPath, [...command, "--output-folder", scratchDir(), ...args], {
      ...{ cwd: root, timeoutMs: 60_000 },
    });
    const { code, stdout, stderr } = await suite.ended;
    assert.match(stderr, words);
    assert.equal(stdout, "");
    assert.equal(code, 104);
  }
});

test("a server that cannot be reached ends the suite with the exit code of its run", async () => {
  const command = [path.join("build", "bootstrap.cjs"), path.join("run", "suite.ts"), "--output-folder", scratchDir()];
  const suite = startChild(process.execPath, [...command, "--base-url", "http://127.0.0.1:1"], {
    ...{ cwd: root, timeoutMs: 60_000 },
  });
  const { code, stderr } = await suite.ended;
  assert.match(stderr, /BASE_URL=http:\/\/127\.0\.0\.1:1\/v1 cannot be reached/);
  assert.equal(code, 108);
});

/** Speed of one request from the beginning, tokens/s, waiting included. */
function speedOf({ outputTokens, sendsNs, beginNs }: RequestTruth): number {
  return (1e9 * outputTokens) / ((sendsNs.at(-1)?.[0] ?? Number.NaN) - beginNs);
}
