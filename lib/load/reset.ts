import { sleep } from "k6";
import { beforeLoad } from "../lazy";
import { type Config, shownSettings } from "../settings/config";
import { tokenclock } from "../wire/client";
import { addressOf, requestHeaders } from "../wire/llm-client";
import type { Between } from "./levels";

/** Between two levels: a POST to RESET_URL, which resets what the first one left in the server, and the rest that PAUSE asks for. */
export function resetAndRest(config: Config): Between {
  const reset = () => {
    if (config.RESET_URL === "") return;
    const url = addressOf(config, config.RESET_URL);
    // A key is for the server that is measured, and for no other host.
    const headers = beforeLoad().mayHaveKey(url, config) ? requestHeaders(config) : {};
    const reply = tokenclock.fetch(url, { method: "POST", headers });
    if (reply.status >= 200 && reply.status <= 299) return;
    // Without the reset the second phase would measure what the first one left. The address may hold a secret.
    const shown = `RESET_URL=${shownSettings(config).RESET_URL}`;
    if (reply.status === 0) throw new Error(`${shown} cannot be reached: ${reply.error}`);
    const hint = reply.status === 404 ? "; vLLM serves /reset_prefix_cache with VLLM_SERVER_DEV_MODE=1 only" : "";
    throw new Error(`${shown} answered HTTP ${reply.status}${hint}`);
  };
  return {
    // In setup() it is sent before any load, so that one that cannot be sent ends the run there.
    check: reset,
    run() {
      reset();
      sleep(config.PAUSE / 1000);
    },
  };
}
