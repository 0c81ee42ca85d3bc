/** What reads the settings, once a run: see lazy.ts. */
export { capacityGates, gates } from "../thresholds/gates";
export { parseThreshold } from "./figures/threshold";
export { requireMeasurable, trendStats, unreachableLine } from "./load/measurable";
export { privateSettings, requireKeyOrigin } from "./settings/access";
export { mayHaveKey } from "./settings/address";
export { ownValue, requireOwn } from "./settings/own";
export { clientConfig } from "./settings/own-client";
export {
  accessOf,
  gatherSettings,
  isSettingName,
  parseConfig,
  refuseLoadFlags,
  secretsLine,
  shownSettings,
} from "./settings/parse-config";
export { asSet, ofAnotherHost, partConfig } from "./settings/part-config";
export { requestHeaders } from "./wire/headers";
export { turnRows } from "./workload/formats/conversation";
export { promptOf } from "./workload/formats/kept";
export { readNamed } from "./workload/formats/named";
export { sentAsHistory } from "./workload/formats/request";
export { shuffled } from "./workload/formats/row";
export { requireSendable } from "./workload/formats/send";
export { drawRing } from "./workload/ring";
export { requirePromptsOfTheirOwn } from "./workload/shared-prefix";
