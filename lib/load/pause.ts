import { sleep } from "k6";
import { type Config, shownSettings } from "../settings/config";
import { fetch, type LevelSpec } from "../wire/client";
import { addressOf, requestHeaders } from "../wire/llm-client";
import { pauseLevel } from "./levels";
import { orAbort } from "./load-guard";

/** A rest between two levels, with a request to the server that resets what the first level left behind. */
export interface Pause {
  /** Stands between the two levels: one VU takes its only slot and pauses, while all others wait for the next level. */
  readonly level: LevelSpec;
  /** For setup(): sends RESET_URL's request before any load, so that one that cannot be sent ends the run here. */
  check(): void;
  run(): void;
}

/** The rest that PAUSE and RESET_URL ask for. */
export function openPause(config: Config): Pause {
  const reset = () => {
    if (config.RESET_URL === "") return;
    const reply = fetch(addressOf(config, config.RESET_URL), { method: "POST", headers: requestHeaders(config) });
    if (reply.status >= 200 && reply.status <= 299) return;
    // Without the reset the second phase would measure what the first one left. The address may hold a secret.
    const shown = `RESET_URL=${shownSettings(config).RESET_URL}`;
    if (reply.status === 0) throw new Error(`${shown} cannot be reached: ${reply.error}`);
    const hint = reply.status === 404 ? "; vLLM serves /reset_prefix_cache with VLLM_SERVER_DEV_MODE=1 only" : "";
    throw new Error(`${shown} answered HTTP ${reply.status}${hint}`);
  };
  return {
    level: { name: pauseLevel, concurrency: 1, requests: 1, warmupRequests: 0 },
    check: () => orAbort(reset),
    run() {
      reset();
      sleep(config.PAUSE / 1000);
    },
  };
}
