import { sleep } from "k6";
import { fetch, type LevelSpec } from "./client";
import { type Config, shownSettings } from "./config";
import { pauseLevel } from "./levels";
import { addressOf, requestHeaders } from "./llm-client";

/** A rest between two levels, with a request to the server that resets what the first level left behind. */
export interface Pause {
  /** Stands between the two levels: one VU takes its only slot and pauses, while all others wait for the next level. */
  readonly level: LevelSpec;
  run(): void;
}

/** The rest that PAUSE and RESET_URL ask for. */
export function openPause(config: Config): Pause {
  return {
    level: { name: pauseLevel, concurrency: 1, requests: 1, warmupRequests: 0 },
    run() {
      if (config.RESET_URL !== "") {
        const reply = fetch(addressOf(config, config.RESET_URL), { method: "POST", headers: requestHeaders(config) });
        if (reply.status < 200 || reply.status > 299) {
          // Without the reset the second phase would measure what the first one left. The address may hold a secret.
          const shown = `RESET_URL=${shownSettings(config).RESET_URL}`;
          throw new Error(
            reply.status === 0
              ? `${shown} cannot be reached: ${reply.error}`
              : `${shown} answered HTTP ${reply.status}`,
          );
        }
      }
      sleep(config.PAUSE / 1000);
    },
  };
}
