/** Two tenants, each with its header and temperature, and a metric of the test's own that gates the run. */
import { Trend } from "k6/metrics";
import { levels, openTest } from "./tokenclock.js";

const test = openTest("own-requests", { CONCURRENCY: [4], REQUESTS: 16, OUTPUT_TOKENS: 16 }, levels);
const temperature = test.setting("HEAT", 0.2, { min: 0, max: 2, doc: "Temperature of the second tenant." });
test.threshold("answer_tokens", "min>=16");
const answerTokens = new Trend("answer_tokens");

export const { options, setup, teardown, handleSummary } = test;

export default test.each(async (request) => {
  const second = request.slot.index % 2 === 1;
  const reply = await request.send({
    headers: { "X-Tenant": second ? "b" : "a" },
    body: second ? { temperature } : {},
  });
  answerTokens.add(reply.outputTokens);
});
