/** Settings on their way through a real run: used as they were meant, and secrets kept. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { assertGatesFailed, type RunSettings, run } from "./support/run";
import { scratchDir } from "./support/scratch";
import { serverFor } from "./support/simulated";

const small: RunSettings = { CONCURRENCY: "1,2", REQUESTS: 4, OUTPUT_TOKENS: 4, INPUT_TOKENS: 16, THRESHOLDS: "none" };

test("a profile of the user's own gates, each limit for each level", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const profile = path.join(scratchDir(), "profile.json");
  writeFileSync(
    profile,
    '{"minRequests": 5, "llm_itl_p99": "value<0.001", "llm_output_throughput": "value>1000000000"}',
  );
  const ended = await run("concurrency-sweep", { ...small, BASE_URL, THRESHOLDS: profile });
  assertGatesFailed(ended);
  const { stdout } = ended;
  for (const level of ["c1", "c2"]) {
    for (const line of [
      `FAIL llm_requests{level:${level}} count 4 requests, limit >= 5 requests`,
      `FAIL llm_itl_p99{level:${level}} value `,
      `FAIL llm_output_throughput{level:${level}} value `,
    ]) {
      assert.ok(stdout.includes(line), `${line}\n${stdout}`);
    }
  }
});

test("a profile with a limit that k6 could not read is refused before any load", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const profile = path.join(scratchDir(), "profile.json");
  writeFileSync(profile, '{"llm_ttft": "p95 < 1s"}');
  const { code, stderr, requests } = await run("concurrency-sweep", { ...small, BASE_URL, THRESHOLDS: profile });
  assert.equal(code, 104);
  assert.match(stderr, /THRESHOLDS=\S+ cannot be used: llm_ttft: \\?"p95 < 1s\\?" is not a threshold/);
  assert.equal(requests.length, 0);
});

test("a server without models asks for MODEL instead of guessing", async (t) => {
  const BASE_URL = `${(await serverFor(t)).baseUrl}/nothing`;
  const { code, stderr, requests } = await run("concurrency-sweep", { ...small, BASE_URL });
  assert.notEqual(code, 0);
  assert.match(stderr, /lists no model \(HTTP 404\); set MODEL/);
  assert.equal(requests.length, 0);
});

test("a name that is no setting is refused with the one that was meant", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const { code, stderr, requests } = await run("concurrency-sweep", { ...small, BASE_URL, SLO_TTTF: 5 });
  assert.equal(code, 104, stderr);
  assert.match(stderr, /TOKENCLOCK_SLO_TTTF is not a setting; did you mean SLO_TTFT\?/);
  assert.equal(requests.length, 0);
});

test("a key is in nothing that a run writes or prints", async (t) => {
  const { baseUrl: BASE_URL } = await serverFor(t);
  const secret = "sk-test-5f2c";
  const HEADERS = `{"X-Team": "${secret}"}`;
  const ended = await run("concurrency-sweep", { ...small, BASE_URL, API_KEY: secret, HEADERS });
  assert.equal(ended.code, 0, ended.stderr);
  assert.ok(!(ended.stdout + ended.stderr).includes(secret));
  const files = readdirSync(ended.dir);
  assert.ok(files.includes("records.ndjson.gz") && files.includes("config.json"), String(files));
  for (const file of files) {
    const bytes = readFileSync(path.join(ended.dir, file));
    assert.ok(!(file.endsWith(".gz") ? gunzipSync(bytes) : bytes).includes(secret), file);
  }
});
