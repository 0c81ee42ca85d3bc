/** What reads the settings, once a run: see lazy.ts. */
export { capacityGates, gates } from "../thresholds/gates";
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
export { readNamed } from "./workload/formats/named";
export { requirePromptsOfTheirOwn } from "./workload/shared-prefix";
export { drawRing } from "./workload/words";
