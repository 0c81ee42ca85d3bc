/** No default silently overrides what the user set: for every pair of settings of which one could. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "./parse-config";
import { parseSettings } from "./parse-settings";
import { replacements } from "./replaced-defaults";
import { type Defaults, type SettingName, type Settings, settings } from "./settings";

/** A value of each setting as a user writes it. */
const written: Partial<Record<SettingName, string>> = {
  ...{ SESSIONS: "3", REQUESTS: "7", DURATION: "20s", RATE: "2", STAGES: "5s:4", PATTERN: "sine:1:2:10s" },
  ...{ RATE_FILE: "rates.csv", CONCURRENCY: "5", TRACE: "trace.jsonl", DATASET: "rows.jsonl", TARGETS: "paths.txt" },
  ...{ ENDPOINT: "/own", INPUT_TOKENS: "900", OUTPUT_TOKENS: "800", MAX_INPUT_TOKENS: "9", MAX_OUTPUT_TOKENS: "8" },
  ...{ CURVE_MIN: "2", CURVE_MAX: "64", PRICE_HOUR: "4", PRICE_INPUT: "1", PRICE_OUTPUT: "2", PRICE_CACHED: "0.5" },
};
const text = (name: SettingName) => written[name] ?? assert.fail(`${name} has no value in this test`);
const value = (name: SettingName) => settings[name].parse(text(name));

/** What must be set beside a setting for it to be one. */
const beside = (name: SettingName): SettingName[] => {
  if (name === "PRICE_INPUT") return ["PRICE_OUTPUT"];
  if (name === "PRICE_OUTPUT") return ["PRICE_INPUT"];
  return name === "PRICE_CACHED" ? ["PRICE_INPUT", "PRICE_OUTPUT"] : [];
};
const environment = (name: SettingName) =>
  Object.fromEntries([name, ...beside(name)].map((each) => [each, text(each)])) as Record<string, string>;
const defaultsOf = (name: SettingName) =>
  Object.fromEntries([name, ...beside(name)].map((each) => [each, value(each)])) as Defaults;

for (const { given, drops } of replacements) {
  for (const own of given) {
    for (const other of drops) {
      test(`${own} of the user's counts, and no default of ${other}`, () => {
        const parsed = parseSettings(environment(own), defaultsOf(other));
        assert.deepEqual(parsed[own], value(own));
        const none = other === "RATE" || other === "CONCURRENCY" ? [] : settings[other].initial;
        assert.deepEqual(parsed[other], none);
        // Nobody's setting: the default stands.
        assert.deepEqual(parseSettings({}, defaultsOf(other))[other], value(other));
      });
    }
  }
}

/** What the load would be, by the settings that say it. */
const loads: [string, Defaults, Record<string, string>, Partial<Settings>][] = [
  [
    "a script's DURATION, the user's SESSIONS",
    { CONCURRENCY: [2], DURATION: 60_000, RATE: [] },
    { SESSIONS: "9" },
    { SESSIONS: 9, DURATION: undefined, REQUESTS: undefined, RATE: [] },
  ],
  [
    "a script's RATE, the user's CONCURRENCY",
    { RATE: [2], DURATION: 60_000 },
    { CONCURRENCY: "4" },
    { RATE: [], CONCURRENCY: [4], DURATION: 60_000 },
  ],
  [
    "a script's STAGES, the user's CONCURRENCY and DURATION",
    { STAGES: [{ durationMs: 1000, target: 5 }], RATE: [] },
    { CONCURRENCY: "4", DURATION: "5s" },
    { STAGES: [], RATE: [], CONCURRENCY: [4], DURATION: 5000 },
  ],
  [
    "a script's RATE, the user's STAGES",
    { RATE: [2], DURATION: 60_000 },
    { STAGES: "1s:5" },
    { RATE: [], STAGES: [{ durationMs: 1000, target: 5 }] },
  ],
  [
    "a script's longest output, the lengths of the user's PRESET",
    { MAX_OUTPUT_TOKENS: 4, RATE: [] },
    { PRESET: "chat" },
    { MAX_OUTPUT_TOKENS: undefined },
  ],
];
const uses = ["sessions", "generation"] as const;
const parse = (defaults: Defaults, given: Record<string, string>) =>
  parseConfig(
    { scenario: "own", defaults, uses },
    { BASE_URL: "http://127.0.0.1:1/v1", ...given },
    () => "",
    () => "",
  );
for (const [what, defaults, given, expected] of loads) {
  test(what, () => {
    const config = parse(defaults, given);
    for (const [name, each] of Object.entries(expected)) assert.deepEqual(config[name as SettingName], each, name);
  });
}

test("what a default leaves without effect is refused, as where the user had set both", () => {
  for (const [defaults, given, says] of [
    [{ RATE: [2], DURATION: 60_000 }, { SESSIONS: "9" }, /SESSIONS is set and has no effect with RATE/],
    [{ STAGES: [{ durationMs: 1000, target: 5 }], RATE: [] }, { REQUESTS: "9" }, /REQUESTS .* no effect with STAGES/],
    [{ DATASET: "chats", RATE: [] }, { SESSION_TURNS: "3" }, /SESSION_TURNS .* no effect with DATASET/],
    [{ RATE: [] }, { SESSIONS: "9", DURATION: "5s" }, /SESSIONS=9 and DURATION=5s both bound a level/],
    [{ RATE: [] }, { SESSIONS: "9", REQUESTS: "5" }, /SESSIONS=9 and REQUESTS=5 both bound a level/],
    [{ RATE: [] }, { RATE: "1", STAGES: "1s:1" }, /RATE=1 and STAGES=1s:1 both say how many requests a second/],
    [{ RATE: [] }, { RATE: "1", DURATION: "1s", CONCURRENCY: "3" }, /CONCURRENCY is set and has no effect with RATE/],
  ] as [Defaults, Record<string, string>, RegExp][]) {
    assert.throws(() => parse(defaults, given), says);
  }
});
