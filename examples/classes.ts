/** Chat and summaries side by side, 8 and 2 requests/s, each held to its own SLO. */
import { classes, openTest } from "./tokenclock.js";

const mix = openTest(
  "two-classes",
  { DURATION: 300_000, ARRIVAL: { kind: "poisson" } },
  classes({
    chat: {
      rate: 8,
      prompts: { input: "lognormal:200:80", output: 128 },
      slo: { ttft: "p(95)<300", tpot: "p(95)<40" },
    },
    summary: {
      rate: 2,
      prompts: { dataset: "articles.jsonl", output: 300 },
      slo: { e2e: "p(95)<20000" },
      body: { temperature: 0 },
    },
  }),
);
export const { options, setup, teardown, handleSummary } = mix;
export default mix.each((request) => request.send({ tags: { class: request.slot.level } }));
