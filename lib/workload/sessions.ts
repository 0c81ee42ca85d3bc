/**
 * The conversations of a run. Session number k is the same whoever asks for it: SEED fixes turns, lengths and waits, SALT the
 * words. Pure.
 */
import type { Settings } from "../settings/settings";
import { sample } from "./distribution";
import type { Message } from "./formats/conversation";
import type { KeptSession, KeptTurn } from "./formats/sessions";
import { drawGroup } from "./prefix-groups";
import type { Prompt } from "./prompt";
import { type Rng, saltedRngs, seededRng } from "./rng";
import { blockTokens } from "./trace";
import type { Wait } from "./wait";
import type { WordSource } from "./words";
import { hashText } from "./workload";

/** One turn that is to be sent. */
export interface PlannedTurn {
  /** What is said anew: of the user, or by tools. */
  readonly messages: readonly Message[];
  /** The recorded answer to the turn before; absent where none is recorded. */
  readonly answer?: readonly Message[];
  /** `messages` are all of the request. */
  readonly whole?: boolean;
  /** The lengths, and further fields of the body. */
  readonly prompt: Omit<Prompt, "input">;
  /** Wait between the end of what it follows and this turn, ms. */
  readonly waitMs: number;
  /** It is sent no earlier than so long after the session's begin, ms. */
  readonly notBeforeMs?: number;
  /** It hands over results of tools, and belongs to the task of the turn before. */
  readonly tool: boolean;
  /** Turns that must have ended before it; by default the one before it. */
  readonly after?: readonly number[];
  /** The share of abandoned turns falls on this one. */
  readonly abandoned: boolean;
}

/** A session that is to be held. */
export interface PlannedSession {
  readonly turns: readonly PlannedTurn[];
}

/** Where the sessions of a run come from. */
export interface SessionPlans {
  /** Session number `index` of the level called `level`, number `serial` of the run. */
  at(
    place: { readonly index: number; readonly serial: number; readonly level: string },
    tokensPerWord: number,
  ): PlannedSession;
}

/** System prompts that are kept once they are made. */
const keptSystems = 64;
/** Turns of a synthetic session that have words of their own. */
const mostTurns = 1000;

/** Numbers drawn for one purpose do not depend on what is drawn for another. */
const streams = { lengths: 0x4c454e, waits: 0x574149, abandon: 0x414241 } as const;

type Draw = (purpose: keyof typeof streams) => Rng;

function drawsOf({ SEED }: Settings, level: string, index: number): Draw {
  return (purpose) => seededRng(SEED ^ hashText(level) ^ streams[purpose], index + 1);
}

/** Sessions made of words: SESSION_TURNS turns of INPUT_TOKENS each, behind a system prompt of SHARED_PREFIX tokens. */
export function syntheticSessions(config: Settings, words: WordSource): SessionPlans {
  const rngs = saltedRngs(config.SALT);
  const prefixRngs = saltedRngs(config.SALT);
  const systems = new Map<number, string>();
  return {
    at({ index, level }, tokensPerWord) {
      const draw = drawsOf(config, level, index);
      const lengths = draw("lengths");
      const waits = draw("waits");
      const gone = draw("abandon");
      const text = (tokens: number, rng: Rng) => words.text(Math.ceil(tokens / tokensPerWord), rng).trimStart();
      const system: Message[] = [];
      if (config.SHARED_PREFIX > 0) {
        const group = drawGroup(config, lengths);
        let content = systems.get(group);
        if (content === undefined) {
          content = text(config.SHARED_PREFIX, prefixRngs("shared prefix", group));
          if (systems.size < keptSystems) systems.set(group, content);
        }
        system.push({ role: "system", content });
      }
      const count = sample(config.SESSION_TURNS, lengths);
      const turns = Array.from({ length: count }, (_, k): PlannedTurn => {
        const inputTokens = Math.min(sample(config.INPUT_TOKENS, lengths), config.MAX_INPUT_TOKENS ?? Infinity);
        const outputTokens = Math.min(sample(config.OUTPUT_TOKENS, lengths), config.MAX_OUTPUT_TOKENS ?? Infinity);
        return {
          // Made when the turn is due: a thousand sessions that begin at once need their first turns only.
          get messages() {
            const rng = rngs(`sessions of ${level}`, index * mostTurns + k);
            const user: Message = { role: "user", content: text(inputTokens, rng) };
            return k === 0 ? [...system, user] : [user];
          },
          // What the server counts is the whole history, whose answers only it knows.
          prompt: {
            inputTokens: 0,
            outputTokens,
            ...(config.TOOL_ROUNDS > 0 ? { ceiling: true, body: offeredTool } : {}),
          },
          waitMs: k === 0 ? 0 : waitMs(config, config.THINK_TIME, undefined, waits),
          tool: false,
          abandoned: isAbandoned(config, gone),
        };
      });
      return { turns };
    },
  };
}

