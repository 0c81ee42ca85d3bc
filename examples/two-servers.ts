/** A small model puts the question into words, a large one on another server answers it: two clients in one test. */
import { openTest, users } from "./tokenclock.js";

const test = openTest("two-servers", { CONCURRENCY: [4], SESSIONS: 8, OUTPUT_TOKENS: 16 }, users);
const large = test.setting("LARGE_URL", "http://127.0.0.1:8001/v1", { doc: "BASE_URL of the large model's server." });
test.client("large", { BASE_URL: large, OUTPUT_TOKENS: 64 });
test.threshold("llm_ttft{client:large}", "p(95)<2000");

export const { options, setup, teardown, handleSummary } = test;

export default test.users(async (user) => {
  const question = await user.conversation().send("Which order is late?", { tags: { stage: "ask" } });
  if (question.outcome !== "completed") return;
  await user.conversation().send(question.text, { client: "large", tags: { stage: "answer" } });
});
