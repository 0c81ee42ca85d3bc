import { sessionPlanner } from "../lazy";
import type { Config } from "../settings/config";
import { type RequestSpec, type Session, type Slot, tokenclock } from "../wire/client";
import type { LlmClient, Server } from "../wire/llm-client";
import type { Sender } from "../workload/converse";
import { openSessionRows } from "../workload/file-rows";
import { promptRows } from "../workload/load-plan";
import type { SessionPlans } from "../workload/sessions";
import { openWords } from "../workload/shared-words";

/** The conversations of a run. */
export interface Conversations {
  /** When each session of a TRACE begins, ms; empty but in the first VU. */
  readonly beginsMs: Float64Array | undefined;
  /** Holds the session of a slot from its first turn to its last. */
  hold(slot: Slot, server: Server, client: LlmClient): Promise<void>;
}

/** The conversations that DATASET, TRACE or SESSION_TURNS and its kind describe. Init context only. */
export function openConversations(config: Config): Conversations {
  const { converse, recordedSessions, scriptedTool, syntheticSessions } = sessionPlanner();
  const file = config.TRACE !== "" ? "TRACE" : config.DATASET !== "" ? "DATASET" : undefined;
  const words = openWords(config);
  let plans: SessionPlans;
  let beginsMs: Float64Array | undefined;
  if (file === undefined) {
    plans = syntheticSessions(config, words);
  } else {
    const rows = openSessionRows(config, file);
    promptRows(`${file}=${config[file]}`, rows.length, "session");
    // The module reads the schedule of the first VU, which has read the file.
    if (file === "TRACE") beginsMs = rows.timesMs ?? new Float64Array();
    plans = recordedSessions(config, words, rows);
  }
  const hold: Conversations["hold"] = async (slot, server, client) => {
    const plan = plans.at(slot, server.tokensPerWord);
    const session = new tokenclock.Session(slot, plan.turns.length);
    const sender = senderOf(config, session, server, client);
    await converse(config, plan, sender, scriptedTool(config, slot, server.tokensPerWord, words.text));
  };
  return { beginsMs, hold };
}

/** Sends the turns of a session, with the header that names it, and what the server gave it to send back. */
function senderOf(config: Config, session: Session, server: Server, client: LlmClient): Sender<Slot> {
  const headers: Record<string, string> = {};
  if (config.SESSION_HEADER !== "none") headers[config.SESSION_HEADER] = session.id;
  return {
    permit: (timing, after) => session.turn(after === undefined ? timing : { ...timing, after }),
    async send(prompt, turn, permitted) {
      const more: Partial<RequestSpec> = { headers, session: session.id, keepText: true };
      if (config.ABANDON && turn.abandoned) {
        const { afterMs, afterTokens } = config.ABANDON;
        Object.assign(more, afterTokens === undefined ? { abortAfterMs: afterMs } : { abortAfterTokens: afterTokens });
      }
      if (config.SESSION_ECHO !== "") more.keepHeader = config.SESSION_ECHO;
      const result = await client.request(server, prompt, permitted, more);
      if (result.header !== "") headers[config.SESSION_ECHO] = result.header;
      return result.outcome === "completed" ? result : undefined;
    },
    added: () => session.plan(1),
  };
}
