/** The dashboard asks for time series that k6's Prometheus output really writes. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { test } from "node:test";
import { dashboardSeries, panelQueries, panelTitles, rateSeconds, trendStats } from "../../build/grafana";
import { root } from "../../build/paths";
import { startChild } from "../support/child";
import { findPrometheus } from "../support/prometheus";
import { run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

/** Decodes a block of snappy (https://github.com/google/snappy/blob/main/format_description.txt), in which writes come. */
function unsnappy(block: Buffer): Buffer {
  let at = 0;
  while ((block[at] ?? 0) >= 0x80) at++;
  at++;
  const out: number[] = [];
  const little = (bytes: number) => {
    const value = block.readUIntLE(at, bytes);
    at += bytes;
    return value;
  };
  while (at < block.length) {
    const tag = little(1);
    if ((tag & 3) === 0) {
      const short = tag >> 2;
      const length = 1 + (short < 60 ? short : little(short - 59));
      out.push(...block.subarray(at, at + length));
      at += length;
      continue;
    }
    const near = (tag & 3) === 1;
    const length = near ? 4 + ((tag >> 2) & 7) : 1 + (tag >> 2);
    const offset = near ? ((tag >> 5) << 8) + little(1) : little((tag & 3) === 2 ? 2 : 4);
    for (let i = 0; i < length; i++) out.push(out[out.length - offset] ?? 0);
  }
  return Buffer.from(out);
}

const alertRules = path.join(root, "docs", "grafana-alerts.yml");

test("every series of the dashboard and of the alert rules is written by a run", { timeout: 60_000 }, async (t) => {
  const written = new Set<string>();
  const prometheus = http.createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const text = unsnappy(Buffer.concat(parts)).toString("latin1");
      for (const [name] of text.matchAll(/k6_\w+/g)) written.add(name);
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => prometheus.listen(0, "127.0.0.1", resolve));
  t.after(() => prometheus.close());
  const server = await startServer("--ttft", "5ms", "--itl", "1ms", "--fault", "status=429,share=0.3");
  t.after(() => server.stop());

  await run(
    "concurrency-sweep",
    { BASE_URL: server.baseUrl, CONCURRENCY: 2, REQUESTS: 40, WARMUP: 0, OUTPUT_TOKENS: 4, SLO_TTFT: 1000 },
    {
      args: ["--out", "experimental-prometheus-rw"],
      env: {
        K6_PROMETHEUS_RW_SERVER_URL: `http://127.0.0.1:${(prometheus.address() as AddressInfo).port}/api/v1/write`,
        K6_PROMETHEUS_RW_TREND_STATS: trendStats.join(","),
      },
    },
  );
  const asked = [...dashboardSeries(), ...(readFileSync(alertRules, "utf8").match(/k6_\w+/g) ?? [])];
  assert.ok(asked.includes("k6_llm_client_bound"), "the alert rules are read");
  const missing = asked.filter((name) => !written.has(name));
  assert.deepEqual(missing, [], `written: ${[...written].sort()}`);
});

const found = findPrometheus();

async function freePort(): Promise<number> {
  const server = http.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface QueryAnswer {
  readonly status: string;
  readonly data: {
    readonly result: { readonly metric: Record<string, string>; readonly values: [number, string][] }[];
  };
}

test("a real Prometheus answers each panel, and a short level's throughput is the summary's", {
  skip: "missing" in found && `needs Prometheus: ${found.missing}`,
  timeout: 60_000,
}, async (t) => {
  assert.ok("path" in found);
  const dir = scratchDir();
  writeFileSync(path.join(dir, "prometheus.yml"), `rule_files: [${JSON.stringify(alertRules)}]\n`);
  const address = `127.0.0.1:${await freePort()}`;
  const prometheus = startChild(
    found.path,
    [
      ...[`--config.file=${path.join(dir, "prometheus.yml")}`, `--storage.tsdb.path=${path.join(dir, "data")}`],
      ...[`--web.listen-address=${address}`, "--web.enable-remote-write-receiver"],
    ],
    { cwd: dir, timeoutMs: 60_000 },
  );
  t.after(async () => {
    prometheus.kill("SIGTERM");
    await prometheus.ended;
  });
  const ready = () =>
    fetch(`http://${address}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await ready())) await new Promise((resolve) => setTimeout(resolve, 50));
  const server = await startServer("--ttft", "10ms", "--itl", "5ms", "--fault", "status=429,share=0.1");
  t.after(() => server.stop());

  const from = Math.floor(Date.now() / 1000) - 2;
  const ended = await run(
    "concurrency-sweep",
    {
      BASE_URL: server.baseUrl,
      CONCURRENCY: 8,
      DURATION: "2s",
      OUTPUT_TOKENS: 16,
      SLO_TTFT: 1000,
      METRICS_URL: "none",
    },
    {
      args: ["--out", "experimental-prometheus-rw", "--tag", "testid=short"],
      env: {
        K6_PROMETHEUS_RW_SERVER_URL: `http://${address}/api/v1/write`,
        K6_PROMETHEUS_RW_TREND_STATS: trendStats.join(","),
      },
    },
  );
  const to = Math.ceil(Date.now() / 1000) + rateSeconds + 2;
  const ask = async (title: string) => {
    const values = { testid: "short", scenario: ".*", level: ".*" };
    const answers = panelQueries(title, values).map(async (query) => {
      const parameters = new URLSearchParams({ query, start: `${from}`, end: `${to}`, step: "1" });
      const answer = (await (await fetch(`http://${address}/api/v1/query_range?${parameters}`)).json()) as QueryAnswer;
      assert.equal(answer.status, "success", `${title}: ${query}: ${JSON.stringify(answer)}`);
      assert.ok(answer.data.result.length > 0, `${title}: no line for ${query}`);
      return answer.data.result;
    });
    return (await Promise.all(answers)).flat();
  };
  for (const title of panelTitles) await ask(title);
  const { data } = (await (await fetch(`http://${address}/api/v1/rules`)).json()) as {
    data: { groups: { rules: { name: string }[] }[] };
  };
  const rules = data.groups.flatMap((group) => group.rules.map(({ name }) => name));
  assert.deepEqual(rules, ["RequestsFail", "SlowFirstToken", "GoodputLow", "ClientBound"]);

  const [level] = ended.summary.levels;
  assert.ok(level, ended.stderr);
  const [throughput] = await ask("Output tokens/s");
  assert.equal(throughput?.metric.level, level.name);
  assert.deepEqual([...new Set(throughput?.values.map(([, value]) => Number(value)))], [level.outputThroughput]);

  // Each point is a mean over rateSeconds, a point a second: the points of a line add up to all that was counted.
  const area = async (title: string) =>
    (await ask(title)).flatMap(({ values }) => values).reduce((sum, [, value]) => sum + Number(value), 0);
  const close = (got: number, want: number) => assert.ok(Math.abs(got - want) < 1e-6 * want, `${got} is not ${want}`);
  close(await area(`Output tokens/s over ${rateSeconds} s`), level.whole.outputTokens);
  close(await area(`Requests/s over ${rateSeconds} s`), level.whole.requests);
  close(await area(`Failures/s by class over ${rateSeconds} s`), level.whole.requests - level.whole.completed);
});
