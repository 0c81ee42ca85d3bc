import assert from "node:assert/strict";
import { test } from "node:test";
import { type ClassSpec, parseClasses, parseMix } from "./mix";
import { clientConfig } from "./own-client";
import { parseConfig } from "./parse-config";
import type { Environment } from "./parse-settings";
import { partConfig } from "./part-config";

const configOf = (given: Environment = {}) =>
  parseConfig(
    { scenario: "own", defaults: { RATE: [] }, uses: ["classes", "generation"] },
    { BASE_URL: "http://one:8000/v1", ...given },
    () => "",
    () => "",
  );

const parsed = (of: Record<string, ClassSpec>, given?: Environment) => parseClasses(of, [], configOf(given));

test("a class of a script has the run's settings, and its own over them", () => {
  const [chat, summary] = parsed(
    {
      chat: { rate: 8, prompts: { input: "lognormal:200:80", output: 128 }, headers: { "X-Class": "chat" } },
      summary: { concurrency: 2, prompts: { dataset: "articles.jsonl" }, body: { temperature: 0 }, model: "large" },
    },
    { OUTPUT_TOKENS: "30", EXTRA_BODY: '{"top_p":0.5}', HEADERS: '{"X-Team":"a"}' },
  );
  assert.equal(chat?.rate, 8);
  assert.deepEqual(chat?.config.INPUT_TOKENS, { kind: "lognormal", mean: 200, std: 80 });
  assert.deepEqual(chat?.config.OUTPUT_TOKENS, { kind: "fixed", value: 128 });
  assert.deepEqual(chat?.config.HEADERS, { "X-Team": "a", "X-Class": "chat" });
  assert.deepEqual(
    [summary?.concurrency, summary?.config.MODEL, summary?.config.DATASET],
    [2, "large", "articles.jsonl"],
  );
  assert.deepEqual(summary?.config.OUTPUT_TOKENS, { kind: "fixed", value: 30 });
  assert.deepEqual(summary?.config.EXTRA_BODY, { top_p: 0.5, temperature: 0 });
  assert.deepEqual([chat?.config.part, summary?.config.part], ["chat", "summary"]);
});

test("a server that KEY_ORIGINS names gets the run's key and headers; one with a key of its own names others by itself", () => {
  const given = { API_KEY: "sk-one", HEADERS: '{"X-Team":"secret"}', MODEL: "m", KEY_ORIGINS: "http://two:8000" };
  const server = "http://two:8000/v1";
  const [named, keyed] = parsed(
    { named: { rate: 1, server, headers: { "X-Class": "a" } }, keyed: { rate: 1, server, key: "sk-two" } },
    given,
  );
  assert.deepEqual(
    [named?.config.API_KEY, named?.config.HEADERS, named?.config.MODEL],
    ["sk-one", { "X-Team": "secret", "X-Class": "a" }, ""],
  );
  assert.deepEqual([keyed?.config.API_KEY, keyed?.config.KEY_ORIGINS], ["sk-two", []]);
  const endpoint = { ENDPOINT: "http://three/v1/chat" };
  assert.throws(
    () => parsed({ a: { rate: 1, settings: endpoint } }, given),
    /ENDPOINT=http:\/\/three\/v1\/chat is on another server/,
  );
});

test("an SLO that names its percentile is a limit and counts for goodput", () => {
  const [chat] = parsed({
    chat: { rate: 1, slo: { ttft: "p(95) < 300", tpot: 40 }, thresholds: { llm_ttft: "max<900" } },
  });
  assert.deepEqual(chat?.sloMs, { ttft: 300, tpot: 40 });
  assert.deepEqual(chat?.limits, { llm_ttft: ["p(95)<300", "max<900"] });
  const file = { classes: [{ name: "chat", rate: 1, slo: { ttft: "p(95)<300" } }] };
  assert.deepEqual(parseMix(JSON.stringify(file), configOf())[0]?.limits, { llm_ttft: ["p(95)<300"] });
});

test("another server is sent neither the run's key nor its headers", () => {
  const given = { API_KEY: "sk-one", HEADERS: '{"X-Team":"secret"}', MODEL: "m" };
  const [same, port, other, keyed] = parsed(
    {
      same: { rate: 1, server: "http://one:8000/other/v1" },
      port: { rate: 1, server: "http://one:8001/v1", headers: { "X-Class": "b" } },
      other: { rate: 1, server: "http://two:8000/v1" },
      keyed: { rate: 1, server: "http://two:8000/v1", key: "sk-two" },
    },
    given,
  );
  const shown = (of: typeof same) => [of?.config.API_KEY, of?.config.HEADERS, of?.config.MODEL];
  assert.deepEqual(shown(same), ["sk-one", { "X-Team": "secret" }, "m"]);
  assert.deepEqual(shown(port), ["", { "X-Class": "b" }, ""]);
  assert.deepEqual(shown(other), ["", {}, ""]);
  assert.deepEqual(shown(keyed), ["sk-two", {}, ""]);
  // A key that is renewed is the run's server's, too.
  const renewed = partConfig(configOf({ API_KEY_COMMAND: "print-key", API_KEY_LIFETIME: "10m" }), "x", {
    BASE_URL: "http://two/v1",
    API_KEY: "sk-two",
  });
  assert.deepEqual([renewed.API_KEY_COMMAND, renewed.API_KEY_LIFETIME, renewed.API_KEY], ["", undefined, "sk-two"]);
});

test("what is wrong with a class is refused by its name", () => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [
      { a: { rate: 1, concurrency: 2 } },
      /classes\(\): class a: it has one of share, rate, concurrency, pattern, rateFile/,
    ],
    [{ a: { rate: 1, prompts: { inputs: 3 } } }, /class a: prompts has inputs; it may have input, output and dataset/],
    [{ a: { rate: 1, prompts: { input: "many" } } }, /class a: INPUT_TOKENS=many is not/],
    [{ a: { rate: 1, slo: { ttft: "300ms" } } }, /class a: slo\.ttft "300ms" is no number of ms/],
    [{ a: { rate: 1, slo: { ttft: "rate<3" } } }, /class a: slo\.ttft "rate<3" is no number/],
    [{ a: { rate: 1, slo: { itl: 3 } } }, /class a: slo has itl; it may have ttft, tpot and e2e/],
    [{ a: { rate: 1, thresholds: { llm_ttf: "p(95)<3" } } }, /class a: .*llm_ttf/],
    [{ a: { rate: 1, settings: { RESULTS: "x" } } }, /class a: settings has RESULTS/],
    [{ a: { rate: 1, speed: 3 } }, /class a: speed is not known/],
    [{ "a b": { rate: 1 } }, /class 1 has the name "a b"/],
    [{}, /classes is no list of classes/],
  ];
  for (const [of, message] of cases) assert.throws(() => parsed(of as Record<string, ClassSpec>), message);
});

test("a client of a script takes what concerns its server and requests, and nothing else", () => {
  const config = configOf({ API_KEY: "sk-one" });
  const own = clientConfig(config, "large", { BASE_URL: "http://two/v1", OUTPUT_TOKENS: 64, HEADERS: { "X-A": "b" } });
  assert.deepEqual([own.BASE_URL, own.API_KEY, own.HEADERS], ["http://two/v1", "", { "X-A": "b" }]);
  assert.equal(own.part, "client large");
  const wrong = (settings: object) => () => clientConfig(config, "large", settings);
  assert.throws(wrong({ CONCURRENCY: 3 }), /test\.client\("large"\): CONCURRENCY is not one of BASE_URL/);
  assert.throws(wrong({ BASE_URL: "two" }), /test\.client\("large"\): BASE_URL=two/);
});