/** The sessions of a file, in turn; where it has lengths only, its blocks become words. */
export function recordedSessions(
  config: Settings,
  words: WordSource,
  rows: { readonly length: number; at(index: number): KeptSession },
): SessionPlans {
  const blockRngs = saltedRngs(config.SALT);
  const ownRngs = saltedRngs(config.SALT);
  return {
    at({ index, serial, level }, tokensPerWord) {
      const session = rows.at(serial % rows.length);
      const draw = drawsOf(config, level, index);
      const [lengths, waits, gone] = [draw("lengths"), draw("waits"), draw("abandon")];
      const textOf = (turn: KeptTurn, k: number): Message => {
        const wordsFor = (tokens: number) => Math.ceil(tokens / tokensPerWord);
        let left = turn.inputTokens ?? 0;
        let text = "";
        for (const id of turn.blockIds ?? []) {
          const taken = Math.min(left, turn.blockTokens ?? blockTokens);
          text += words.text(wordsFor(taken), blockRngs("block", id));
          left -= taken;
        }
        if (left > 0) text += words.text(wordsFor(left), ownRngs(`session ${serial} of ${level}`, k));
        return { role: "user", content: text.trimStart() };
      };
      const turns = session.turns.map((turn, k): PlannedTurn => {
        const { messages, answer, whole, body, ceiling, tool = false, after, atMs } = turn;
        const drawn = sample(config.OUTPUT_TOKENS, lengths);
        const recorded = tool ? config.TOOL_TIME : config.THINK_TIME;
        const outputTokens = Math.min(turn.outputTokens ?? drawn, config.MAX_OUTPUT_TOKENS ?? Infinity);
        return {
          get messages() {
            return messages ?? [textOf(turn, k)];
          },
          ...(answer === undefined ? {} : { answer }),
          ...(whole || messages === undefined ? { whole: true } : {}),
          prompt: {
            inputTokens: messages === undefined ? (turn.inputTokens ?? 0) : 0,
            outputTokens,
            ...(body === undefined ? {} : { body }),
            // A model that may call a tool ends when it has.
            ...(ceiling || tool ? { ceiling: true } : {}),
          },
          waitMs: waitMs(config, recorded, turn.waitMs, waits),
          ...(recorded.kind === "recorded" && atMs !== undefined ? { notBeforeMs: scaled(config, atMs) } : {}),
          tool,
          ...(after === undefined ? {} : { after }),
          abandoned: isAbandoned(config, gone),
        };
      });
      return { turns };
    },
  };
}

/** What TOOL_ROUNDS offers the model. */
export const offeredTool = {
  tools: [
    {
      type: "function",
      function: {
        name: "lookup",
        description: "Looks up what is known about a subject.",
        parameters: { type: "object", properties: { query: { type: "string" } }, required: ["query"] },
      },
    },
  ],
} as const;

/** A wait of a session: drawn always, so that one setting does not move what another one draws. */
function waitMs(config: Settings, wait: Wait, recordedMs: number | undefined, rng: Rng): number {
  const drawn = wait.kind === "drawn" ? sample(wait.of, rng) : rng() * 0;
  const ms = wait.kind === "recorded" ? (recordedMs ?? 0) : wait.kind === "fixed" ? wait.ms : drawn;
  return scaled(config, ms);
}

function scaled({ WAIT_SCALE: scale, WAIT_CAP: cap = Infinity }: Settings, ms: number): number {
  return Math.min(cap, ms * scale);
}

function isAbandoned({ ABANDON: abandon }: Settings, rng: Rng): boolean {
  return rng() < (abandon?.share ?? 0);
}
