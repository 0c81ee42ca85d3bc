/** The server's own metrics beside ours: what its pages say in each level's window, joules and dollars a token, and their gates. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { test } from "node:test";
import { gate, gateConfig } from "../../report/cli/gate";
import { readResults } from "../../report/read/read";
import { whenValid } from "../support/attempts";
import { near } from "../support/near";
import { run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

/** What two GPUs of 300 W and 100 W say that have run since the page was first asked for. */
async function gpuPage(): Promise<{ url: string; headers: http.IncomingHttpHeaders[]; close(): void }> {
  const headers: http.IncomingHttpHeaders[] = [];
  const from = performance.now();
  const server = http.createServer((request, response) => {
    headers.push(request.headers);
    const mJ = (watts: number) => 5e9 + watts * (performance.now() - from);
    response.end(`# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0"} 90
DCGM_FI_DEV_GPU_UTIL{gpu="1"} 50
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0"} 310
DCGM_FI_DEV_POWER_USAGE{gpu="1"} 90
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0"} ${mJ(300)}
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="1"} ${mJ(100)}
`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`;
  return { url, headers, close: () => server.close() };
}

test("each level has what the server and its GPUs say of its window, and what that costs", {
  timeout: 60_000,
}, async (t) => {
  const server = await startServer("--ttft", "normal:60ms,5ms", "--itl", "15ms", "--max-num-seqs", "4");
  const gpus = await gpuPage();
  t.after(() => Promise.all([server.stop(), gpus.close()]));
  const profile = path.join(scratchDir(), "costs.json");
  writeFileSync(
    profile,
    JSON.stringify({
      llm_energy_output: "value<1000",
      llm_cost_output: "value<1000000",
      llm_cost_output_slo: "value<0.001",
    }),
  );
  const settings = {
    ...{ BASE_URL: server.baseUrl, API_KEY: "sesame", THRESHOLDS: profile, SLO_TTFT: 10_000, PRICE_HOUR: 3.6 },
    ...{
      METRICS_URL: `${server.origin}/metrics,${gpus.url}`,
      METRICS: "vllm,dcgm,simulate:*",
      METRICS_INTERVAL: "100ms",
    },
    ...{ CONCURRENCY: "2,4", REQUESTS: 40, OUTPUT_TOKENS: 6 },
  };
  const ended = await whenValid(t, () => run("concurrency-sweep", settings));
  if (!ended) return;
  assert.equal(ended.code, 99, ended.stderr);
  const { summary, dir, stdout } = ended;

  for (const [i, concurrency] of [2, 4].entries()) {
    const level = summary.levels[i];
    const said = level?.server;
    assert.ok(level && said, "the level has the server's figures");
    // The next request follows at once, so that nearly always as many run as there are clients.
    near(said.running?.mean, concurrency, "running", { relative: 0.2 });
    assert.equal(said.running?.max, concurrency);
    assert.equal(said.preemptions, 0);
    near(said.gpuUse, 0.7, "GPU use", { relative: 1e-9 });
    near(said.powerW, 400, "the gauges' power", { relative: 1e-9 });
    near(said.energyJ, 400 * level.durationS, "energy", { relative: 0.1 });
    const joules = (400 * level.durationS) / (level.outputThroughput * level.durationS);
    near(said.joulesPerOutputToken, joules, "joules a token", { relative: 0.1 });
    // Its clock runs from the request to the token, ours from the send to the arrival: the way there and back is between them.
    assert.ok(said.ttft && said.itl);
    near(said.ttft.meanMs, level.ttftMs.mean, "TTFT", { absolute: 8 });
    near(said.ttft.outsideMs ?? Number.NaN, level.ttftMs.mean - said.ttft.meanMs, "outside", { absolute: 1e-6 });
    near(said.itl.meanMs, level.itlMs.mean, "ITL", { absolute: 2 });
    near(said.ttft.count, level.requests, "counted", { relative: 0.25 });
    assert.ok(said.ttft.p50Ms && said.ttft.p50Ms.low >= 40 && (said.ttft.p50Ms.high ?? 0) <= 80, "vLLM's buckets");
    assert.equal(said.ttft.p50Agrees, true);
    const steps = said.pages[0]?.["simulate:engine_steps_total"];
    assert.ok(steps === undefined || steps.kind === "counter");
    const tokens = said.pages[0]?.["vllm:generation_tokens_total"];
    assert.ok(tokens?.kind === "counter");
    near(tokens.rate, level.outputThroughput, "tokens a second by both", { relative: 0.15 });

    // A dollar is 1000 s of the server, and every request met its SLO.
    near(level.cost?.perMillionOutputTokens, (0.001 / level.outputThroughput) * 1e6, "cost", { relative: 1e-9 });
    near(level.cost?.perMillionGoodOutputTokens, level.cost?.perMillionOutputTokens ?? 0, "at the SLO", {
      relative: 1e-9,
    });
  }
  const [page, gpu] = summary.serverPages ?? [];
  assert.ok(page && gpu && page.polls >= 8 && gpu.polls >= 8 && page.failed === 0 && gpu.error === "");
  assert.ok(page.cpuShare > 0 && page.pageMs.p50 > 0);
  assert.match(stdout, /^server +running mean, max .*GPU +W +J a token$/m);
  assert.match(stdout, /^by the server's clock +mean ms +ours +outside of it/m);
  assert.match(stdout, /^c4 TTFT +\d/m);
  assert.match(stdout, /\$ a Mtok in SLO/);

  // Only the server's own page may see the key.
  assert.ok(gpus.headers.length > 0 && gpus.headers.every(({ authorization }) => authorization === undefined));

  // k6's thresholds and the gate judge the same gauges: the energy's passes, that of a dollar's thousandth does not.
  const result = (metric: string) =>
    summary.thresholds?.filter((each) => each.metric === metric).map((each) => each.result);
  assert.deepEqual(result("llm_energy_output"), ["passed", "passed"]);
  assert.deepEqual(result("llm_cost_output"), ["passed", "passed"]);
  assert.deepEqual(result("llm_cost_output_slo"), ["violated", "violated"]);
  const results = await readResults(dir);
  const judged = gate(results, gateConfig(results, {}));
  const verdicts = (metric: string) =>
    judged.judgements.filter((each) => each.metric === metric).map((each) => each.verdict);
  assert.deepEqual(verdicts("llm_energy_output"), ["passed", "passed"]);
  assert.deepEqual(verdicts("llm_cost_output_slo"), ["failed", "failed"]);

  const file = JSON.parse(readFileSync(path.join(dir, "server-metrics.json"), "utf8")) as {
    pages: { url: string; values: { metrics: string[]; points: unknown[] }; histograms?: { metrics: string[] } }[];
  };
  assert.equal(file.pages.length, 2);
  assert.ok(file.pages[0]?.values.metrics.includes("vllm:num_requests_running"));
  assert.ok(file.pages[0]?.histograms?.metrics.includes('vllm:time_to_first_token_seconds_bucket{le="0.06"}'));
  assert.ok((file.pages[1]?.values.points.length ?? 0) >= 8);
});

test("what runs in the server is no class's own: it stands once, for all of them", { timeout: 60_000 }, async (t) => {
  const server = await startServer("--ttft", "100ms", "--itl", "10ms", "--max-num-seqs", "8");
  t.after(() => server.stop());
  const file = path.join(scratchDir(), "mix.json");
  const settings = { INPUT_TOKENS: 16, OUTPUT_TOKENS: 20 };
  const classes = [
    { name: "a", concurrency: 3, settings },
    { name: "b", concurrency: 2, settings },
  ];
  writeFileSync(file, JSON.stringify({ classes }));
  const { summary, stdout } = await run("mixed", {
    ...{ BASE_URL: server.baseUrl, MIX: file, DURATION: "3s", THRESHOLDS: "none", METRICS_INTERVAL: "100ms" },
  });
  assert.deepEqual(
    summary.levels.map((level) => [level.name, level.server]),
    [
      ["a", undefined],
      ["b", undefined],
    ],
    stdout,
  );
  assert.equal(summary.server?.running?.max, 5);
  near(summary.server?.running?.mean, 5, "running", { relative: 0.2 });
  const counted = summary.levels.reduce((sum, { requests }) => sum + requests, 0);
  near(summary.server?.ttft?.count, counted, "requests by both", { relative: 0.25 });
  assert.equal(summary.server?.ttft?.ours.count, summary.total.ttftMs.count);
  const [, table = ""] = /^(server +running mean, max.*\n(?:.+\n)+)/m.exec(stdout) ?? [];
  assert.deepEqual(
    table
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => line.split(/ +/)[0]),
    ["together"],
    stdout,
  );
});

test("a gate on energy that nobody tells does not pass, and says why", { timeout: 60_000 }, async (t) => {
  const server = await startServer("--ttft", "5ms", "--itl", "1ms");
  t.after(() => server.stop());
  const profile = path.join(scratchDir(), "energy.json");
  writeFileSync(profile, JSON.stringify({ llm_energy_output: "value<1000" }));
  const ended = await run("concurrency-sweep", {
    ...{ BASE_URL: server.baseUrl, THRESHOLDS: profile, POWER_METRIC: "rack_power_watts" },
    ...{ CONCURRENCY: 1, REQUESTS: 10, OUTPUT_TOKENS: 4 },
  });
  assert.equal(ended.code, 98, ended.stderr);
  assert.match(
    ended.stdout,
    /^note: the energy is not known: no page of METRICS_URL has rack_power_watts as a gauge of power/m,
  );
  assert.match(ended.stdout, /FAIL .*llm_energy_output\{level:c1\} samples 0/);
});
