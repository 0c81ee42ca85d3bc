/** What is needed once a run, before its load: see lazy.ts. */
export { capacityGates, gates } from "../thresholds/gates";
export { requestsIn } from "./figures/gauge-names";
export { loadConflict, meetOptions } from "./load/load-options";
export { requireMeasurable, trendStats, unreachableLine } from "./load/measurable";
export { privateSettings, requireKeyOrigin } from "./settings/access";
export { mayHaveKey } from "./settings/address";
export { ownValue, requireOwn } from "./settings/own";
export { clientConfig } from "./settings/own-client";
export {
  accessOf,
  gatherSettings,
  isSettingName,
  parseClasses,
  parseConfig,
  parseMix,
  refuseLoadFlags,
  secretsLine,
  shownSettings,
} from "./settings/parse-config";
export { requestHeaders } from "./wire/headers";
export { findModel } from "./wire/model-name";
export { metricsPages, openPolled } from "./wire/polled";
export { findTemplateTokens, findTokensPerWord } from "./wire/tokenizer";
export { readNamed } from "./workload/formats/named";
export { requirePromptsOfTheirOwn } from "./workload/shared-prefix";
export { drawRing } from "./workload/words";
