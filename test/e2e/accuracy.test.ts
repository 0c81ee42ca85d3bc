/**
 * What the client measures against what the simulated server really did. Both stamp on one machine; the server's truth is
 * the kernel's time of each event's last packet as it left (else the clock around its write), and of the request's last segment.
 *
 * The machine may be busy, so single times can be off by what its scheduler does; what is asserted is that such times are
 * few and that figures do not show them, in every run of which the client says that it was fit to measure. A client that stamps late, counts wrong or mixes up chunks fails all of it.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Summary } from "../../lib/figures/level-summary";
import { whenValid } from "../support/attempts";
import { describeErrors, errorsOf, type Pair, pair, shareAbove, trueItlMs } from "../support/error";
import { near } from "../support/near";
import { assertEndedWell, type RunSettings, run } from "../support/run";
import { startServer } from "../support/simulated";
import { largest, mean, quantile } from "../support/statistics";

/** What the README states: at most this share of TTFTs and gaps is off by more than a millisecond ... */
const largestShareBeyond1Ms = 0.05;
/** ... the median is off by less than this ... */
const largestMedianMs = 0.1;
/** ... and none by more than a scheduler's stall. */
const largestErrorMs = 100;
/** Percentiles of ITL: 2 % plus 0.2 ms. */
const itlAllowance = { relative: 0.02, absolute: 0.2 };

interface Case {
  name: string;
  flags: string[];
  settings: RunSettings;
  env?: NodeJS.ProcessEnv;
  /** What else must hold. */
  also?: (pairs: readonly Pair[], summary: Summary) => void;
}

const paced = ["--ttft", "uniform:20ms,60ms", "--itl", "normal:10ms,2ms"];
const small: RunSettings = { CONCURRENCY: 16, REQUESTS: 64, OUTPUT_TOKENS: 48 };

const cases: Case[] = [
  {
    name: "chat at 16 and 64 streams",
    flags: paced,
    settings: { CONCURRENCY: "16,64", REQUESTS: 128, OUTPUT_TOKENS: 50 },
  },
  { name: "completions", flags: paced, settings: { ...small, API: "completions" } },
  {
    name: "TLS",
    flags: [...paced, "--tls"],
    settings: small,
    env: { K6_INSECURE_SKIP_TLS_VERIFY: "true" },
  },
  {
    name: "four tokens a chunk, counted by the final usage alone",
    flags: [...paced, "--fault", "tokensPerChunk=4"],
    settings: small,
  },
  {
    name: "four tokens a chunk, the last one shorter, counted by continuous usage",
    flags: [...paced, "--fault", "tokensPerChunk=4"],
    settings: { ...small, OUTPUT_TOKENS: 50, CONTINUOUS_USAGE: "true" },
  },
  {
    name: "reasoning first",
    flags: [...paced, "--reasoning", "12"],
    settings: small,
    // Reasoning is output, but the time to first output counts from what comes after it.
    also: (pairs, { levels }) => {
      const steady = pairs.filter(({ request }) => request.phase === "steady");
      const ttfoMs = steady.map(({ truth }) => ((truth.sendsNs[12]?.[0] ?? 0) - truth.beginNs) / 1e6);
      near(levels[0]?.ttfoMs.p50, quantile(ttfoMs, 0.5), "TTFO p50", { relative: 0.02, absolute: 0.2 });
      near(levels[0]?.ttfoMs.mean, mean(ttfoMs), "mean TTFO", { relative: 0.02, absolute: 0.2 });
      assert.ok((levels[0]?.ttfoMs.min ?? 0) > (levels[0]?.ttftMs.min ?? 0) + 50, "twelve tokens later than TTFT");
    },
  },
  {
    name: "four events a write",
    flags: [...paced, "--fault", "eventsPerChunk=4"],
    settings: small,
    also: (pairs) => {
      for (const { request, truth } of pairs) {
        const shared = truth.sendsNs.filter(([atNs], i) => atNs === truth.sendsNs[i - 1]?.[0]);
        assert.equal(shared.length, 35, "of four events, the first of which is the role, three leave with another");
        assert.equal(request.coalesced, shared.length, "chunks that shared a receive");
      }
    },
  },
  {
    name: "CR LF, comments and empty events between",
    flags: [...paced, "--fault", "lineEnd=crlf,comments=3,emptyEvents=5"],
    settings: small,
  },
];

/** One run of a case, and what the server says of it. */
async function start({ flags, settings, env }: Case) {
  const server = await startServer(...flags);
  try {
    // No gates: what the self-check says of the run decides below whether it must be true.
    const ended = await run(
      "concurrency-sweep",
      { ...settings, THRESHOLDS: "none", BASE_URL: server.baseUrl },
      { env },
    );
    assertEndedWell(ended);
    return { ...ended, truth: await server.truth() };
  } finally {
    await server.stop();
  }
}

/** Holds a run that calls itself valid against the truth; what is wrong is thrown. */
function judge(
  t: TestContext,
  { settings, also }: Case,
  { summary, requests, truth }: Awaited<ReturnType<typeof start>>,
): void {
  assert.equal(truth.requestCount, requests.length, "every request is in the records, and no other was sent");
  assert.ok(truth.exact && truth.liveCount === 0);

  const pairs = pair(requests, truth.requests);
  const errors = errorsOf(pairs);
  t.diagnostic(describeErrors("TTFT", errors.ttftMs));
  t.diagnostic(describeErrors("gaps", errors.gapMs));
  for (const [what, ms] of Object.entries(errors) as [string, number[]][]) {
    const beyond = shareAbove(ms, 1);
    assert.ok(beyond <= largestShareBeyond1Ms, `${what}: ${100 * beyond} % are off by over 1 ms`);
    assert.ok(quantile(ms, 0.5) <= largestMedianMs, `${what}: the median error is ${quantile(ms, 0.5)} ms`);
    assert.ok(largest(ms) <= largestErrorMs, `${what}: one is off by ${largest(ms)} ms`);
  }
  for (const level of summary.levels) {
    const steady = pairs.filter(({ request }) => request.level === level.name && request.phase === "steady");
    assert.equal(level.requests, Number(settings.REQUESTS));
    assert.equal(level.outputTokens, Number(settings.REQUESTS) * Number(settings.OUTPUT_TOKENS));
    const itlMs = trueItlMs(steady);
    for (const percentile of ["p50", "p90", "p99"] as const) {
      const measuredMs = level.itlMs[percentile];
      const trueMs = quantile(itlMs, Number(percentile.slice(1)) / 100);
      t.diagnostic(`${level.name}: ITL ${percentile} ${measuredMs.toFixed(3)} ms, true ${trueMs.toFixed(3)} ms`);
      near(measuredMs, trueMs, `${level.name}: ITL ${percentile}`, itlAllowance);
    }
  }
  also?.(pairs, summary);
}

for (const each of cases) {
  test(`times and tokens are the server's: ${each.name}`, { timeout: 120_000 }, async (t) => {
    const ended = await whenValid(t, () => start(each));
    if (ended) judge(t, each, ended);
  });
}
