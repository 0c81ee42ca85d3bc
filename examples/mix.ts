/** Support agents with a tool beside summaries, on one server: each class with its own load, SLOs and thresholds. */
import { classes, openTest, type User } from "./tokenclock.js";

const tools = [{ type: "function", function: { name: "order_status", parameters: { type: "object" } } }];

async function support(user: User): Promise<void> {
  const chat = user.conversation({ system: "You are a support agent.", tools });
  for (const text of ["Where is order 1042?", "Cancel it.", "Thanks."]) {
    let reply = await chat.send(text);
    while (reply.outcome === "completed" && reply.toolCalls.length > 0) {
      reply = await chat.toolResult(reply.toolCalls, '{"status":"shipped"}');
    }
    if (reply.outcome !== "completed") return;
    user.think(think);
  }
}

const test = openTest(
  "mix",
  { DURATION: 120_000 },
  classes({
    support: {
      concurrency: 4,
      users: support,
      prompts: { output: 60 },
      slo: { ttft: 500 },
      thresholds: { llm_itl_p99: "value<100" },
    },
    summary: { rate: 2, prompts: { input: 800, output: 100 }, slo: { e2e: "p(95)<20000" }, body: { temperature: 0 } },
  }),
);
const think = test.setting("THINK", "uniform:2000:8000", { is: "distribution", doc: "Time between two turns, ms." });

export const { options, setup, teardown, handleSummary } = test;
export default test.run;
