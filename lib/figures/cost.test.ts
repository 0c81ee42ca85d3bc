import assert from "node:assert/strict";
import test from "node:test";
import { withCosts } from "./computed-gauges";
import { costOf } from "./cost";
import type { RunReport } from "./level-summary";

const level = {
  requests: 120,
  completed: 100,
  inputTokens: 200_000,
  outputTokens: 50_000,
  tokenSources: { usage: 100 },
  durationS: 50,
  requestThroughput: 2,
  outputThroughput: 1000,
};

test("tokens cost what their kinds cost", () => {
  const prices = { input: 3, output: 15 };
  const cost = costOf(level, prices);
  assert.ok(typeof cost === "object");
  // 0.2 million at 3 and 0.05 million at 15 are 0.60 + 0.75.
  assert.ok(Math.abs(cost.perRequest - 0.0135) < 1e-12);
  assert.ok(Math.abs((cost.perMillionOutputTokens ?? 0) - 27) < 1e-9);
  assert.equal(cost.perGoodRequest, undefined, "without SLOs there is no good request");
  const cached = costOf(
    { ...level, cachedTokens: 100_000, cachedSource: "usage" as const },
    { ...prices, cached: 0.3 },
  );
  // Half the input at a tenth: 0.30 + 0.03 + 0.75.
  assert.ok(typeof cached === "object" && Math.abs(cached.perRequest - 0.0108) < 1e-12);
});

test("a server's hour costs what it gave in it", () => {
  const cost = costOf({ ...level, goodShare: 0.5 }, { hour: 7.2 });
  assert.ok(typeof cost === "object");
  // 0.002 a second: over 2 requests and 1000 tokens.
  assert.ok(Math.abs(cost.perRequest - 0.001) < 1e-12);
  assert.ok(Math.abs((cost.perMillionOutputTokens ?? 0) - 2) < 1e-9);
  // 100 completed, of which 60 (half of the 120 sent) met the SLOs.
  assert.ok(Math.abs((cost.perGoodRequest ?? 0) - 0.001 * (100 / 60)) < 1e-12);
  // Of 50,000 tokens 20,000 were in such requests: 2 dollars a million become 5.
  const slo = costOf({ ...level, goodShare: 0.5, goodOutputTokens: 20_000 }, { hour: 7.2 });
  assert.ok(typeof slo === "object" && Math.abs((slo.perMillionGoodOutputTokens ?? 0) - 5) < 1e-9);
  const never = costOf({ ...level, goodShare: 0, goodOutputTokens: 0 }, { hour: 7.2 });
  assert.ok(typeof never === "object" && never.perMillionGoodOutputTokens === undefined);
  const none = costOf({ ...level, goodShare: 0 }, { hour: 7.2 });
  assert.ok(typeof none === "object" && none.perGoodRequest === undefined);
});

test("what is not known is reported, and not guessed", () => {
  const prices = { input: 3, output: 15 };
  assert.match(String(costOf({ ...level, completed: 0 }, prices)), /no request completed/);
  assert.match(String(costOf({ ...level, tokenSources: { usage: 99, chunks: 1 } }, prices)), /usage is missing/);
  assert.match(String(costOf({ ...level, inputTokens: 0 }, prices)), /does not report input tokens/);
  assert.match(String(costOf(level, { ...prices, cached: 0.3 })), /does not report cached tokens/);
  const counters = { ...level, cachedTokens: 100_000, cachedSource: "server" as const };
  assert.match(String(costOf(counters, { ...prices, cached: 0.3 })), /does not report cached tokens/);
  assert.match(String(costOf({ ...level, requestThroughput: 0 }, { hour: 1 })), /steady window/);
});

test("an hour of the server is no class's own: of levels that ran at once it is not known, by tokens it is", () => {
  const at = (name: string, windowStartS: number) => ({ ...level, name, windowStartS });
  const report = { levels: [at("chat", 0), at("batch", 1), at("c8", 60)] } as unknown as RunReport;
  const known = (prices: object) => withCosts(report, prices).report.levels.map(({ cost }) => cost !== undefined);
  assert.deepEqual(known({ PRICE_HOUR: 7.2 }), [false, false, true]);
  assert.match(withCosts(report, { PRICE_HOUR: 7.2 }).unknown[0] ?? "", /^the cost of chat is not known: PRICE_HOUR/);
  assert.deepEqual(known({ PRICE_INPUT: 3, PRICE_OUTPUT: 15 }), [true, true, true]);
});
