/**
 * Writes token-ids.jsonl: prompts as lists of token ids with an output length each, for servers that take ids.
 * `node build/bootstrap.cjs datasets/generate.ts [--count 64] [--input lognormal:256:128] [--max-input 1024]
 * [--output uniform:16:128] [--seed 1] [--out FILE]`; without arguments it makes the set that ships.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { parseDistribution, sample } from "../lib/workload/distribution";
import { randomInt, seededRng } from "../lib/workload/rng";

/** Ids that are ordinary tokens in every vocabulary: above the control tokens, below the smallest size. */
const lowestId = 20;
const highestId = 220;

/** What the set is made of; lengths in lib/workload/distribution.ts's notation. */
export interface SetOptions {
  count: number;
  input: string;
  maxInput: number;
  output: string;
  seed: number;
}

/** The lines of a set of token-id prompts; equal options give equal lines. */
export function tokenIdLines({ count, input, maxInput, output, seed }: SetOptions): string[] {
  const inputs = parseDistribution(input);
  const outputs = parseDistribution(output);
  if (!inputs) throw new Error(`--input ${input} is not a length or distribution`);
  if (!outputs) throw new Error(`--output ${output} is not a length or distribution`);
  return Array.from({ length: count }, (_, i) => {
    const rng = seededRng(seed, i);
    const length = Math.min(maxInput, sample(inputs, rng));
    const ids = Array.from({ length }, () => randomInt(rng, lowestId, highestId));
    return JSON.stringify({ prompt_token_ids: ids, output_tokens: sample(outputs, rng) });
  });
}

/** The options of the set that ships. */
export const shippedSet: SetOptions = {
  count: 64,
  input: "lognormal:256:128",
  maxInput: 1024,
  output: "uniform:16:128",
  seed: 1,
};

if (process.argv[1] === __filename) {
  const { values } = parseArgs({
    options: {
      count: { type: "string", default: String(shippedSet.count) },
      input: { type: "string", default: shippedSet.input },
      "max-input": { type: "string", default: String(shippedSet.maxInput) },
      output: { type: "string", default: shippedSet.output },
      seed: { type: "string", default: String(shippedSet.seed) },
      out: { type: "string", default: path.join(__dirname, "token-ids.jsonl") },
    },
  });
  const lines = tokenIdLines({
    count: Number(values.count),
    input: values.input,
    maxInput: Number(values["max-input"]),
    output: values.output,
    seed: Number(values.seed),
  });
  writeFileSync(values.out, `${lines.join("\n")}\n`);
  console.log(`${values.out}: ${lines.length} prompts`);
}
