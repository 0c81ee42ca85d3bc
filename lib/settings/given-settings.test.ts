import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { asEnvironment, gatherSettings } from "./given-settings";
import type { Environment } from "./parse-settings";
import { isSettingError } from "./setting-error";
import { type SettingName, settings } from "./settings";

test("an option counts for more than TOKENCLOCK_NAME, and that for more than BASE_URL and API_KEY", () => {
  const environment = { BASE_URL: "a", API_KEY: "k", TOKENCLOCK_BASE_URL: "b", TOKENCLOCK_SEED: "1" };
  assert.deepEqual(gatherSettings({}, environment), { BASE_URL: "b", API_KEY: "k", SEED: "1" });
  assert.deepEqual(gatherSettings({ SEED: "2", TOKENCLOCK_BASE_URL: "c" }, environment), {
    ...{ BASE_URL: "c", API_KEY: "k", SEED: "2" },
  });
});

test("no other variable of the environment is a setting", () => {
  const image = {
    TIMEOUT: "300",
    TRACE: "1",
    MODEL: "x",
    CONCURENCY: "4",
    STAGE: "prod",
    REQUESTS: "",
    PATH: "/bin",
    TOKENCLOCK_READER: "off",
    TOKENCLOCK_NODE: "/usr/bin/node",
  };
  assert.deepEqual(gatherSettings({}, image), {});
});

const refused: [options: Environment, environment: Environment, message: RegExp][] = [
  [{ base_url: "x" }, {}, /^-e base_url is not a setting; did you mean BASE_URL\?$/],
  [{ SLO_TFTT: "1" }, {}, /^-e SLO_TFTT is not a setting; did you mean SLO_TTFT\?$/],
  [{ CONCURENCY: "4" }, {}, /did you mean CONCURRENCY\?$/],
  [{ ORDER: "4" }, {}, /^-e ORDER is not a setting; docs\/settings\.md lists them$/],
  [{ constructor: "4" }, {}, /^-e constructor is not a setting/],
  [{}, { TOKENCLOCK_CONCURENCY: "4" }, /^TOKENCLOCK_CONCURENCY is not a setting; did you mean CONCURRENCY\?$/],
  [{ BASE_URL: "" }, {}, /^-e BASE_URL= is empty: is the variable that it comes from unset\?/],
  [{}, { BASE_URL: "" }, /^BASE_URL= is empty: is the variable/],
  [{}, { API_KEY: " " }, /^API_KEY= is empty/],
  [{}, { TOKENCLOCK_TIMEOUT: "" }, /^TOKENCLOCK_TIMEOUT= is empty: leave it out for its default \(TIMEOUT is a dur/],
  [{ SLO_TTFT: "" }, { TOKENCLOCK_SLO_TTFT: "4" }, /^-e SLO_TTFT= is empty/],
];
for (const [options, environment, message] of refused) {
  test(`refused: ${JSON.stringify({ options, environment })}`, () => {
    assert.throws(
      () => gatherSettings(options, environment),
      (error) => isSettingError(error) && message.test(error.message),
    );
  });
}

test("a name that is no setting is never read, whatever it is like", () => {
  const name = fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom(..."ABCDEFGHIKLMNOPRSTUZ_aeklst") });
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(settings)), name, fc.nat(), (setting, other, at) => {
      const misspelt = setting.slice(0, at % setting.length) + other + setting.slice((at % setting.length) + 1);
      for (const each of [other, misspelt]) {
        if (each in settings || each.startsWith("TOKENCLOCK_")) continue;
        assert.throws(() => gatherSettings({ [each]: "1" }, {}), isSettingError);
        assert.throws(() => gatherSettings({}, { [`TOKENCLOCK_${each}`]: "1" }), isSettingError);
      }
    }),
    { seed: 1 },
  );
});

test("what is gathered travels to k6 by environment and arrives as it was", () => {
  const given: Partial<Record<SettingName, string>> = { BASE_URL: "http://h/v1", API_KEY: "k", EXTRA_BODY: '{"a":1}' };
  assert.deepEqual(gatherSettings({}, { BASE_URL: "other", ...asEnvironment(given) }), given);
});
