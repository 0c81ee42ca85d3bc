import { sleep } from "k6";
import type { Freed } from "../figures/freed";
import { aroundLoad } from "../lazy";
import type { Config } from "../settings/config";
import { tokenclock } from "./client";
import { addressOf, requestHeaders } from "./llm-client";

/** How long a server may take to notice that the clients of abandoned requests are gone, s. */
const patienceS = 3;
const stepS = 0.1;

/**
 * Looks, behind the end of a load with ABANDON, until the metrics page of each server says that it works on nothing any more. For
 * teardown(): other VUs read what it found by freedServers(). A class of a mix has settings of its own.
 */
export function awaitFreed(configs: readonly Config[]): void {
  const found = new Map<string, Freed>();
  for (const config of configs) {
    if (!config.ABANDON) continue;
    const { metricsPages, requestsIn } = aroundLoad();
    const [page] = metricsPages(config, requestHeaders(config), addressOf(config, "/metrics"));
    if (!page || found.has(page.url)) continue;
    const freed: Freed = { class: config.part, waitedS: 0 };
    for (; ; freed.waitedS += stepS) {
      const { status, body } = tokenclock.fetch(page.url, { headers: page.headers, timeoutMs: 2000 });
      freed.left = status === 200 ? requestsIn(body) : undefined;
      if (!freed.left || freed.waitedS >= patienceS) break;
      sleep(stepS);
    }
    found.set(page.url, freed);
  }
  tokenclock.shared("freed", () => [...found.values()]);
}

/** What awaitFreed found; nothing where there was nothing to look for. */
export function freedServers(): readonly Freed[] {
  return tokenclock.shared<Freed[]>("freed", () => []);
}
