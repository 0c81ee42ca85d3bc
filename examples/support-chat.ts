/** Support chat: three turns, the model may call a tool, people think between turns. */
import { openTest, users } from "./tokenclock.js";

const test = openTest("support-chat", { CONCURRENCY: [2, 4], OUTPUT_TOKENS: 24, TIMEOUT: 60_000 }, users);
const think = test.setting("THINK", "uniform:20:80", { is: "distribution", doc: "Time between two turns, ms." });
const tools = [{ type: "function", function: { name: "order_status", parameters: { type: "object" } } }];

export const { options, setup, teardown, handleSummary } = test;

export default test.users(async (user) => {
  const chat = user.conversation({ system: "You are a support agent.", tools });
  for (const text of ["Where is order 1042?", "Cancel it.", "Thanks."]) {
    let reply = await chat.send(text);
    for (let round = 0; round < 2 && reply.toolCalls.length > 0; round++) {
      reply = await chat.toolResult(reply.toolCalls, '{"status":"shipped"}');
    }
    if (reply.outcome !== "completed") return;
    user.think(think);
  }
});
