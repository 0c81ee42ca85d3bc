import assert from "node:assert/strict";
import { test } from "node:test";
import { type Environment, parseSettings } from "./parse-settings";
import { isSettingError } from "./setting-error";
import { type SettingName, settings } from "./settings";
import { commonSettings, requireEffect, requireUsed, settingGroups, settingsOf, usedSettings } from "./used-settings";

test("a scenario uses the settings that it declares and those that every scenario uses, and reports others", () => {
  assert.deepEqual(settingsOf(["phases", "REFILL"]), [
    "PHASE",
    "PAUSE",
    "RESET_URL",
    "BETWEEN",
    "BETWEEN_TIMEOUT",
    "REFILL",
  ]);
  assert.deepEqual(new Set(usedSettings(["REFILL"])), new Set([...commonSettings, "REFILL"]));
  requireUsed("s", ["levels"], { CONCURRENCY: "1", SEED: "2" });
  assert.throws(
    () => requireUsed("concurrency-sweep", ["levels"], { RATE: "1" }),
    /^SettingError: concurrency-sweep does not use RATE; beside what every scenario uses it has CONCURRENCY, REQUESTS, DUR/,
  );
});

test("no setting is in two groups but those of every load in levels, nor in one and common to all", () => {
  // Sessions are a load of their own, with the settings of several groups.
  // So are a trace alone, a soak, a curve and classes.
  const { sessions, trace, soak, curve, classes, ...groups } = settingGroups;
  for (const own of [sessions, trace, soak, curve, classes])
    assert.equal(new Set([...commonSettings, ...own]).size, commonSettings.length + own.length);
  const all = [...commonSettings, ...Object.values(groups).flat()];
  assert.deepEqual(
    all.filter((name, i) => all.indexOf(name) !== i),
    ["DURATION", "CLIENTS_PER_VU"],
  );
  assert.ok([...all, ...sessions, ...trace, ...soak, ...curve, ...classes].every((name) => name in settings));
});

