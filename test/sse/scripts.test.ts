/** Scripts written for xk6-sse, and the example of docs/xk6-sse.md, on the built k6. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { test } from "node:test";
import { ensureK6 } from "../../build/k6";
import { root } from "../../build/paths";
import { k6Environment } from "../../run/simulator";
import { withAttempts } from "../support/attempts";
import { startChild } from "../support/child";
import { near } from "../support/near";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";
import { quantile } from "../support/statistics";

/** One sample as k6's JSON output writes it. */
interface Sample {
  metric: string;
  value: number;
  tags: Record<string, string>;
}

/** Runs a script to its end; its samples by metric, and what it logged. */
async function runScript(script: string, env: Record<string, string>) {
  const out = path.join(scratchDir(), "samples.json");
  const settings = Object.entries(env).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  const k6 = await ensureK6();
  const child = startChild(k6, ["run", "--quiet", "--out", `json=${out}`, ...settings, script], {
    env: k6Environment(),
    timeoutMs: 60_000,
  });
  const { code, stderr } = await child.ended;
  const samples = new Map<string, Sample[]>();
  for (const line of readFileSync(out, "utf8").trim().split("\n")) {
    const { type, metric, data } = JSON.parse(line) as { type: string; metric: string; data: Omit<Sample, "metric"> };
    if (type !== "Point") continue;
    const of = samples.get(metric) ?? [];
    samples.set(metric, of);
    of.push({ ...data, metric });
  }
  const values = (metric: string) => (samples.get(metric) ?? []).map(({ value }) => value);
  return { code, log: stderr, values, samples: (metric: string) => samples.get(metric) ?? [] };
}

const fixtures = path.join(root, "test/sse/fixtures");

