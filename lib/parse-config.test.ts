import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig, shownSettings } from "./parse-config";
import { isSettingError } from "./setting-error";

const files: Record<string, string> = {
  "own.json": '{"llm_tpot": "avg<30"}',
  "torn.json": '{"llm_tpot": ',
  "blocks.jsonl": '{"timestamp":0,"input_length":600,"output_length":1,"hash_ids":[3, 4]}',
  "plain.jsonl": '{"timestamp":0,"input_length":600,"output_length":1,"hash_ids":[]}',
};

function readFile(path: string): string {
  const text = files[path];
  if (text === undefined) throw new Error(`${path} does not exist`);
  return text;
}

const parse = (environment: Record<string, string>) => parseConfig("s", { REQUESTS: 5 }, environment, readFile);

test("a configuration is the settings and what follows from them", () => {
  const config = parse({ SLO_TTFT: "200", CONCURENCY: "3" });
  assert.deepEqual([config.scenario, config.REQUESTS, config.profile], ["s", 5, "smoke"]);
  assert.deepEqual(config.sloMs, { ttft: 200, tpot: undefined, e2e: undefined });
  assert.deepEqual(config.warnings, ["CONCURENCY is not a setting; did you mean CONCURRENCY?"]);
});

test("a profile of the user's own is read from its file", () => {
  const { profile } = parse({ THRESHOLDS: "own.json" });
  assert.ok(typeof profile === "object");
  assert.deepEqual(profile.limits, { llm_tpot: ["avg<30"] });
});

test("a run has a salt of its own unless SALT gives it one, and results name it", () => {
  const [first, second] = [parse({}), parse({})];
  assert.match(first.SALT, /^[0-9a-f]{16}$/);
  assert.notEqual(first.SALT, second.SALT);
  assert.equal(shownSettings(first).SALT, first.SALT);
  assert.equal(parse({ SALT: "release-1.4" }).SALT, "release-1.4");
});

const intents: [environment: Record<string, string>, intent: string][] = [
  [{}, "cold"],
  [{ CACHE: "warm" }, "warm"],
  [{ SHARED_PREFIX: "64" }, "warm"],
  [{ SHARED_PREFIX: "64", CACHE: "cold" }, "cold"],
  [{ TRACE: "blocks.jsonl" }, "warm"],
  [{ TRACE: "blocks.jsonl", CACHE: "cold" }, "cold"],
  [{ TRACE: "plain.jsonl" }, "cold"],
  [{ TRACE: "absent.jsonl" }, "cold"],
  [{ DATASET: "prompts" }, "cold"],
];
for (const [environment, intent] of intents) {
  test(`the cache is meant to be ${intent}: ${JSON.stringify(environment)}`, () => {
    assert.equal(parse(environment).CACHE, intent);
  });
}

const refused: [environment: Record<string, string>, message: RegExp][] = [
  [{ THRESHOLDS: "strict" }, /^THRESHOLDS=strict is not one of smoke, interactive, batch, none or a JSON file$/],
  [{ THRESHOLDS: "none.json" }, /^THRESHOLDS=none\.json cannot be used: none\.json does not exist$/],
  [{ THRESHOLDS: "torn.json" }, /^THRESHOLDS=torn\.json cannot be used: it is not JSON/],
  [{ BETWEEN: "rm -r sk-secret" }, /^BETWEEN is set, but only `npm start prefill-decode` can run commands/],
  [{ SALT: "a b" }, /^SALT=a b is not 1 to 64 letters, digits, dots, hyphens and underscores$/],
  [{ SALT: "" }, /^SALT= is not 1 to 64 letters/],
  [{ CACHE: "hot" }, /^CACHE=hot is not one of cold, warm$/],
  [{ API: "chats" }, /^API=chats is not one of chat,/],
];
for (const [environment, message] of refused) {
  test(`refused: ${JSON.stringify(environment)}`, () => {
    assert.throws(
      () => parse(environment),
      (error) => isSettingError(error) && message.test(error.message),
    );
  });
}
