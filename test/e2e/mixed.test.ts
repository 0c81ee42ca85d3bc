/** Several classes of load in one run: each sends its own, and is judged by limits of its own, by k6 and by the report alike. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { runCommand } from "../../build/command";
import { root } from "../../build/paths";
import { foldRecords } from "../../lib/figures/fold";
import { keepingServer } from "../support/keeping-server";
import { levelOf, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const mix = path.join(__dirname, "fixtures", "mix.json");
const engine = ["--step-time", "1ms", "--sequence-time", "10us", "--prefill-rate", "100000"];

test("each class is gated alone: k6's exit code, the verdict, the gate and the records agree", {
  timeout: 90_000,
}, async () => {
  const server = await startServer(...engine);
  try {
    const settings = { BASE_URL: server.baseUrl, MIX: mix, RATE: 16, DURATION: "2500ms", THRESHOLDS: "none" };
    const ended = await run("mixed", settings);
    // A busy machine makes the run no good for its verdict, but every limit is judged all the same.
    const bound = ended.summary.verdict.validity === "CLIENT-BOUND";
    assert.equal(ended.code, bound ? 98 : 99, ended.stdout + ended.stderr);
    const { levels, thresholds = [], verdict } = ended.summary;
    assert.deepEqual(
      levels.map(({ name }) => name),
      ["chat", "agents", "batch"],
    );
    const violated = thresholds.filter(({ result, metric }) => result === "violated" && metric !== "llm_client_bound");
    assert.deepEqual(
      violated.map(({ metric, level, expression }) => [metric, level, expression]),
      [["llm_e2e_latency", "agents", "p(95)<0.5"]],
      "the one class that cannot keep its SLO, and no other",
    );
    const limits = verdict.reasons.filter((reason) => reason.startsWith("llm_"));
    assert.ok(limits.length > 0 && limits.every((reason) => reason.includes("level:agents")), limits.join("; "));
    const judged = (level: string) =>
      thresholds
        .filter((each) => each.level === level && each.of === undefined)
        .map(({ metric }) => metric)
        .sort();
    assert.deepEqual(judged("chat"), ["llm_itl_p99", "llm_request_failed", "llm_requests", "llm_ttft"]);
    assert.deepEqual(judged("agents"), ["llm_e2e_latency", "llm_request_failed", "llm_requests"]);
    assert.deepEqual(judged("batch"), ["llm_e2e_latency", "llm_request_failed", "llm_requests", "llm_tpot"]);
    // Goodput counts by the class's own SLOs.
    assert.deepEqual(
      levels.map(({ goodShare }) => goodShare),
      [1, 0, 1],
    );
    const folded = foldRecords(ended.records).levels;
    for (const { name, requests, goodShare, sessions } of levels) {
      const same = folded.find((each) => each.name === name);
      assert.deepEqual(
        [same?.requests, same?.goodShare, same?.sessions?.turns],
        [requests, goodShare, sessions?.turns],
      );
    }
    // Rates: 16/s in shares of 12 and 4 over 2.5 s; a session has three turns.
    assert.equal(levelOf(ended.summary, "chat").requests, 30);
    assert.equal(levelOf(ended.summary, "agents").sessions?.turns, 30);
    const { code, stdout, stderr } = await runCommand(process.execPath, [
      ...[path.join(root, "build", "bootstrap.cjs"), "report/cli/gate.ts", ended.dir, "--json"],
    ]);
    if (bound) {
      assert.equal(code, 98, "a run that is not valid is judged by no gate");
      return;
    }
    const gate = JSON.parse(stdout.slice(stdout.indexOf("{"))) as { judgements?: { level: string; verdict: string }[] };
    const failed = (gate.judgements ?? []).filter((each) => each.verdict === "failed");
    assert.deepEqual([...new Set(failed.map(({ level }) => level))], ["agents"], stdout + stderr);
    assert.equal(code, 99, "npm run gate finds the same");
  } finally {
    await server.stop();
  }
});

test("the wire has each class's model, API and prefix groups", { timeout: 60_000 }, async (t) => {
  const server = await keepingServer(t);
  const file = path.join(scratchDir(), "mix.json");
  const classes = [
    {
      name: "a",
      rate: 40,
      model: "adapter-a",
      settings: { SHARED_PREFIX: "32", PREFIX_GROUPS: 3, INPUT_TOKENS: 40, OUTPUT_TOKENS: "4" },
    },
    { name: "b", rate: 20, api: "completions", settings: { OUTPUT_TOKENS: "5", TEMPERATURE: 0.5 } },
  ];
  writeFileSync(file, JSON.stringify({ classes }));
  const ended = await run("mixed", {
    BASE_URL: server.baseUrl,
    ...{ MIX: file, DURATION: "1s", THRESHOLDS: "none" },
  });
  assert.equal(ended.requests.length, 60, ended.stdout + ended.stderr);
  const chat = server.requests.filter(({ url }) => url.endsWith("/chat/completions"));
  const text = server.requests.filter(({ url }) => url.endsWith("/v1/completions"));
  assert.deepEqual([chat.length, text.length], [40, 20]);
  assert.ok(
    chat.every(({ body }) => body.model === "adapter-a" && body.min_tokens === 4 && body.temperature === undefined),
  );
  assert.ok(text.every(({ body }) => body.model === "served" && body.min_tokens === 5 && body.temperature === 0.5));
  const prefixes = new Set(chat.map(({ body }) => body.messages[0].content.split(" ").slice(0, 32).join(" ")));
  assert.equal(prefixes.size, 3, "three groups of prompts");
});

test("a class's rate over time: by a pattern and by a file, whose digest is kept", { timeout: 60_000 }, async (t) => {
  const server = await keepingServer(t);
  const [file, rates, prompts] = ["mix.json", "rates.csv", "prompts.jsonl"].map((name) =>
    path.join(scratchDir(), name),
  );
  const texts = {
    [rates as string]: "time,rate\n0,20\n1,20\n",
    [prompts as string]: Array.from({ length: 50 }, (_, i) => `${JSON.stringify({ prompt: `text ${i}` })}\n`).join(""),
  };
  for (const [name, text] of Object.entries(texts)) writeFileSync(name, text);
  const settings = { OUTPUT_TOKENS: 2 };
  const classes = [
    { name: "spiky", pattern: "spikes:10:60:1s:250ms", settings },
    { name: "early", rateFile: rates, settings: { ...settings, DATASET: prompts } },
    { name: "even", rate: 10, settings },
  ];
  writeFileSync(file as string, JSON.stringify({ classes }));
  const load = { BASE_URL: server.baseUrl, MIX: file as string, THRESHOLDS: "none" };
  const ended = await run("mixed", { ...load, DURATION: "2s" });
  const times = (level: string) =>
    ended.requests.filter((each) => each.level === level).map(({ scheduledNs = 0 }) => scheduledNs / 1e9);
  const beginS = Math.min(...times("even"));
  const spiky = times("spiky").map((s) => s - beginS);
  assert.equal(spiky.length, 45, "10/s for 1.5 s and 60/s for 0.5 s");
  // Each class begins with its own first VU, within some ms.
  const inSpike = spiky.filter((s) => s % 1 > 0.7 || s % 1 < 0.05).length;
  assert.ok(inSpike >= 29 && inSpike <= 34, `${inSpike} of 45 in or at the spikes: ${spiky.map((s) => s.toFixed(2))}`);
  assert.equal(times("early").length, 20, "it ends before the others");
  assert.equal(times("even").length, 20);
  const sha256 = (name: string) =>
    createHash("sha256")
      .update(texts[name] ?? "")
      .digest("hex");
  const { digests = {} } = ended.summary as { digests?: Record<string, string> };
  assert.equal(digests["early.RATE_FILE"], sha256(rates as string));
  assert.equal(digests["early.DATASET"], sha256(prompts as string));
  assert.deepEqual(Object.keys(digests).sort(), ["MIX", "early.DATASET", "early.RATE_FILE"]);
  const short = await run("mixed", { ...load, DURATION: "500ms" });
  assert.equal(short.code, 104);
  assert.match(short.stderr, /class early: rateFile lasts 1 s, and the mix DURATION=0.5s/);
});

const refused: [string, RegExp][] = [
  ['{"classes": []}', /classes is no list of classes/],
  ['{"classes": [{"name": "a", "rate": 1}], "x": 1}', /x is not known; the file has classes alone/],
  ['{"classes": [{"name": "a"}]}', /class a: it has one of share, rate, concurrency, pattern, rateFile/],
  [
    '{"classes": [{"name": "a", "rate": 1}, {"name": "a", "rate": 1}]}',
    /class 2 has the name \\"a\\"; it is 1 to 40 letters/,
  ],
  ['{"classes": [{"name": "a", "share": 1}]}', /class a: a share is one of RATE/],
  ['{"classes": [{"name": "a", "rate": 1, "slo": {"ttf": 1}}]}', /class a: slo has ttf/],
  ['{"classes": [{"name": "a", "rate": 1, "thresholds": {"llm_ttft": "p(99)"}}]}', /class a: .*llm_ttft/],
  ['{"classes": [{"name": "a", "rate": 1, "settings": {"BASE_URL": "x"}}]}', /class a: BASE_URL=x is not an address/],
  // A key in a file of classes would be read by whoever reads the load.
  ['{"classes": [{"name": "a", "rate": 1, "settings": {"API_KEY": "x"}}]}', /class a: settings has API_KEY/],
  [
    '{"classes": [{"name": "a", "rate": 1, "settings": {"OUTPUT_TOKENS": "many"}}]}',
    /class a: OUTPUT_TOKENS=many is not/,
  ],
  ['{"classes": [{"name": "a", "rate": 1, "pattern": "sine:1:2:1s"}]}', /class a: it has one of share, rate/],
  ['{"classes": [{"name": "a", "pattern": "tide:1:2:1s"}]}', /class a: PATTERN=tide:1:2:1s is not sine/],
  ['{"classes": [{"name": "a", "rate": 1, "speed": 1}]}', /class a: speed is not known/],
];
test("the warm-up of a mix is a duration, and one that counts requests is refused", { timeout: 60_000 }, async () => {
  const settings = { BASE_URL: "http://127.0.0.1:1/v1", MIX: mix, RATE: 16, DURATION: "1s" };
  const ended = await run("mixed", { ...settings, WARMUP: 5 });
  assert.equal(ended.code, 104, ended.stdout + ended.stderr);
  assert.match(ended.stderr, /WARMUP counts requests; the warm-up of a mix is a duration/);
});

test("a mix that is wrong is refused before any load, with the class and the field", { timeout: 60_000 }, async () => {
  await Promise.all(
    refused.map(async ([text, says]) => {
      const file = path.join(scratchDir(), "mix.json");
      writeFileSync(file, text);
      const ended = await run("mixed", { BASE_URL: "http://127.0.0.1:9/v1", MIX: file, DURATION: "1s" });
      assert.equal(ended.code, 104, text + ended.stdout + ended.stderr);
      assert.match(ended.stderr, says);
    }),
  );
});
