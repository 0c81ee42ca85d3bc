/** The tool of TOOL_ROUNDS: its results are words. Pure. */
import type { Settings } from "../settings/settings";
import type { Tools } from "./converse";
import { sample } from "./distribution";
import { type Rng, seededRng } from "./rng";
import { offeredTool } from "./sessions";
import { hashText } from "./workload";

/** The tool of one session; undefined where none is offered. `text` makes words. */
export function scriptedTool(
  config: Settings,
  { level, index }: { readonly level: string; readonly index: number },
  tokensPerWord: number,
  text: (count: number, rng: Rng) => string,
): Tools | undefined {
  if (config.TOOL_ROUNDS === 0) return undefined;
  const rng = seededRng(config.SEED ^ hashText(`${level} tools`), index + 1);
  return {
    rounds: config.TOOL_ROUNDS,
    result(calls) {
      const wait = config.TOOL_TIME;
      const ms = wait.kind === "fixed" ? wait.ms : wait.kind === "drawn" ? sample(wait.of, rng) : 0;
      const words = () => text(Math.ceil(sample(config.TOOL_TOKENS, rng) / tokensPerWord), rng).trimStart();
      return {
        messages: calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: words() })),
        prompt: { inputTokens: 0, outputTokens: sample(config.OUTPUT_TOKENS, rng), ceiling: true, body: offeredTool },
        waitMs: Math.min(ms * config.WAIT_SCALE, config.WAIT_CAP ?? Infinity),
        tool: true,
        abandoned: false,
      };
    },
  };
}
