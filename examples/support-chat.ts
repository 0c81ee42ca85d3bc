/** Support chat: three turns, the model may call a tool, people think 2 to 8 s between turns. */
import { openTest, users } from "./tokenclock.js";

const test = openTest("support-chat", { CONCURRENCY: [4, 16], DURATION: 120_000, OUTPUT_TOKENS: 150 }, users);
const think = test.setting("THINK", "uniform:2000:8000", { is: "distribution", doc: "Time between two turns, ms." });
const tools = [{ type: "function", function: { name: "order_status", parameters: { type: "object" } } }];

export const { options, setup, teardown, handleSummary } = test;

export default test.users(async (user) => {
  const chat = user.conversation({ system: "You are a support agent.", tools });
  for (const [i, text] of ["Where is order 1042?", "Cancel it.", "Thanks."].entries()) {
    let reply = await chat.send(text, { tags: { turn: `t${i + 1}` } });
    while (reply.outcome === "completed" && reply.toolCalls.length > 0)
      reply = await chat.toolResult(reply.toolCalls, '{"status":"shipped"}');
    if (reply.outcome !== "completed") return;
    user.think(think);
  }
});
