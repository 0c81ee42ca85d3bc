/**
 * What few VUs need, loaded when it is called for. Each VU has a JavaScript engine of its own, where a function or an object at
 * the top of a bundle takes some 0.7 kB: the table of settings alone would take 70 kB in each of thousands of VUs. A file that
 * is loaded here is compiled with a copy of all that it imports, so it may neither need k6 nor keep state (build/bundle.ts).
 */
import type Papa from "papaparse";

/** For the first VU: settings, thresholds, files. */
export function beforeLoad(): typeof import("./before-load") {
  return require("./before-load");
}

/** For setup(), teardown() and handleSummary(): the server's model, tokenizer and pages of metrics. */
export function aroundLoad(): typeof import("./around-load") {
  return require("./around-load");
}

/** For handleSummary of every test: the common table, the verdict and the files. */
export function afterLoad(): typeof import("./after-load") {
  return require("./after-load");
}

// Below is what one load shape alone needs: a bundle has what its own shape calls, and nothing of the others.

/** For what concurrency-sweep shows of API=json. */
export function requestBenchmark(): typeof import("./figures/request-benchmark") {
  return require("./figures/request-benchmark");
}

/** For what prefill-decode shows. */
export function phaseSplit(): typeof import("./figures/phase-split") {
  return require("./figures/phase-split");
}

/** For what a load of arrivals or of changing users shows. */
export function ramp(): typeof import("./figures/ramp") {
  return require("./figures/ramp");
}

/** For what batches show. */
export function burst(): typeof import("./figures/burst") {
  return require("./figures/burst");
}

/** For what prompt-ingestion shows. */
export function ingestion(): typeof import("./figures/ingestion") {
  return require("./figures/ingestion");
}

/** For what endpoints-curve shows. */
export function curve(): typeof import("./figures/curve") {
  return require("./figures/curve");
}

/** For what a soak shows. */
export function drift(): typeof import("./figures/drift") {
  return require("./figures/drift");
}

/** For what a search for capacity shows. */
export function capacityLines(): typeof import("./figures/capacity-lines") {
  return require("./figures/capacity-lines");
}

/** For what conversations show. */
export function sessionTables(): typeof import("./figures/session-tables") {
  return require("./figures/session-tables");
}

/** For what classes show that run at once. */
export function together(): typeof import("./figures/together") {
  return require("./figures/together");
}

/** For the VU that reads the classes of a mix. */
export function mixReader(): typeof import("./settings/mix") {
  return require("./settings/mix");
}

/** For loads of arrivals, whose rate may change over time. */
export function rates(): typeof import("./load/stages") {
  return require("./load/stages");
}

/** For the APIs whose messages differ from those of OpenAI's chat. */
export function messageStyles(): typeof import("./wire/message-styles") {
  return require("./wire/message-styles");
}

/** For the VUs of an API that is read by its description. */
export function wireReader(): typeof import("./wire/wire") {
  return require("./wire/wire");
}

/** For the VUs that send requests over xk6-sse. */
export function eventReader(): typeof import("./wire/stream-event") {
  return require("./wire/stream-event");
}

/** For the VUs of conversations. */
export function sessionPlanner(): typeof import("./workload/planner") {
  return require("./workload/planner");
}

/** For the VUs whose prompts share several prefixes. */
export function draws(): typeof import("./workload/draws") {
  return require("./workload/draws");
}

/** For the VU that searches for a capacity. */
export function prober(): typeof import("./load/prober") {
  return require("./load/prober");
}

/** For the VU that reads a trace, beside before-load.ts. */
export function traceRows(): typeof import("./workload/formats/trace-rows") {
  return require("./workload/formats/trace-rows");
}

/** For the VU that reads a file of conversations, beside before-load.ts. */
export function sessionRows(): typeof import("./workload/formats/sessions") {
  return require("./workload/formats/sessions");
}

/** For the VU that reads a table, in before-load.ts. */
export function tableParser(): Pick<typeof Papa, "Parser"> {
  return require("papaparse");
}
