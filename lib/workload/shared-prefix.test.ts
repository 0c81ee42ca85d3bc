import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSettings } from "../settings/parse-settings";
import { requirePromptsOfTheirOwn } from "./shared-prefix";

function check(inputs: string, prefix: number, more = {}): void {
  const settings = parseSettings({ INPUT_TOKENS: inputs, SHARED_PREFIX: String(prefix), ...more }, {});
  requirePromptsOfTheirOwn(settings, settings.INPUT_TOKENS);
}

test("SHARED_PREFIX that leaves no prompt words of its own is refused, by the longest that the lengths draw", () => {
  const refused = {
    name: "SettingError",
    message: /^SHARED_PREFIX=\d+ makes all prompts the same, which have \d+ tokens/,
  };
  assert.throws(() => check("256", 400), refused);
  for (const [inputs, most] of Object.entries({
    "256": 256,
    "uniform:8:64": 64,
    "oneof:5:70:6": 70,
    "zipf:90:1.1": 90,
  })) {
    assert.throws(() => check(inputs, most), refused);
    check(inputs, most - 1);
  }
  check("lognormal:100:50", 4000);
  assert.throws(() => check("lognormal:100:50", 4000, { MAX_INPUT_TOKENS: "512" }), /have 512 tokens at most/);
  check("256", 0);
});
