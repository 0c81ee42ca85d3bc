/** What would lower the load in silence ends the run instead. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { test } from "node:test";
import { type RunSettings, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { serverFor, startServer } from "../support/simulated";

const small: RunSettings = { CONCURRENCY: 4, REQUESTS: 8, WARMUP: 0, OUTPUT_TOKENS: 4, THRESHOLDS: "none" };

/** Fails unless the run ended with this code and one line, without a stack, that matches. */
function refusedWith(ended: { code: number | undefined; stderr: string }, code: number, line: RegExp): void {
  assert.equal(ended.code, code, ended.stderr);
  const errors = ended.stderr.split("\n").filter((each) => each.includes("level=error"));
  assert.ok(errors.length > 0 && errors.every((each) => line.test(each)), ended.stderr);
  assert.doesNotMatch(ended.stderr, /\\tat |GoError/);
}

test("k6's own load options, which leave a level fewer clients than its name says, are refused", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  for (const args of [
    ["--vus", "1", "--duration", "1s"],
    ["--iterations", "3"],
    ["--stage", "1s:2"],
  ]) {
    const ended = await run("concurrency-sweep", { ...small, BASE_URL }, { args });
    refusedWith(ended, 104, /k6's own load options .* replace the load that the settings ask for/);
    assert.equal(ended.requests.length, 0);
  }
  const byEnvironment = await run("batch-burst", { BATCH_SIZES: 2, BASE_URL }, { env: { K6_VUS: "2" } });
  refusedWith(byEnvironment, 104, /shared-iterations vus 2 iterations 2 instead of per-vu-iterations vus 1/);
  const segment = await run("concurrency-sweep", { ...small, BASE_URL }, { args: ["--execution-segment", "0:1/2"] });
  refusedWith(segment, 104, /RUNNERS=1, but k6's execution segments make 2 instances/);
});

test("RESET_URL on another host gets no key", async (t) => {
  const server = await startServer("--enable-prefix-caching", "--server-dev-mode");
  t.after(server.stop);
  const keys: (string | undefined)[] = [];
  const other = createServer((request, response) => {
    keys.push(request.headers.authorization);
    response.end("{}");
  }).listen(0, "127.0.0.1");
  t.after(() => other.close());
  await once(other, "listening");
  const RESET_URL = `http://127.0.0.1:${(other.address() as AddressInfo).port}/reset`;
  const ended = await run("prefill-decode", { ...small, BASE_URL: server.baseUrl, RESET_URL, API_KEY: "hunter2" });
  // Once in setup() and once between the phases.
  assert.deepEqual(keys, [undefined, undefined], ended.stderr);
});

test("an exception in the load ends the run: the level would go on with a client less", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const file = path.join(scratchDir(), "one.jsonl");
  writeFileSync(file, '{"prompt": "hi"}\n');
  const ended = await run("concurrency-sweep", { ...small, BASE_URL, DATASET: file }, { args: ["--no-setup"] });
  refusedWith(ended, 108, /--no-setup leaves out/);
});

test("a reset between the phases that fails ends the run, and its address keeps its secrets", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const RESET_URL = BASE_URL.replace(/^http:\/\/(.*)\/v1$/, "http://user:hunter2@$1/nope");
  const ended = await run("prefill-decode", { ...small, CONCURRENCY: 2, BASE_URL, RESET_URL });
  refusedWith(ended, 108, /RESET_URL=http:\S+\/nope answered HTTP 40\d/);
  assert.doesNotMatch(ended.stderr + ended.stdout, /hunter2/);
  // A client that was waiting may have begun before the end of the run reached it.
  assert.ok(ended.requests.filter(({ level }) => level === "prefill").length < Number(small.REQUESTS));
});

