import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSettings } from "../settings/parse-settings";
import type { Settings } from "../settings/settings";
import type { Prompt } from "./prompt";
import { drawRing } from "./ring";
import { saltedRngs } from "./rng";
import { newSalt, saltPattern } from "./salt";
import { blockTokens, type TraceRow } from "./trace";
import { everyWord, wordSource } from "./words";
import { type Prompts, recordedPrompts, syntheticPrompts } from "./workload";

function settingsOf(given: Record<string, string>): Settings {
  return parseSettings({ API: "completions", SALT: "salt", ...given }, {});
}

/** The words of a run, as every VU of it has them. */
const wordsOf = ({ SALT }: Settings) => wordSource(drawRing(saltedRngs(SALT)("ring"), everyWord));

function synthetic(given: Record<string, string>): Prompts {
  const settings = settingsOf(given);
  return syntheticPrompts(settings, wordsOf(settings));
}

function recorded(given: Record<string, string>, trace: readonly TraceRow[]): Prompts {
  const settings = settingsOf(given);
  return recordedPrompts(settings, wordsOf(settings), trace);
}

/** The prompts of a run: so many of each level, as VUs ask for them in turn. */
function run(prompts: Prompts, levels: readonly string[], count = 40): Prompt[] {
  return levels.flatMap((level) => Array.from({ length: count }, (_, i) => prompts.at(i, level, 1)));
}

const elementsOf = ({ input }: Prompt): (string | number)[] => {
  if (input.kind === "tokenIds") return [...input.tokenIds];
  return input.kind === "text" ? input.text.split(" ") : [];
};

/** How many leading elements two prompts share. */
function sharedBy(a: Prompt, b: Prompt): number {
  const [left, right] = [elementsOf(a), elementsOf(b)];
  const parted = left.findIndex((element, i) => element !== right[i]);
  return parted < 0 ? left.length : parted;
}

/** The longest beginning that any two prompts share: of sorted texts the longest is that of neighbours. */
function longestShared(prompts: readonly Prompt[]): number {
  const sorted = [...prompts].sort((a, b) => (elementsOf(a).join() < elementsOf(b).join() ? -1 : 1));
  return Math.max(...sorted.slice(1).map((prompt, i) => sharedBy(prompt, sorted[i] as Prompt)));
}

const lengthsOf = (prompts: readonly Prompt[]) => prompts.map((each) => [elementsOf(each).length, each.outputTokens]);

const varied = { INPUT_TOKENS: "uniform:30:90", OUTPUT_TOKENS: "uniform:1:50" };

for (const TOKEN_IDS of ["false", "true"]) {
  const kind = TOKEN_IDS === "true" ? "token ids" : "texts";

  test(`${kind}: runs of equal SEED and SALT send the same prompts, whatever the concurrency and the VU`, () => {
    const levels = ["c1", "c8"];
    const first = run(synthetic({ ...varied, TOKEN_IDS }), levels);
    assert.deepEqual(run(synthetic({ ...varied, TOKEN_IDS, CONCURRENCY: "1,8" }), levels), first);
    // Another VU asks for the last prompt first, and only for some.
    const other = synthetic({ ...varied, TOKEN_IDS });
    assert.deepEqual(other.at(39, "c8", 1), first[79]);
    assert.deepEqual(other.at(3, "c1", 1), first[3]);
    assert.deepEqual(other.at(39, "c8", 1), first[79]);
  });

  test(`${kind}: another SALT changes every word and no length, another SEED the lengths`, () => {
    const first = run(synthetic({ ...varied, TOKEN_IDS }), ["c1", "c4"]);
    const second = run(synthetic({ ...varied, TOKEN_IDS, SALT: "other" }), ["c1", "c4"]);
    assert.deepEqual(lengthsOf(second), lengthsOf(first));
    assert.ok(longestShared([...first, ...second]) <= 4, "no prompt of a run begins like one of the other");
    assert.notDeepEqual(lengthsOf(run(synthetic({ ...varied, TOKEN_IDS, SEED: "2" }), ["c1", "c4"])), lengthsOf(first));
  });

  test(`${kind}: prompts differ from their first words on, within a level and between levels`, () => {
    assert.ok(longestShared(run(synthetic({ TOKEN_IDS }), ["c1", "c2", "c4", "full", "prefill"], 400)) <= 4);
  });

  test(`${kind}: SHARED_PREFIX is shared by all prompts of a run, and by no other run`, () => {
    const settings = { INPUT_TOKENS: "60", SHARED_PREFIX: "20", TOKEN_IDS };
    const prompts = run(synthetic(settings), ["c1", "c4"]);
    for (const prompt of prompts) {
      const shared = sharedBy(prompt, prompts[0] as Prompt);
      assert.ok(prompt === prompts[0] || (shared >= 20 && shared <= 24), `${shared} elements are shared`);
      assert.equal(elementsOf(prompt).length, 60);
    }
    const [other] = run(synthetic({ ...settings, SALT: "other" }), ["c1"], 1);
    assert.ok(sharedBy(other as Prompt, prompts[0] as Prompt) <= 4);
    // A prefix longer than the prompt is the whole of it.
    const [a, b] = run(synthetic({ ...settings, INPUT_TOKENS: "10" }), ["c1"], 2);
    assert.equal(sharedBy(a as Prompt, b as Prompt), 10);
  });
}

