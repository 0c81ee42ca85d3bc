/** LIVE: a line a second on standard error, the last of which says what the summary says. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { run } from "../support/run";
import { type SimulatedServer, startServer } from "../support/simulated";

let server: SimulatedServer;
before(async () => {
  server = await startServer("--ttft", "20ms", "--itl", "5ms");
});
after(() => server.stop());

const liveLines = (stderr: string) => stderr.split("\n").filter((line) => line.includes("live: "));
const countOf = (line: string, name: string) => Number(new RegExp(`\\b${name} (\\d+)`).exec(line)?.[1]);

test("LIVE=true: lines while the load runs, the last with the summary's counts", async () => {
  const settings = { BASE_URL: server.baseUrl, LIVE: "true", CONCURRENCY: "2", DURATION: "2500ms", OUTPUT_TOKENS: "8" };
  const ended = await run("concurrency-sweep", settings);
  // A busy machine makes the run not valid, which is no matter of its lines.
  assert.equal(ended.code, ended.summary.verdict.validity === "CLIENT-BOUND" ? 98 : 0, ended.stderr);
  const lines = liveLines(ended.stderr);
  assert.ok(lines.length >= 2, ended.stderr);
  assert.match(lines.at(-2) ?? "", /in flight \d+, completed [1-9]\d*, failed 0; [1-9]\d* tok\/s/);
  const last = lines.at(-1) ?? "";
  assert.match(last, /; over/);
  const { total } = ended.summary;
  assert.equal(countOf(last, "sent"), total.requests);
  assert.equal(countOf(last, "scheduled"), total.requests);
  assert.equal(countOf(last, "completed"), total.completed);
  assert.equal(countOf(last, "failed"), total.requests - total.completed);
  assert.ok(total.completed > 0);
});

test("LIVE=true: batches and failures count as in the summary", async (t) => {
  const failing = await startServer("--fault", "status=500");
  t.after(failing.stop);
  const ended = await run("batch-burst", { BASE_URL: failing.baseUrl, LIVE: "true", BATCH_SIZES: "4", RUNS: "2" });
  const last = liveLines(ended.stderr).at(-1) ?? "";
  const { total } = ended.summary;
  assert.ok(total.requests >= 8, ended.stderr);
  assert.equal(countOf(last, "sent"), total.requests, last);
  assert.equal(countOf(last, "scheduled"), total.requests, last);
  assert.equal(countOf(last, "completed"), 0);
  assert.equal(countOf(last, "failed"), total.requests);
});

test("LIVE is auto: no line where standard error is no terminal", async () => {
  const ended = await run("concurrency-sweep", {
    BASE_URL: server.baseUrl,
    CONCURRENCY: "1",
    REQUESTS: "2",
    OUTPUT_TOKENS: "2",
  });
  assert.equal(ended.code, 0, ended.stderr);
  assert.doesNotMatch(ended.stderr, /live: /);
});
