/** Grafana Cloud k6 with the load sent from here: what it is told of a run, and what stays in RESULTS. Its service is a server of loopback. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { after, before, test } from "node:test";
import { distDir } from "../../build/paths";
import type { Summary } from "../../lib/figures/level-summary";
import { k6Environment } from "../../run/simulator";
import { startChild } from "../support/child";
import { k6Binary, readRecords, requestsIn, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { type SimulatedServer, startServer } from "../support/simulated";

/** One call of the service. */
interface Call {
  readonly call: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

let server: SimulatedServer;
let service: http.Server;
let origin = "";
let calls: Call[] = [];

/** What k6 2.2's client needs in the service's answers. */
function answerOf(call: string): object {
  const at = "2026-01-01T00:00:00Z";
  const none = { push_url: "", ...{ traces_metadata: {}, proto: "http" } };
  if (call.startsWith("POST /cloud/v6/projects/7/load_tests")) {
    return { id: 456, project_id: 7, name: "", baseline_test_run_id: null, created: at, updated: at };
  }
  if (call.endsWith("/start_local_execution")) {
    const metrics = {
      ...{ push_url: `${origin}/push`, push_interval: null, push_concurrency: null, aggregation_period: null },
      ...{ aggregation_wait_period: null, aggregation_min_samples: null, max_samples_per_package: null },
    };
    const logs = {
      ...{ push_url: "", tail_url: "", limit: 1, push_period_seconds: "1s", level: "info" },
      ...{ message_max_size: 9, allowed_labels: [] },
    };
    const files = { push_url: "", screenshots_base_path: "", headers: {}, method: "POST" };
    const secrets = { endpoint: `${origin}/secret`, response_path: "plaintext" };
    return {
      ...{ test_run_id: 123, archive_upload_url: `${origin}/upload`, test_run_details_page_url: `${origin}/runs/123` },
      runtime_config: { metrics, traces: none, files, logs, secrets, test_run_token: "scoped" },
    };
  }
  if (call.startsWith("GET /cloud/v6/test_runs/123")) {
    const status = { type: "initializing", entered: at };
    return {
      ...{ id: 123, test_id: 456, project_id: 7, started_by: null, created: at, ended: null, note: "" },
      ...{ retention_expiry: null, cost: null, status: "initializing", status_details: status, status_history: [] },
      ...{ distribution: [], result: null, result_details: null, options: {}, k6_dependencies: {}, k6_versions: {} },
      ...{ max_vus: null, max_browser_vus: null, estimated_duration: null, execution_duration: 0, is_starred: false },
    };
  }
  return {};
}

before(async () => {
  server = await startServer("--ttft", "10ms", "--itl", "2ms");
  service = http.createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const call = `${request.method} ${request.url}`;
      calls.push({ call, headers: request.headers, body: Buffer.concat(pieces) });
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(answerOf(call)));
    });
  });
  await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(service.address() as AddressInfo).port}`;
});
after(async () => {
  service.close();
  await server.stop();
});

/** The bytes that a block of Snappy stands for (https://github.com/google/snappy/blob/main/format_description.txt). */
function unsnapped(block: Buffer): Buffer {
  let at = 0;
  while ((block[at] ?? 0) >= 0x80) at++; // the length, which follows from the rest
  at++;
  const out: number[] = [];
  const little = (bytes: number) => {
    let value = 0;
    for (let i = 0; i < bytes; i++) value += (block[at++] ?? 0) * 256 ** i;
    return value;
  };
  while (at < block.length) {
    const tag = block[at++] ?? 0;
    const [kind, high] = [tag & 3, tag >> 2];
    if (kind === 0) {
      const length = high < 60 ? high + 1 : little(high - 59) + 1;
      for (let i = 0; i < length; i++) out.push(block[at++] ?? 0);
      continue;
    }
    const length = kind === 1 ? (high & 7) + 4 : high + 1;
    const back = kind === 1 ? ((tag >> 5) << 8) + little(1) : little(kind === 2 ? 2 : 4);
    for (let i = 0; i < length; i++) out.push(out[out.length - back] ?? 0);
  }
  return Buffer.from(out);
}

const settings = { CONCURRENCY: "2", REQUESTS: "8", OUTPUT_TOKENS: "4", MAX_DURATION: "5m" };
const login = { K6_CLOUD_TOKEN: "long-lived", K6_CLOUD_STACK_ID: "1", K6_CLOUD_TRACES_ENABLED: "false" };

/** The names of k6's metrics in what was pushed. */
const pushed = () => {
  const text = calls.filter(({ call }) => call.startsWith("POST /push") || call.startsWith("POST /v2/metrics/"));
  return text.map(({ body }) => unsnapped(body).toString("latin1")).join("\n");
};

test("k6 cloud run --local-execution: the service has the run's name, note, options and metrics, and RESULTS the rest", async () => {
  calls = [];
  const dir = scratchDir();
  const given = { ...settings, BASE_URL: server.baseUrl, RESULTS: dir, DESCRIPTION: "nightly", THRESHOLDS: "none" };
  const { code, stdout, stderr } = await startChild(
    k6Binary(),
    [
      ...["cloud", "run", "--local-execution", "--no-usage-report", "--no-color", "--no-cloud-logs"],
      ...[
        path.join(distDir, "concurrency-sweep.js"),
        ...Object.entries(given).flatMap(([k, v]) => ["-e", `${k}=${v}`]),
      ],
    ],
    {
      cwd: dir,
      env: k6Environment({
        ...{ ...login, K6_CLOUD_HOST: origin, K6_CLOUD_HOST_V6: origin, K6_CLOUD_PROJECT_ID: "7" },
        TOKENCLOCK_API_KEY: "hunter2-of-the-server",
      }),
      timeoutMs: 60_000,
    },
  ).ended;
  assert.equal(code, 0, stdout + stderr);
  const named = (of: RegExp) => calls.find(({ call }) => of.test(call));
  assert.match(named(/projects\/7\/load_tests$/)?.body.toString() ?? "", /name="name"\s+concurrency-sweep\s/);
  const start = JSON.parse(named(/start_local_execution$/)?.body.toString() ?? "{}");
  assert.deepEqual(start.options.cloud, { name: "concurrency-sweep", note: "nightly" });
  assert.equal(start.total_duration, 300, "MAX_DURATION, for k6 does not know how long a level takes");
  assert.equal(start.max_vus, 2);
  assert.match(named(/PUT \/upload/)?.body.toString("latin1") ?? "", /metadata\.json/);
  // A key that came by environment stays here, while the archive has what -e set.
  assert.ok(named(/PUT \/upload/)?.body.includes("nightly"));
  for (const { call, body } of calls) assert.ok(!body.includes("hunter2"), `${call} has the key`);
  assert.ok(named(/test_runs\/123\/notify/), "the service is told of the end");
  const metrics = pushed();
  for (const name of ["llm_ttft", "llm_e2e_latency", "llm_output_throughput", "llm_requests", "http_reqs"]) {
    assert.ok(metrics.includes(name), `${name} was not pushed`);
  }
  assert.ok(metrics.includes("c2"), "levels are tags there");
  const pushes = calls.filter(({ call }) => call === "POST /push");
  assert.deepEqual(new Set(pushes.map(({ headers }) => headers.authorization)), new Set(["Bearer scoped"]));
  // This machine measures: its summary is as ever. Records have no place in such a run, whose only output is the service.
  const summary = JSON.parse(readFileSync(path.join(dir, "summary.json"), "utf8")) as Summary;
  assert.equal(summary.levels[0]?.completed, 8);
  assert.ok(!existsSync(path.join(dir, "records.ndjson.gz")));
  assert.match(stdout, /^stamps: (ring|socket) /m);
});

test("k6 run --out cloud --out records=FILE sends the same, and keeps the records", async () => {
  calls = [];
  const ended = await run(
    "concurrency-sweep",
    { ...settings, BASE_URL: server.baseUrl, THRESHOLDS: "none" },
    { args: ["--out", "cloud"], env: { ...login, K6_CLOUD_HOST: origin, K6_CLOUD_PUSH_REF_ID: "ref" } },
  );
  assert.equal(ended.code, 0, ended.stderr);
  assert.ok(calls.some(({ call }) => call.startsWith("POST /v2/metrics/ref")));
  assert.ok(pushed().includes("llm_ttft"));
  assert.equal(requestsIn(readRecords(path.join(ended.dir, "records.ndjson.gz"))).length, ended.requests.length);
  assert.ok(ended.requests.length >= 8);
});

test("options.cloud is in archives and in k6 inspect, without a description of its own none", async () => {
  const inspect = async (...more: string[]) => {
    const args = ["inspect", path.join(distDir, "batch-burst.js"), "-e", `BASE_URL=${server.baseUrl}`, ...more];
    const { code, stdout, stderr } = await startChild(k6Binary(), args, { env: k6Environment(), timeoutMs: 60_000 })
      .ended;
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout).cloud;
  };
  assert.deepEqual(await inspect(), { name: "batch-burst" });
  assert.deepEqual(await inspect("-e", "DESCRIPTION=nightly"), { name: "batch-burst", note: "nightly" });
});
