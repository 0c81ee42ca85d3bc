/** People who talk with a model: what a script's users do, turn after turn. */
import { sessionPlanner } from "../lazy";
import { demand } from "../settings/config";
import { type Result, type Slot, type ToolCall, tokenclock } from "../wire/client";
import { type RequestOptions, specOf } from "../wire/llm-client";
import { sample } from "../workload/distribution";
import type { Input } from "../workload/prompt";
import { openPrompts } from "../workload/prompts";
import { seededRng } from "../workload/rng";
import { hashText } from "../workload/workload";
import { openSessions } from "./sessions";
import type { Routes, Shape } from "./shape";

/** Users: CONCURRENCY of them at once, or as they arrive (RATE, STAGES). What each does, test.users() says. */
export const users: Shape = {
  uses: [
    ...(["CONCURRENCY", "SESSIONS", "REQUESTS", "DURATION", "RATE", "STAGES", "ARRIVAL", "MAX_IN_FLIGHT"] as const),
    ...(["CLIENTS_PER_VU", "prompts", "generation"] as const),
  ],
  // Each turn repeats those before it, which a prefix cache is meant to keep.
  defaults: { RATE: [], WARMUP: { requests: 0 }, CACHE: "warm" },
  open(config) {
    const load = openSessions(config);
    const prompts = openPrompts(config);
    return {
      ...load,
      each: (send) => load.each((slot) => send(slot, prompts)),
      user: userOf,
    };
  },
};

/** An answer, or `stopped`: the load is over, or an earlier turn failed, and the turn was not sent. */
export type Reply =
  | Result
  | { readonly outcome: "stopped"; readonly text: ""; readonly toolCalls: readonly []; readonly outputTokens: 0 };

/** A user, who holds one session of the load. */
export interface User {
  /** The session's place in the load. */
  readonly slot: Slot;
  /** Unique in the run. */
  readonly session: string;
  /** Lets a time pass before the next turn: ms, or a text such as "2s" or "uniform:2000:8000" (ms). No latency contains it. */
  think(time: number | string): void;
  conversation(options?: { system?: string; tools?: readonly object[]; body?: Record<string, unknown> }): Conversation;
}

/** A conversation: each turn is sent with all messages before it. */
export interface Conversation {
  /** Says something and resolves to the answer. */
  send(text: string, options?: RequestOptions): Promise<Reply>;
  /** Hands over the result of the tool that the last answer called, or of all that it called. API=chat only. */
  toolResult(
    calls: ToolCall | readonly ToolCall[],
    result: string | ((call: ToolCall) => string),
    options?: RequestOptions,
  ): Promise<Reply>;
}

interface Message {
  role: string;
  content: unknown;
  tool_calls?: object[];
  tool_call_id?: string;
}

/** The user of a slot. */
export function userOf(slot: Slot, routes: Routes): User {
  const { config } = routes();
  const session = new tokenclock.Session(slot);
  const rng = seededRng(config.SEED ^ hashText(`users of ${slot.level}`), slot.index + 1);
  let waitMs = 0;
  const turn = async (input: Input, tool: boolean, ceiling: boolean, options: RequestOptions): Promise<Reply> => {
    const permitted = await session.turn({ waitMs, tool });
    waitMs = 0;
    if (permitted === null) return { outcome: "stopped", text: "", toolCalls: [], outputTokens: 0 };
    const route = routes(options.client);
    const outputTokens = options.outputTokens ?? sample(route.config.OUTPUT_TOKENS, rng);
    const prompt = { input, inputTokens: 0, outputTokens, ceiling, body: options.body };
    const more = { ...specOf(route.config, options), session: session.id, keepText: true };
    return route.client.request(route.server, prompt, permitted, more);
  };
  return {
    slot,
    session: session.id,
    think(time) {
      if (typeof time === "number" || /^\d+(\.\d+)?$/.test(time)) waitMs += Number(time);
      else {
        const wait = sessionPlanner().parseWait(time);
        if (!wait || wait.kind === "recorded")
          throw new Error(`user.think("${time}"): not a time such as 2s or uniform:2000:8000`);
        waitMs += wait.kind === "fixed" ? wait.ms : sample(wait.of, rng);
      }
    },
    conversation({ system, tools = [], body = {} } = {}) {
      demand(
        tools.length === 0 || config.API === "chat",
        `API=${config.API}: user.conversation({ tools }) writes calls and results of tools as API=chat has them; set API=chat or leave the tools out`,
      );
      const messages: Message[] = system === undefined ? [] : [{ role: "system", content: system }];
      let open: readonly ToolCall[] = [];
      const send = async (added: readonly Message[], tool: boolean, options: RequestOptions): Promise<Reply> => {
        messages.push(...added);
        const fields = { ...body, ...(tools.length > 0 ? { tools } : {}), ...options.body };
        const input = { kind: "messages" as const, messages: [...messages] };
        const reply = await turn(input, tool, tools.length > 0, { ...options, body: fields });
        if (reply.outcome !== "completed") return reply;
        open = reply.toolCalls;
        const calls = open.map(({ id, name, arguments: text }) => ({
          id,
          type: "function",
          function: { name, arguments: text },
        }));
        messages.push({ role: "assistant", content: reply.text, ...(calls.length > 0 ? { tool_calls: calls } : {}) });
        return reply;
      };
      return {
        send: (text, options = {}) => send([{ role: "user", content: text }], false, options),
        async toolResult(calls, result, options = {}) {
          const given = "name" in calls ? [calls] : calls;
          if (given.length < open.length) {
            throw new Error(
              `the answer called ${open.length} tools: give chat.toolResult() reply.toolCalls, and a result for each`,
            );
          }
          const results = given.map((call) => ({
            role: "tool",
            tool_call_id: call.id,
            content: typeof result === "string" ? result : result(call),
          }));
          return send(results, true, options);
        },
      };
    },
  };
}