test("a row of a dataset that holds no prompt is refused before any load, wherever it stands", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const fileOf = (name: string, text: string) => {
    const file = path.join(scratchDir(), name);
    writeFileSync(file, text);
    return file;
  };
  const cases: [RunSettings, RegExp][] = [
    [
      { DATASET: fileOf("rows.jsonl", '{"prompt": "hi"}\n{"prompt": "hi"}\n{"prompt": 5}\n') },
      /rows\.jsonl: line 3 prompt=5 is no prompt/,
    ],
    [{ DATASET: fileOf("broken.jsonl", '{"prompt": "hi"}\n{"prompt": "h\n') }, /line 2 is no JSON/],
    [{ DATASET: fileOf("table.csv", "a,b\n1,2\n") }, /row 1 is of no known format: its fields are a, b/],
    [
      { DATASET: "nope" },
      /DATASET=nope cannot be read: open .*no such file.*; the sets that ship are prompts, chats, token-ids/,
    ],
    [{ DATASET: "token-ids", API: "chat" }, /holds token ids, which API=chat does not take/],
    [{ TARGETS: fileOf("targets.txt", "/predict\npredict\n"), API: "json" }, /line 2 is no path/],
  ];
  for (const [settings, line] of cases) {
    const ended = await run("concurrency-sweep", { BASE_URL, ...settings });
    refusedWith(ended, 104, line);
    assert.equal(ended.requests.length, 0);
  }
});

test("settings that a scenario would ignore or that its levels' names would contradict are refused", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const cases: [string, RunSettings, RegExp][] = [
    ["prefill-decode", { CONCURRENCY: "1,2" }, /CONCURRENCY=1,2: prefill-decode has one level/],
    ["prefill-decode", { CONCURRENCY: 1, API: "json", ENDPOINT: "/predict" }, /API=json decodes no tokens/],
    [
      "prompt-ingestion",
      { DATASET: "prompts" },
      /prompt-ingestion does not use DATASET; beside what every scenario uses it has INPUT_LENGTHS/,
    ],
    [
      "arrival-rate-ramp",
      { LOOP: "closed", STAGES: "3s:2", MAX_DURATION: "2s" },
      /MAX_DURATION=2s is shorter than STAGES, 3s/,
    ],
    ["embeddings-burst", { LENGTHS: "short,short" }, /LENGTHS=short,short names a length twice/],
  ];
  for (const [scenario, settings, line] of cases) {
    const ended = await run(scenario, { BASE_URL, ...settings });
    refusedWith(ended, 104, line);
    assert.equal(ended.requests.length, 0);
  }
});

test("embeddings of one's own texts are a level of their own, not one of each length", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const ended = await run("embeddings-burst", { BASE_URL, DATASET: "prompts", BATCH_SIZES: 2, RUNS: 1 });
  assert.deepEqual(
    ended.summary.levels.map(({ name }) => name),
    ["b2-dataset"],
  );
});

test("a run whose thresholds k6 keeps to itself has its table and its summary, but no PASS", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const ended = await run("concurrency-sweep", { ...small, BASE_URL }, { args: ["--new-machine-readable-summary"] });
  assert.match(ended.stdout, /FAIL k6 does not say which thresholds were crossed: run without --new-machine/);
  assert.equal(ended.summary.verdict.pass, false);
  assert.equal(ended.summary.total.completed, Number(small.REQUESTS));
});

test("a run that meets MAX_DURATION has failed: what is under way then is not waited for", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const load = { CONCURRENCY: 2, DURATION: "20s", WARMUP: 0, OUTPUT_TOKENS: 1000, MAX_DURATION: "2s" };
  const ended = await run("concurrency-sweep", { BASE_URL, ...load });
  assert.equal(ended.code, 98, ended.stderr);
  assert.match(ended.stdout, /^c2 failed: .*interrupted/m);
  assert.match(ended.stdout, /^FAIL the run was cut short: level c2 was not over$/m);
});

test("a page of metrics that was named and is not there is reported", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const METRICS_URL = BASE_URL.replace("/v1", "/nope?key=hunter2");
  const { stderr } = await run("speed-generation", { ...small, CONCURRENCY: 1, BASE_URL, METRICS_URL });
  assert.match(stderr, /METRICS_URL=http:\S+\/nope\?key=\*{4} answered HTTP 404; the run has no metrics of the server/);
});
