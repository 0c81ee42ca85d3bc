/** How does the server serve several kinds of load at once? Classes with lengths, models, SLOs and thresholds of their own. */
import { openMix } from "../lib/load/mix";
import { handleSummaryWith } from "../lib/outcome/summary";
import { readConfig, readMix } from "../lib/settings/config";
import { openClient, type Server } from "../lib/wire/llm-client";
import { openConversations } from "../lib/workload/conversations";
import { openPrompts } from "../lib/workload/prompts";
import { gates } from "../thresholds";

const config = readConfig("mixed", { DURATION: 30_000, RATE: [], WARMUP: { requests: 0 }, CACHE: "warm" }, [
  "MIX",
  "RATE",
  "DURATION",
  "ARRIVAL",
  "MAX_IN_FLIGHT",
  "CLIENTS_PER_VU",
  "METRICS_URL",
  "INPUT_TOKENS",
  "SHARED_PREFIX",
  "PREFIX_GROUPS",
  "PREFIX_POPULARITY",
  "generation",
]);
const classes = readMix(config);
const load = openMix(config, classes);
const base = openClient(config);
const parts = classes.map(({ sessions, config: own }) => {
  const client = openClient(own);
  const modelOf = (server: Server): Server => (own.MODEL === "" ? server : { ...server, model: own.MODEL });
  if (sessions) return { client, modelOf, conversations: openConversations(own) };
  return { client, modelOf, prompts: openPrompts(own) };
});

export const options = load.options(() => gates(config, load.specs));

export function setup(): Server {
  return base.ready();
}

export default function (server: Server): void {
  load.each((slot, part) => {
    const { client, modelOf, prompts, conversations } = parts[part] as (typeof parts)[number];
    const own = modelOf(server);
    return conversations?.hold(slot, own, client) ?? client.request(own, prompts?.next(slot, own) as never, slot);
  });
}

export function teardown(): void {
  load.report();
}

export const handleSummary = handleSummaryWith(({ levels, total }) => {
  const { sessionTables } = require("../lib/figures/session-tables") as typeof import("../lib/figures/session-tables");
  const { togetherLine } = require("../lib/figures/together") as typeof import("../lib/figures/together");
  return { text: [togetherLine(total), sessionTables(levels)].filter((part) => part !== "").join("\n\n") };
});
