import assert from "node:assert/strict";
import { test } from "node:test";
import { capacityGates, thresholds } from "./gates";

const levels = [{ name: "c1" }, { name: "c8" }];

test("every level has a floor of requests and a failure gate, whatever else is set", () => {
  const gates = thresholds({ profile: "smoke", SLO_PERCENTILE: 95 }, levels);
  for (const { name } of levels) {
    assert.deepEqual(gates[`llm_requests{level:${name},phase:steady}`], ["count>=1"]);
    assert.deepEqual(gates[`llm_request_failed{level:${name},phase:steady}`], ["rate<=0"]);
  }
  assert.deepEqual(gates.llm_client_bound, ["value<1"]);
});

test("an SLO is gated at SLO_PERCENTILE in every level, beside the profile's own limit on that metric", () => {
  const gates = thresholds({ profile: "interactive", SLO_TTFT: 200, SLO_PERCENTILE: 99 }, levels);
  assert.deepEqual(gates["llm_ttft{level:c8,phase:steady}"], ["p(99)<200", "p(95)<450", "p(99)<1000"]);
});

test("an SLO of a class that names its percentile is gated at that one, and only there", () => {
  const labels = { ownGate: 1, sloTtftMs: 300, sloTpotMs: 40, limits: "llm_ttft p(90)<300; llm_tpot p(90)<50" };
  const gates = thresholds({ profile: "none", SLO_PERCENTILE: 99 }, [{ name: "chat", labels }]);
  assert.deepEqual(gates["llm_ttft{level:chat,phase:steady}"], ["p(90)<300"]);
  assert.deepEqual(
    gates["llm_tpot{level:chat,phase:steady}"],
    ["p(99)<40", "p(90)<50"],
    "another limit is another one",
  );
});

test("gauges exist once a level, so that their gates name no phase", () => {
  const gates = thresholds({ profile: "interactive", SLO_PERCENTILE: 95 }, levels);
  assert.deepEqual(gates["llm_itl_p99{level:c1}"], ["value<100"]);
  assert.equal(gates["llm_itl_p99{level:c1,phase:steady}"], undefined);
});

test("with no profile the SLOs still gate, and still not on nothing", () => {
  const gates = thresholds({ profile: "none", SLO_E2E: 1000, SLO_PERCENTILE: 95 }, [{ name: "c1" }]);
  assert.deepEqual(gates, {
    llm_client_bound: ["value<1"],
    llm_cache_bound: ["value<1"],
    dropped_iterations: ["count<1"],
    "llm_requests{level:c1,phase:steady}": ["count>=1"],
    "llm_e2e_latency{level:c1,phase:steady}": ["p(95)<1000"],
    "llm_samples{level:c1,metric:llm_e2e_latency}": ["value>=1"],
    "llm_request_failed{level:c1,phase:steady}": ["rate<=0"],
  });
});

test("with no profile and no SLO there is no gate", () => {
  assert.deepEqual(thresholds({ profile: "none", SLO_PERCENTILE: 95 }, levels), {});
});

test("a user's profile is used as it is", () => {
  const profile = { minRequests: 5, maxFailureShare: 0.1, limits: { llm_tpot: ["avg<30"] } };
  const gates = thresholds({ profile, SLO_PERCENTILE: 95 }, [{ name: "c1" }]);
  assert.deepEqual(gates["llm_requests{level:c1,phase:steady}"], ["count>=5"]);
  assert.deepEqual(gates["llm_request_failed{level:c1,phase:steady}"], ["rate<=0.1"]);
  assert.deepEqual(gates["llm_tpot{level:c1,phase:steady}"], ["avg<30"]);
});

test("a batch cannot have more requests than its size", () => {
  const gates = thresholds({ profile: "interactive", SLO_PERCENTILE: 95 }, [{ name: "b4", batchSize: 4 }]);
  assert.deepEqual(gates["llm_requests{level:b4,phase:steady}"], ["count>=4"]);
});

test("every limit that k6 takes for passed on nothing travels with a count of that metric's own samples", () => {
  const limits = {
    llm_ttfo: ["p(95)<1"],
    llm_itl_p99: ["value<1"],
    llm_goodput: ["rate>0.9"],
    llm_failures: ["count<1"],
  };
  const gates = thresholds({ profile: { minRequests: 5, maxFailureShare: 1, limits }, SLO_PERCENTILE: 95 }, levels);
  for (const { name } of levels) {
    for (const metric of ["llm_ttfo", "llm_itl_p99", "llm_goodput"]) {
      assert.deepEqual(gates[`llm_samples{level:${name},metric:${metric}}`], ["value>=5"], metric);
    }
    // No failure is no want of samples, and the requests are counted by themselves.
    assert.equal(gates[`llm_samples{level:${name},metric:llm_failures}`], undefined);
    assert.equal(gates[`llm_samples{level:${name},metric:llm_request_failed}`], undefined);
  }
});

test("of the levels, one of single tokens is not held to a figure between tokens; where all are, the gate fails", () => {
  const one = { name: "prefill", outputTokens: 1 };
  const config = { profile: "none", SLO_TTFT: 9, SLO_TPOT: 9, SLO_PERCENTILE: 95 } as const;
  const both = thresholds(config, [{ name: "full" }, one]);
  assert.ok(both["llm_tpot{level:full,phase:steady}"] && both["llm_ttft{level:prefill,phase:steady}"]);
  assert.equal(both["llm_tpot{level:prefill,phase:steady}"], undefined);
  assert.equal(both["llm_samples{level:prefill,metric:llm_tpot}"], undefined);
  assert.deepEqual(thresholds(config, [one])["llm_samples{level:prefill,metric:llm_tpot}"], ["value>=1"]);
});

test("a search for capacity is gated by its result alone, and fails without one", () => {
  const limits = { llm_ttft: ["p(99)<100"], llm_capacity: ["value>=50"] };
  const profile = { description: "", minRequests: 20, maxFailureShare: 0, limits };
  assert.deepEqual(capacityGates({ profile, SLO_TTFT: 100, SLO_PERCENTILE: 95 }).thresholds, {
    llm_client_bound: ["value<1"],
    llm_cache_bound: ["value<1"],
    llm_capacity: ["value>0", "value>=50"],
  });
});

test("a smoke run has no limit on how its client measured, and the profile of that name has", () => {
  const of = (SMOKE: boolean) =>
    Object.keys(thresholds({ profile: "smoke", SLO_PERCENTILE: 95, SMOKE }, [{ name: "c1" }]));
  const bounds = ["llm_client_bound", "llm_cache_bound"];
  assert.deepEqual(
    of(false).filter((name) => !of(true).includes(name)),
    bounds,
  );
  assert.ok(of(true).includes("llm_request_failed{level:c1,phase:steady}"), of(true).join());
});
