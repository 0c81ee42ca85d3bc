/** The dashboard asks for time series that k6's Prometheus output really writes. */
import assert from "node:assert/strict";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { dashboardSeries, trendStats } from "../../build/grafana";
import { run } from "../support/run";
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

test("every series of the dashboard is written by a run", { timeout: 60_000 }, async (t) => {
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
  const missing = dashboardSeries().filter((name) => !written.has(name));
  assert.deepEqual(missing, [], `written: ${[...written].sort()}`);
});
