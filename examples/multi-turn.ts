/** People who ask three questions, each with all that was said before it, and think in between. */
import { openTest, users } from "./tokenclock.js";

const test = openTest("multi-turn", { CONCURRENCY: [2, 4], OUTPUT_TOKENS: 24 }, users);
const think = test.setting("THINK", "uniform:2000:8000", { is: "distribution", doc: "Time between two turns, ms." });
export const { options, setup, teardown, handleSummary } = test;

export default test.users(async (user) => {
  const chat = user.conversation({ system: "You are a support agent." });
  for (const [turn, text] of ["Where is order 1042?", "Cancel it.", "Thanks."].entries()) {
    const reply = await chat.send(text, { tags: { turn: `t${turn + 1}` } });
    if (reply.outcome !== "completed") return;
    user.think(think);
  }
});
