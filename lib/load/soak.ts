import { drift } from "../lazy";
import { demand } from "../settings/config";
import { scheduled } from "./arrivals";
import { openLevels } from "./levels";
import type { Shape } from "./shape";

/** One load for DURATION, a rate or a concurrency, in parts that are compared: it fails where the server gets worse. */
export const soak: Shape = {
  uses: ["soak", "prompts", "generation"],
  open(config) {
    const { RATE: rates, CONCURRENCY: concurrencies } = config;
    const [list, name] = rates.length > 0 ? [rates, "RATE"] : [concurrencies, "CONCURRENCY"];
    demand(
      list.length === 1,
      `${name}=${list.join(",")}: ${config.scenario} keeps one load up all the time; set one value`,
    );
    if (rates.length > 0) return scheduled(config);
    return openLevels(
      config,
      concurrencies.map((concurrency) => ({ name: `c${concurrency}`, concurrency })),
    );
  },
  // One request has no drift.
  shows({ levels }, { DRIFT_LIMIT: percent, CLIENT_MEMORY_LIMIT: memoryMB, SMOKE: smoke }) {
    if (smoke) return {};
    const limits = { percent, memoryMB };
    return {
      text: levels.map((level) => drift().driftText(level, limits)).join("\n\n"),
      limits: levels.flatMap((level) => drift().driftLimits(level, limits)),
    };
  },
};
