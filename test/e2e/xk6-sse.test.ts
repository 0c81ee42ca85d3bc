/** The bundles for a stock k6 with xk6-sse, on the built k6, whose k6/x/sse has the same functions: what docs/xk6-sse.md says of them. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { distDir } from "../../build/paths";
import type { Summary } from "../../lib/figures/level-summary";
import { k6Environment } from "../../run/simulator";
import { startChild } from "../support/child";
import { k6Binary } from "../support/run";
import { scratchDir } from "../support/scratch";
import { type SimulatedServer, startServer } from "../support/simulated";

let server: SimulatedServer;
before(async () => {
  server = await startServer("--ttft", "30ms", "--itl", "5ms");
});
after(() => server.stop());

/** Files beside which the user runs k6: paths in settings are taken from there. */
const files = {
  "profile.json": JSON.stringify({ llm_ttft: ["p(95)<5000"], llm_request_failed: ["rate<0.5"] }),
  "rows.jsonl": ["one", "two", "three"].map((prompt) => JSON.stringify({ prompt })).join("\n"),
};

async function runSse(scenario: string, settings: Readonly<Record<string, string | number>>) {
  const dir = scratchDir();
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(dir, name), text);
  const given = { BASE_URL: server.baseUrl, TIMEOUT: "1s", RESULTS: dir, ...settings };
  const options = Object.entries(given).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  const bundle = path.join(distDir, "xk6-sse", `${scenario}.js`);
  const child = startChild(k6Binary(), ["run", "--quiet", "--no-color", ...options, bundle], {
    ...{ cwd: dir, env: k6Environment({ PWD: dir }), timeoutMs: 90_000 },
  });
  const { code, stdout, stderr } = await child.ended;
  const summary = () => JSON.parse(readFileSync(path.join(dir, "summary.json"), "utf8")) as Summary;
  return { code, stdout, stderr, summary };
}

const loads: { scenario: string; settings: Record<string, string | number>; levels: string[] }[] = [
  {
    scenario: "concurrency-sweep",
    settings: {
      CONCURRENCY: "1,2",
      DURATION: "1s",
      OUTPUT_TOKENS: 4,
      DATASET: "rows.jsonl",
      THRESHOLDS: "profile.json",
    },
    levels: ["c1", "c2"],
  },
  {
    scenario: "arrival-rate-ramp",
    settings: { RATE: 20, DURATION: "2s", OUTPUT_TOKENS: 4, THRESHOLDS: "profile.json" },
    levels: ["r20"],
  },
  {
    scenario: "speed-generation",
    settings: { CONCURRENCY: "1,2", DURATION: "1s", THRESHOLDS: "none" },
    levels: ["c1", "c2"],
  },
];

for (const { scenario, settings, levels } of loads) {
  test(`dist/xk6-sse/${scenario}.js measures and counts what the server sent`, { timeout: 120_000 }, async () => {
    const { code, stdout, stderr, summary } = await runSse(scenario, settings);
    assert.equal(code, 0, stdout + stderr);
    const { verdict, levels: measured, config, total } = summary();
    assert.equal(verdict.validity, "UNJUDGED", stdout);
    assert.deepEqual(
      measured.map(({ name }) => name),
      levels,
    );
    // setup() found the model, and handleSummary says it of the settings that it shows.
    assert.equal(config.MODEL, "simulated");
    assert.equal(config.BASE_URL, server.baseUrl);
    assert.ok(total.completed >= 3, stdout);
    for (const level of measured) {
      assert.equal(level.failed, 0, stdout);
      assert.ok((level.ttftMs?.p50 ?? 0) >= 30, `TTFT ${level.ttftMs?.p50} ms`);
    }
  });
}

test("a profile of one's own that is violated ends a run of dist/xk6-sse/ with k6's exit code 99", async () => {
  const dir = scratchDir();
  const profile = path.join(dir, "strict.json");
  writeFileSync(profile, JSON.stringify({ llm_ttft: ["p(95)<1"] }));
  const settings = { CONCURRENCY: 1, DURATION: "1s", OUTPUT_TOKENS: 4, THRESHOLDS: profile };
  const { code, stdout, stderr } = await runSse("concurrency-sweep", settings);
  assert.equal(code, 99, stdout + stderr);
});
