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

const declaration = {
  scenario: "s",
  defaults: { REQUESTS: 5 },
  uses: ["levels", "PHASE", "BETWEEN", "prompts", "TRACE"],
} as const;
const named = { BASE_URL: "http://127.0.0.1:1/v1" };
const parse = (given: Record<string, string>) => parseConfig(declaration, { ...named, ...given }, readFile, readFile);

test("a configuration is the settings and what follows from them", () => {
  const config = parse({ SLO_TTFT: "200" });
  assert.deepEqual([config.scenario, config.REQUESTS, config.profile], ["s", 5, "smoke"]);
  assert.deepEqual(config.sloMs, { ttft: 200, tpot: undefined, e2e: undefined });
  assert.ok(config.used.includes("CONCURRENCY") && !config.used.includes("RATE"), "the settings that it uses");
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
  [{ SALT: "" }, /^SALT= is empty; it is 1 to 64 letters/],
  [{ CACHE: "hot" }, /^CACHE=hot is not one of cold, warm$/],
  [{ API: "chats" }, /^API=chats is not one of chat,/],
  [{ RATE: "5" }, /^s does not use RATE; beside what every scenario uses it has CONCURRENCY, REQUESTS, DURATION, /],
  [{ SLO_PERCENTILE: "99" }, /^SLO_PERCENTILE is set and has no effect without SLO_TTFT, SLO_TPOT or SLO_E2E/],
];
for (const [environment, message] of refused) {
  test(`refused: ${JSON.stringify(environment)}`, () => {
    assert.throws(
      () => parse(environment),
      (error) => isSettingError(error) && message.test(error.message),
    );
  });
}

test("a run whose server is not named is refused, and only `npm start` can bring one", () => {
  const refusedWith = (given: Record<string, string>, message: RegExp) =>
    assert.throws(
      () => parseConfig(declaration, given, readFile, readFile),
      (error) => isSettingError(error) && message.test(error.message),
    );
  refusedWith({}, /^BASE_URL is not set: name the server, such as -e BASE_URL=http:\/\/127\.0\.0\.1:8000\/v1$/);
  refusedWith({ SIMULATE: "true" }, /^SIMULATE=true: only `npm start` starts the simulated server/);
  refusedWith({ API: "chats" }, /^API=chats is not one of/);
  assert.equal(parse({ SIMULATE: "true" }).SIMULATE, true, "it may be said of a server that is named");
});