test("a level may take the lengths of another with words of its own, as prefill-decode's second phase does", () => {
  const prompts = synthetic(varied);
  const phase = (words: string) => Array.from({ length: 40 }, (_, i) => prompts.at(i, "", 1, words));
  const [full, prefill] = [phase("full"), phase("prefill")];
  assert.deepEqual(lengthsOf(prefill), lengthsOf(full));
  assert.ok(longestShared([...full, ...prefill]) <= 4);
  assert.deepEqual(phase("full"), full);
});

test("MAX_INPUT_TOKENS and MAX_OUTPUT_TOKENS cut what the distributions draw", () => {
  const cut = { ...varied, MAX_INPUT_TOKENS: "40", MAX_OUTPUT_TOKENS: "10" };
  const lengths = lengthsOf(run(synthetic({ ...cut, TOKEN_IDS: "true" }), ["c1"]));
  assert.ok(lengths.every(([input = 0, output = 0]) => input >= 30 && input <= 40 && output >= 1 && output <= 10));
  assert.ok(lengths.some(([input]) => input === 40) && lengths.some(([input]) => (input ?? 0) < 40));
});

test("a text is made as long as the tokenizer needs: so many words as give the tokens, rounded up", () => {
  const prompts = synthetic({ INPUT_TOKENS: "100" });
  assert.equal(elementsOf(prompts.at(0, "c1", 1)).length, 100);
  assert.equal(elementsOf(prompts.at(0, "c1", 1.25)).length, 80);
  assert.equal(elementsOf(prompts.at(0, "c1", 3)).length, 34);
  assert.equal(prompts.at(0, "c1", 1.25).inputTokens, 100);
});

const row = (inputTokens: number, blockIds: number[]): TraceRow => ({
  inputTokens,
  outputTokens: 7,
  blockIds,
});

test("Mooncake: equal blocks are equal words at equal places, and the rest is of the row alone", () => {
  const trace = [row(2 * blockTokens + 100, [5, 6]), row(2 * blockTokens + 50, [5, 6]), row(2 * blockTokens, [5, 9])];
  const prompts = recorded({}, trace);
  const [a, b, c] = trace.map((_, i) => prompts.at(i, "trace", 1)) as [Prompt, Prompt, Prompt];
  assert.deepEqual(
    [a, b, c].map((each) => elementsOf(each).length),
    [1124, 1074, 1024],
  ); // prettier-ignore
  const both = sharedBy(a, b);
  assert.ok(
    both >= 2 * blockTokens && both <= 2 * blockTokens + 4,
    `${both} words are shared by rows of two equal blocks`,
  );
  const one = sharedBy(a, c);
  assert.ok(one >= blockTokens && one <= blockTokens + 4, `${one} words are shared by rows of one equal block`);
  // A block that the row's length cuts is the beginning of the whole one.
  const [cut] = [recorded({}, [row(100, [5])]).at(0, "trace", 1)];
  assert.equal(sharedBy(cut, a), 100);
  assert.deepEqual([a.inputTokens, a.outputTokens], [1124, 7]);
});

test("a trace's words follow the salt, its lengths do not", () => {
  const trace = [row(600, [1]), row(80, []), row(80, [])];
  const texts = (SALT: string) => trace.map((_, i) => recorded({ SALT }, trace).at(i, "trace", 1));
  assert.deepEqual(texts("a"), texts("a"));
  assert.deepEqual(lengthsOf(texts("b")), lengthsOf(texts("a")));
  assert.ok(longestShared([...texts("a"), ...texts("b")]) <= 4);
});

test("a salt that is drawn is one that SALT takes, and another every time", () => {
  const salts = new Set(Array.from({ length: 1000 }, () => newSalt()));
  assert.equal(salts.size, 1000);
  for (const salt of salts) {
    assert.match(salt, saltPattern);
    assert.equal(settingsOf({ SALT: salt }).SALT, salt);
  }
});