test("a subscription that closes after its fifth event", async () => {
  const authorized: string[] = [];
  const server = http.createServer((request, reply) => {
    authorized.push(`${request.url} ${request.headers.authorization} ${request.headers.accept}`);
    reply.writeHead(200, { "content-type": "text/event-stream" });
    for (let id = 0; id < 10; id++) reply.write(`: tick\nid: ${id}\nevent: price\ndata: {"eur": ${id}}\n\n`);
    // Never ended: a client that waits for the end does not come back.
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { code, log, values, samples } = await runScript(path.join(fixtures, "feed.js"), { ORIGIN: origin });
    assert.equal(code, 0, log);
    assert.match(log, /subscribed/);
    assert.match(log, /got id=4 name=price data=\{\\"eur\\": 4\} comment=tick/);
    assert.doesNotMatch(log, /id=5|failed:/);
    assert.deepEqual(authorized, ["/feed Bearer abc text/event-stream"]);
    assert.deepEqual(values("checks"), [1]);
    assert.deepEqual(values("sse_event"), [1, 1, 1, 1, 1]);
    assert.deepEqual(values("http_req_failed"), [0]);
    const [event] = samples("sse_event");
    assert.equal(event?.tags.feed, "prices");
    assert.equal(event?.tags.url, `${origin}/feed`);
    assert.equal(event?.tags.status, "200");
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("an LLM benchmark in llama.cpp's style", async () => {
  const server = await startServer("--ttft", "20ms", "--itl", "2ms");
  try {
    const env = { BASE_URL: server.baseUrl };
    const { code, log, values } = await runScript(path.join(fixtures, "chat-bench.js"), env);
    assert.equal(code, 0, log);
    const { requests } = await server.truth();
    assert.equal(requests.length, 8);
    assert.deepEqual(
      values("completion_tokens"),
      requests.map(() => 20),
    );
    assert.deepEqual(
      values("truncated"),
      requests.map(() => 1),
    );
    for (const second of values("first_token_second")) assert.ok(second >= 0.019, `${second} s to the first event`);
    for (const ms of values("http_req_duration")) assert.ok(ms >= 20 + 19 * 2 - 1, `a stream of ${ms} ms`);
    // A VU connects once.
    assert.equal(values("http_req_connecting").filter((ms) => ms > 0).length, 2);
    assert.ok(values("sse_event").length >= 8 * 20);
  } finally {
    await server.stop();
  }
});

test("a feed that is watched beside other work, and one that is left open", async () => {
  const asked: string[] = [];
  let leftClosed = () => {};
  const closed = new Promise<void>((resolve) => {
    leftClosed = resolve;
  });
  const server = http.createServer((request, reply) => {
    asked.push(request.url ?? "");
    if (asked.length === 1) return reply.writeHead(503).end();
    if (request.url === "/left") request.socket.on("close", leftClosed);
    reply.writeHead(200, { "content-type": "text/event-stream" });
    for (let id = 0; id < 5; id++) reply.write(`: tick\nid: ${id}\nevent: price\ndata: {"eur": ${id}}\n\n`);
    // Never ended.
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { code, log, values, samples } = await runScript(path.join(fixtures, "watch.js"), { ORIGIN: origin });
    assert.equal(code, 0, log);
    assert.deepEqual(asked, ["/feed", "/feed", "/left"]);
    assert.deepEqual(values("checks"), [1, 1, 1, 1, 1], log);
    await closed;
    const feed = (metric: string) => samples(metric).filter(({ tags }) => tags.feed === "prices");
    assert.deepEqual(
      feed("http_req_failed").map(({ value, tags }) => [value, tags.status]),
      [
        [1, "503"],
        [0, "200"],
      ],
    );
    assert.equal(feed("sse_event").length, 5);
    assert.equal(values("iterations").length, 1);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

/** The n-th example of docs/xk6-sse.md, as a file. */
function example(n: number): string {
  const page = readFileSync(path.join(root, "docs/xk6-sse.md"), "utf8");
  const source = [...page.matchAll(/```javascript\n([\s\S]*?)```/g)][n]?.[1];
  assert.ok(source);
  const script = path.join(scratchDir(), "chat.js");
  writeFileSync(script, source);
  return script;
}

test("the example of docs/xk6-sse.md measures what the server sent", async (t) => {
  const script = example(0);
  const server = await startServer("--ttft", "uniform:20ms,60ms", "--itl", "normal:10ms,2ms");
  try {
    await withAttempts(t, async () => {
      await server.reset();
      const { code, log, values } = await runScript(script, { BASE_URL: server.baseUrl });
      assert.equal(code, 0, log);
      assert.deepEqual(values("checks"), Array(16).fill(1));
      const { requests } = await server.truth();
      assert.equal(requests.length, 16);
      // Between the two clock readings of each write lies the moment the bytes left.
      const sentMs = requests.map(({ sendsNs }) => sendsNs.map(([before, after]) => (before + after) / 2e6));
      const ttftMs = requests.map(({ beginNs }, i) => (sentMs[i]?.[0] ?? 0) - beginNs / 1e6);
      const gapsMs = sentMs.flatMap((ms) => ms.slice(1).map((at, i) => at - (ms[i] ?? 0)));
      const gaps = values("gap");
      assert.equal(values("ttft").length, 16);
      assert.equal(gaps.length, gapsMs.length);
      for (const q of [0.5, 0.9]) {
        near(quantile(values("ttft"), q), quantile(ttftMs, q), `TTFT p${q * 100}`, { relative: 0.02, absolute: 0.5 });
        near(quantile(gaps, q), quantile(gapsMs, q), `gap p${q * 100}`, { relative: 0.02, absolute: 0.2 });
      }
    });
  } finally {
    await server.stop();
  }
});

test("the example of openAsync holds two streams on a VU and measures what the server sent", async (t) => {
  const script = example(1);
  const server = await startServer("--ttft", "uniform:20ms,60ms", "--itl", "3ms");
  try {
    await withAttempts(t, async () => {
      await server.reset();
      const { code, log, values } = await runScript(script, { BASE_URL: server.baseUrl });
      assert.equal(code, 0, log);
      const { requests } = await server.truth();
      assert.equal(requests.length, 16);
      const ttftMs = requests.map(({ beginNs, sendsNs: [first] }) => {
        const [before = Number.NaN, after = Number.NaN] = first ?? [];
        return (before + after) / 2e6 - beginNs / 1e6;
      });
      assert.equal(values("ttft").length, 16);
      for (const q of [0.5, 0.9]) {
        near(quantile(values("ttft"), q), quantile(ttftMs, q), `TTFT p${q * 100}`, { relative: 0.02, absolute: 0.5 });
      }
      assert.deepEqual(values("http_req_failed"), Array(16).fill(0));
      // Two streams at once take two connections a VU, which the next two use again.
      assert.equal(values("http_req_connecting").filter((ms) => ms > 0).length, 4);
    });
  } finally {
    await server.stop();
  }
});
