/**
 * What few VUs need, loaded when it is called for. Each VU has a JavaScript engine of its own, where a function or an object at
 * the top of a bundle takes some 0.7 kB: the table of settings alone would take 70 kB in each of thousands of VUs. A file that
 * is loaded here is compiled with a copy of all that it imports, so it may neither need k6 nor keep state (build/bundle.ts).
 */
import type Papa from "papaparse";

/** For the first VU and setup(): settings, thresholds, files, the server's tokenizer. */
export function beforeLoad(): typeof import("./before-load") {
  return require("./before-load");
}

/** For handleSummary: tables, verdict and files. */
export function afterLoad(): typeof import("./after-load") {
  return require("./after-load");
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
export function prefixGroups(): typeof import("./workload/prefix-groups") {
  return require("./workload/prefix-groups");
}

/** For the VU that searches for a capacity. */
export function prober(): typeof import("./load/prober") {
  return require("./load/prober");
}

/** For the VU that reads a table, in before-load.ts. */
export function tableParser(): typeof Papa {
  return require("papaparse");
}
