import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { bundleScenarios } from "../../build/bundle";
import { ensureK6 } from "../../build/k6";
import { runCase } from "./bench";
import type { BenchCase, Load } from "./cases";
import { compileUsage, knownClients } from "./clients";

let cache = "";
let k6 = "";
let usage = "";

const skip = process.platform === "win32" && "the benchmark does not run on Windows";

before(async () => {
  if (skip) return;
  cache = mkdtempSync(path.join(os.tmpdir(), "tokenclock-bench-test-"));
  k6 = await ensureK6();
  await bundleScenarios();
  usage = await compileUsage(cache);
});
after(() => rmSync(cache, { recursive: true, force: true }));

function smallCase(load: Load, path: string): BenchCase {
  return {
    name: "small",
    what: "a few requests",
    simulator: ["--ttft", "20ms", "--itl", "5ms"],
    path,
    load,
    quick: load,
    clients: ["tokenclock", "xk6-sse", "sse-scenario", "floor"],
    targets: [
      { what: "CPU", figure: "cpuPerTokenUs", of: "tokenclock", per: "floor", atMost: 1e9, unit: "x" },
      { what: "peer", figure: "cpuS", of: "tokenclock", per: "locust", atMost: 1, unit: "x" },
    ],
  };
}

const loads: [Load, string][] = [
  [{ kind: "closed", streams: 3, requests: 2, tokens: 20, requestS: 0.115 }, "/v1/chat/completions"],
  [{ kind: "vus", streams: 3, requests: 2, tokens: 20, requestS: 0.115 }, "/v1/chat/completions"],
  [{ kind: "batch", streams: 5, requests: 1, tokens: 10, requestS: 0.065 }, "/v1/chat/completions"],
  [{ kind: "start", streams: 8, requests: 1, tokens: 10, requestS: 0.065 }, "/v1/chat/completions"],
  [{ kind: "json", streams: 2, requests: 5, tokens: 1 }, "/tokenizer"],
];
for (const [load, path] of loads) {
  test(`${load.kind}: every client counts what the server sent`, { skip }, async () => {
    const clients = knownClients(cache).filter(
      ({ name }) =>
        !(load.kind === "json" && name === "xk6-sse") && !(load.kind !== "closed" && name === "sse-scenario"),
    );
    const result = await runCase(smallCase(load, path), clients, k6, usage, 1, false);
    const ran = result.runs.map(({ client }) => client);
    assert.ok(ran.includes("tokenclock"), JSON.stringify(result.skipped));
    assert.equal(ran.includes("sse-scenario"), load.kind === "closed", JSON.stringify(result.skipped));
    for (const { client, measured, truth, cost, figures } of result.runs) {
      const requests = load.streams * load.requests;
      assert.equal(cost.code, 0, client);
      assert.equal(measured.failed, 0, client);
      assert.equal(measured.requests, requests, client);
      assert.equal(measured.tokens, requests * load.tokens, client);
      assert.equal(truth.requestCount, requests, client);
      assert.equal(truth.outputTokens, requests * load.tokens, client);
      assert.ok(cost.userS + cost.systemS > 0, client);
      assert.ok((figures.peakMB ?? 0) > 1, client);
      assert.equal(figures.completedShare, 1, client);
      if (load.kind === "json") assert.equal(figures.ttftMeanErrorMs, undefined);
      // A first token before its time would be an invention, on any machine.
      else assert.ok(measured.ttftMs.p50 > 15, client);
    }
    const [judged, peer] = result.verdicts;
    assert.equal(judged?.met, ran.includes("floor") ? true : undefined);
    assert.equal(peer?.met, undefined);
  });
}

test("conversations and a searched rate: the figures that their targets judge", { skip }, async () => {
  const clients = knownClients(cache).filter(({ name }) => name === "tokenclock-scenario");
  const small: Omit<BenchCase, "load" | "quick"> = {
    ...{ name: "small", what: "a few turns", simulator: ["--ttft", "20ms", "--itl", "5ms"] },
    ...{ path: "/v1/chat/completions", clients: ["tokenclock-scenario"], targets: [] },
  };
  const talk: Load = {
    ...{ kind: "sessions", streams: 6, requests: 3, tokens: 4, requestS: 0.035 },
    ...{ beginsPerS: 12, inputTokens: 16, think: "600ms" },
  };
  const talks = await runCase({ ...small, load: talk, quick: talk }, clients, k6, usage, 1, false);
  const [turns] = talks.runs;
  assert.deepEqual(
    [turns?.measured.requests, turns?.figures.unmatched, turns?.figures.cachedWrong, turns?.figures.mostSessions],
    [18, 0, 0, 6],
    JSON.stringify(talks.skipped),
  );
  assert.ok((turns?.figures.leastThinkMs ?? 0) >= 600);
  const rate: Load = { kind: "rate", streams: 0, requests: 1, tokens: 2, requestS: 0.025 };
  const search = { from: 10, least: 5, most: 10, precision: 0.5, trialS: 1, attempts: 3, share: 0.8 };
  const rates = await runCase({ ...small, load: rate, quick: rate, search }, clients, k6, usage, 1, false).catch(
    (error: Error) => error,
  );
  // A busy machine may be valid at no rate, which must be said.
  if (rates instanceof Error) assert.match(rates.message, /is valid at no rate/);
  else {
    const [run] = rates.runs;
    const found = run?.figures.validRate ?? 0;
    assert.ok(found >= 5 && found <= 10);
    assert.equal(run?.load.streams, Math.floor(0.8 * found));
    assert.ok((run?.figures.sentShare ?? 0) > 0);
  }
});
