/** How does the server serve conversations, turn after turn? Sessions of a file, a trace or of words, with think time and tools. */
import { openSessions } from "../lib/load/sessions";
import { handleSummaryWith } from "../lib/outcome/summary";
import { readConfig } from "../lib/settings/config";
import { awaitFreed, freedLine } from "../lib/wire/freed";
import { openClient, type Server } from "../lib/wire/llm-client";
import { openConversations } from "../lib/workload/conversations";
import { gates } from "../thresholds";

const config = readConfig(
  "conversations",
  {
    CONCURRENCY: [4],
    SESSIONS: 16,
    RATE: [],
    WARMUP: { requests: 0 },
    OUTPUT_TOKENS: 32,
    // Each turn repeats those before it: what the prefix cache makes of that is what is measured.
    CACHE: "warm",
  },
  ["sessions", "generation"],
);
const conversations = openConversations(config);
const load = openSessions(config, conversations.beginsMs);
const client = openClient(config);

export const options = load.options(() => gates(config, load.specs));

export function setup(): Server {
  return client.ready();
}

export default function (server: Server): void {
  load.each((slot) => conversations.hold(slot, server, client));
}

export function teardown(): void {
  load.report();
  awaitFreed(config);
}

export const handleSummary = handleSummaryWith(({ levels }) => {
  const { sessionTables } = require("../lib/figures/session-tables") as typeof import("../lib/figures/session-tables");
  return { text: [sessionTables(levels), freedLine()].filter((part) => part !== "").join("\n\n") };
});