const idle: [given: Environment, name: SettingName, why: RegExp][] = [
  [{ API: "json", TARGETS: "t.txt", DATASET: "prompts" }, "DATASET", /with TARGETS/],
  [{ DATASET: "prompts", SHARED_PREFIX: "5" }, "SHARED_PREFIX", /with DATASET/],
  [{ DATASET: "prompts", LENGTHS: "short" }, "LENGTHS", /with DATASET/],
  [{ TRACE: "t.jsonl", RATE: "1" }, "RATE", /with TRACE/],
  // A trace says when what is sent, and how long it and its answer are.
  ...Object.entries({
    ...{ MAX_OUTPUT_TOKENS: "2", DATASET: "prompts", STAGES: "1s:2", ARRIVAL: "poisson", DURATION: "1s" },
    ...{ INPUT_TOKENS: "9", MAX_INPUT_TOKENS: "9", SHARED_PREFIX: "9", RATE_FILE: "r.csv", REQUESTS: "3" },
  }).map(([name, value]): (typeof idle)[number] => [
    { TRACE: "t.jsonl", [name]: value },
    name as SettingName,
    /with TRACE/,
  ]),
  // A set's rows are as long as they are.
  [{ DATASET: "prompts", INPUT_TOKENS: "9" }, "INPUT_TOKENS", /with DATASET/],
  [{ DATASET: "prompts", TOKEN_IDS: "true", API: "completions" }, "TOKEN_IDS", /with DATASET/],
  [{ TRACE: "t.jsonl", TOKEN_IDS: "true", API: "completions" }, "TOKEN_IDS", /with TRACE/],
  [{ TRACE: "t.jsonl", PATTERN: "sine:1:2:1m" }, "PATTERN", /with TRACE/],
  [{ TRACE: "t.jsonl", PRESET: "chat" }, "PRESET", /with TRACE/],
  [{ DATASET: "prompts", PRESET: "chat" }, "PRESET", /with DATASET or TARGETS/],
  [{ RATE_FILE: "r.csv", DURATION: "1m" }, "DURATION", /with RATE_FILE, which says how long/],
  [{ CURVE_PROFILE: "full", DURATION: "1m" }, "DURATION", /with CURVE_PROFILE=full/],
  [{ CONCURRENCY: "1,64", CURVE_MAX: "64" }, "CURVE_MAX", /with CONCURRENCY, which lists/],
  [{ LOOP: "closed", RATE_FILE: "r.csv" }, "RATE_FILE", /with LOOP=closed/],
  [{ TRACE: "t.jsonl", OUTPUT_TOKENS: "1" }, "OUTPUT_TOKENS", /with TRACE/],
  [{ TRACE: "t.jsonl", LOOP: "closed" }, "LOOP", /with TRACE/],
  [{ LOOP: "closed", STAGES: "1s:2", ARRIVAL: "poisson" }, "ARRIVAL", /with LOOP=closed/],
  [{ REFILL: "true", STAGGER: "1ms" }, "STAGGER", /with REFILL/],
  [{ PHASE: "full", PAUSE: "1s" }, "PAUSE", /with PHASE=full/],
  [{ BETWEEN_TIMEOUT: "1s" }, "BETWEEN_TIMEOUT", /without BETWEEN/],
  [{ SLO_PERCENTILE: "99" }, "SLO_PERCENTILE", /without SLO_TTFT/],
  [{ API: "embeddings", OUTPUT_TOKENS: "5" }, "OUTPUT_TOKENS", /with API=embeddings/],
  [{ API: "ollama-chat", IGNORE_EOS: "true" }, "IGNORE_EOS", /with API=ollama-chat, which has no way to force/],
  [{ API: "rerank", OUTPUT_TOKENS: "5" }, "OUTPUT_TOKENS", /with API=rerank, which generates nothing/],
  [{ API: "json", ENDPOINT: "/x", TEMPERATURE: "0" }, "TEMPERATURE", /with API=json/],
  [{ STREAM: "false", CONTINUOUS_USAGE: "true" }, "CONTINUOUS_USAGE", /but in streams of/],
  [{ API: "messages", CONTINUOUS_USAGE: "true" }, "CONTINUOUS_USAGE", /but in streams of/],
  [{ TRACE: "t.jsonl", SESSIONS: "3" }, "SESSIONS", /with TRACE, which says when sessions/],
  [{ RATE: "1", CONCURRENCY: "3" }, "CONCURRENCY", /with RATE/],
  [{ PREFIX_GROUPS: "3" }, "PREFIX_GROUPS", /without SHARED_PREFIX/],
  [{ SHARED_PREFIX: "9", PREFIX_POPULARITY: "zipf:1" }, "PREFIX_POPULARITY", /without PREFIX_GROUPS/],
  [{ DATASET: "chats", SESSION_TURNS: "3" }, "SESSION_TURNS", /with DATASET or TRACE/],
  [{ TOOL_TOKENS: "3" }, "TOOL_TOKENS", /without TOOL_ROUNDS/],
  [{ API: "messages", TOOL_ROUNDS: "3" }, "TOOL_ROUNDS", /but with API=chat/],
  [{ HISTORY: "live" }, "HISTORY", /without DATASET or TRACE/],
];
for (const [given, name, why] of idle) {
  test(`${name} is refused where it has no effect: ${JSON.stringify(given)}`, () => {
    assert.throws(
      () => requireEffect(parseSettings(given, {}), given),
      (error) =>
        isSettingError(error) &&
        error.message.startsWith(`${name} is set and has no effect `) &&
        why.test(error.message),
    );
    const { [name]: _, ...others } = given;
    requireEffect(parseSettings(others, {}), others);
  });
}

test("what the scenario has by default is not the user's, and is not refused", () => {
  requireEffect(parseSettings({ DATASET: "prompts" }, { TOKEN_IDS: true, OUTPUT_TOKENS: 5 }), { DATASET: "prompts" });
});
