/** How many texts a second does an embedding server take in, by batch size and length of text? */
import { batchBursts, burstsOf, openTest, openTexts } from "../lib";

const texts = burstsOf(["bursts", "LENGTHS", "DATASET", "MAX_INPUT_TOKENS", "SHARED_PREFIX", "TOKEN_IDS"], (config) =>
  openTexts(config).flatMap(({ length, prompts }) => batchBursts(config, { length }, `-${length}`, prompts)),
);
const embeddings = openTest(
  "embeddings-burst",
  { API: "embeddings", BATCH_SIZES: [1, 8, 64], RUNS: 3, LENGTHS: "short,medium,long,mixed" },
  texts,
);

export const { options, setup, teardown, handleSummary } = embeddings;
export default embeddings.run;
