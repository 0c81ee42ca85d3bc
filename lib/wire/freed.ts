import { sleep } from "k6";
import { gaugeNames } from "../figures/gauge-names";
import { beforeLoad } from "../lazy";
import type { Config } from "../settings/config";
import { fetch, shared } from "./client";
import { addressOf, requestHeaders } from "./llm-client";

/** How long a server may take to notice that the clients of abandoned requests are gone, s. */
const patienceS = 3;
const stepS = 0.1;

/**
 * Looks, behind the end of a load with ABANDON, until the server's metrics page says that it works on nothing any more. For
 * teardown(): other VUs read what it found by freedLine().
 */
export function awaitFreed(config: Config): void {
  if (!config.ABANDON) return;
  const [page] = beforeLoad().metricsPages(config, requestHeaders(config), addressOf(config, "/metrics"));
  if (!page) return;
  const { url, headers } = page;
  let left: number | undefined;
  let waitedS = 0;
  for (; ; waitedS += stepS) {
    const { status, body } = fetch(url, { headers, timeoutMs: 2000 });
    left = status === 200 ? requestsIn(body) : undefined;
    if (left === undefined || left === 0 || waitedS >= patienceS) break;
    sleep(stepS);
  }
  shared("freed", () => ({ line: lineOf(left, waitedS) }));
}

/** What awaitFreed found, in words; "" where nothing was looked for. */
export function freedLine(): string {
  return shared("freed", () => ({ line: "" })).line;
}

function lineOf(left: number | undefined, waitedS: number): string {
  if (left === undefined)
    return "whether the server freed abandoned requests is unknown: its metrics page says nothing of running requests";
  if (left > 0)
    return `the server still works on ${left} requests ${patienceS} s after the end of the load: it does not notice that a client is gone`;
  return waitedS === 0
    ? "the server had freed all abandoned requests when the load ended"
    : `the server had freed all abandoned requests ${waitedS.toFixed(1)} s after the end of the load`;
}

/** The requests that run or wait by a Prometheus page, of all engines together; undefined where it has no gauge of them. */
export function requestsIn(page: string): number | undefined {
  let sum: number | undefined;
  for (const line of page.split("\n")) {
    const [, name = "", value = ""] = /^([\w:]+)(?:\{[^}]*\})?\s+(\S+)/.exec(line) ?? [];
    const says = gaugeNames[name];
    if (says === "running" || says === "waiting") sum = (sum ?? 0) + Number(value);
  }
  return sum;
}
