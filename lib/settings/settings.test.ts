import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { secretName } from "./access";
import { ownValue } from "./own";
import { type Environment, parseSettings } from "./parse-settings";
import {
  editDistance,
  formatDurationMs,
  parseDurationMs,
  type Setting,
  SettingError,
  type SettingName,
  settings,
  shownSettings,
} from "./settings";

test("built-in default, scenario's default and environment follow one another", () => {
  const defaults = { CONCURRENCY: [1, 2], OUTPUT_TOKENS: 64, REQUESTS: 10 };
  assert.equal(parseSettings({}, {}).API, "chat");
  assert.deepEqual(parseSettings({}, defaults).CONCURRENCY, [1, 2]);
  assert.deepEqual(parseSettings({ CONCURRENCY: "4, 8" }, defaults).CONCURRENCY, [4, 8]);
  assert.deepEqual(parseSettings({}, defaults).OUTPUT_TOKENS, { kind: "fixed", value: 64 });
});

test("a scenario's own token ids are left out with an API that takes none", () => {
  assert.equal(parseSettings({ API: "chat" }, { API: "completions", TOKEN_IDS: true }).TOKEN_IDS, false);
  assert.equal(parseSettings({}, { API: "completions", TOKEN_IDS: true }).TOKEN_IDS, true);
});

test("the environment's DURATION replaces the scenario's REQUESTS and the other way round", () => {
  const byTime = parseSettings({ DURATION: "30s" }, { REQUESTS: 10 });
  assert.deepEqual([byTime.REQUESTS, byTime.DURATION], [undefined, 30_000]);
  const byCount = parseSettings({ REQUESTS: "7" }, { DURATION: 5000 });
  assert.deepEqual([byCount.REQUESTS, byCount.DURATION], [7, undefined]);
  assert.throws(() => parseSettings({ REQUESTS: "7", DURATION: "5s" }, {}), /REQUESTS=7 and DURATION=5s both bound/);
});

const refused: [Environment, RegExp][] = [
  [{ CONCURRENCY: "eight" }, /^CONCURRENCY=eight is not a list of whole numbers from 1 to 100000/],
  [{ CONCURRENCY: "0" }, /^CONCURRENCY=0 is not/],
  [{ CONCURRENCY: "100001" }, /^CONCURRENCY=100001 is not/],
  [{ CONCURRENCY: "1,2,1" }, /^CONCURRENCY=1,2,1 is not/],
  [{ CONCURRENCY: "1,,2" }, /^CONCURRENCY=1,,2 is not/],
  [{ CONCURRENCY: "" }, /^CONCURRENCY= is empty; it is a list of whole numbers/],
  [{ ENDPOINT: " " }, /^ENDPOINT= is empty; it is a path/],
  [{ BASE_URL: "127.0.0.1:8000" }, /^BASE_URL=127.0.0.1:8000 is not an address/],
  [{ BASE_URL: "http://127.0.0.1:8000/v1?key=5#x" }, /^BASE_URL=http:\S+\?key=\*{4}#\*\*\*\* is not an address /],
  [{ API: "custom" }, /^API=custom needs WIRE, the file that describes it$/],
  [{ WIRE: "mine.json" }, /^WIRE=mine.json describes an API, but API=chat is another one; set API=custom$/],
  [{ API: "tgi", TOKEN_IDS: "true" }, /^TOKEN_IDS=true: API=tgi takes no token ids/],
  [{ BASE_URL: "http://:8000/v1" }, /^BASE_URL=http:\/\/:8000\/v1 is not an address/],
  [{ BASE_URL: "http://host:99999/v1" }, /^BASE_URL=http:\/\/host:99999\/v1 is not an address/],
  [{ RESET_URL: "http://user:secret@:1/" }, /^RESET_URL=http:\/\/:1\/ is not a path/],
  [{ RESULTS: "" }, /^RESULTS= is empty; it is a folder/],
  [{ TOKEN_IDS: "true" }, /^TOKEN_IDS=true: API=chat takes no token ids; set API=completions/],
  [{ METHOD: "GET" }, /^METHOD is set, but API=chat has no use for it/],
  [{ API: "completions", BODY: "{}" }, /^BODY is set, but API=completions has no use for it/],
  [{ API: "json" }, /^API=json needs ENDPOINT or TARGETS/],
  [{ API: "chats" }, /^API=chats is not one of chat, completions/],
  [{ TIMEOUT: "30" }, /^TIMEOUT=30 is not a duration/],
  [{ TIMEOUT: "0s" }, /^TIMEOUT=0s is not/],
  [{ REQUESTS: "-1" }, /^REQUESTS=-1 is not a whole number/],
  [{ RATE: "fast" }, /^RATE=fast is not a list of numbers/],
  [{ STAGES: "30s" }, /^STAGES=30s is not steps/],
  [{ STAGES: "0s:10" }, /^STAGES=0s:10 is not steps/],
  [{ ARRIVAL: "gamma" }, /^ARRIVAL=gamma is not constant/],
  [{ ARRIVAL: "gamma:0" }, /^ARRIVAL=gamma:0 is not/],
  [{ WARMUP: "some" }, /^WARMUP=some is not auto/],
  [{ INPUT_TOKENS: "uniform:9:3" }, /^INPUT_TOKENS=uniform:9:3 is not a whole number from 1 or one of/],
  [{ OUTPUT_TOKENS: "0" }, /^OUTPUT_TOKENS=0 is not/],
  [{ EXTRA_BODY: "[1]" }, /^EXTRA_BODY=\[1\] is not a JSON object/],
  [{ IGNORE_EOS: "maybe" }, /^IGNORE_EOS=maybe is not true or false/],
  [{ SLO_TTFT: "200ms" }, /^SLO_TTFT=200ms is not a number/],
  [{ SEED: "1.5" }, /^SEED=1.5 is not/],
  [{ INPUT_TOKENS_POINTER: "usage" }, /^INPUT_TOKENS_POINTER=usage is not a JSON pointer/],
];
for (const [environment, message] of refused) {
  test(`${JSON.stringify(environment)} is refused by name, value and what is allowed`, () => {
    assert.throws(
      () => parseSettings(environment, {}),
      (error) => error instanceof SettingError && message.test(error.message) && !error.message.includes("\n"),
    );
  });
}

test("an address may have a query, whose values are not shown: Azure's holds the API's version", () => {
  const parsed = parseSettings({ BASE_URL: "https://h.example/openai/deployments/gpt/?api-version=2024-10-21" }, {});
  assert.equal(parsed.BASE_URL, "https://h.example/openai/deployments/gpt?api-version=2024-10-21");
  assert.equal(shownSettings(parsed).BASE_URL, "https://h.example/openai/deployments/gpt?api-version=****");
});

test("a script may have the description of its API among its defaults", () => {
  const wire = {
    name: "mine",
    request: { path: "/x", body: { p: "{{prompt}}" } },
    response: { format: "sse", text: "/t" },
  } as const;
  const parsed = parseSettings({}, { API: "custom", WIRE: wire });
  assert.equal(parsed.WIRE, wire);
  assert.equal(shownSettings(parsed).WIRE, "mine");
  assert.equal(shownSettings(parseSettings({ API: "custom", WIRE: "w.json" }, {})).WIRE, "w.json");
});

test("a secret is in no message and in no echo", () => {
  const secret = "sk-very-secret";
  const environment = {
    API_KEY: secret,
    HEADERS: `{"X-Key": "${secret}"}`,
    BASE_URL: `http://user:${secret}@host/v1`,
    ENDPOINT: `/v1/chat?key=${secret}&b=${secret}#x`,
    METRICS_URL: `http://user:${secret}@host/metrics?key=${secret}`,
    RESET_URL: `http://host:8000/reset?token=${secret}`,
    BETWEEN: `KEY=${secret} ./restart`,
  };
  const shown = shownSettings(parseSettings(environment, {}));
  assert.doesNotMatch(JSON.stringify(shown), /secret/);
  assert.deepEqual(shown.HEADERS, { "X-Key": "(set)" });
  assert.equal(shown.BASE_URL, "http://host/v1");
  assert.equal(shown.ENDPOINT, "/v1/chat?key=****&b=****#x");
  assert.throws(
    () => parseSettings({ HEADERS: `{"X-Key": "${secret}"` }, {}),
    (error) => error instanceof SettingError && !error.message.includes(secret),
  );
});

const ramp = { STAGES: [{ durationMs: 20_000, target: 20 }] };

test("RATE takes the place of a scenario's own STAGES, and STAGES of RATE", () => {
  const rates = parseSettings({ RATE: "400", DURATION: "3s" }, ramp);
  assert.deepEqual([rates.RATE, rates.STAGES, rates.DURATION], [[400], [], 3000]);
  assert.deepEqual(parseSettings({}, ramp).STAGES, ramp.STAGES);
  assert.equal(parseSettings({ DURATION: "3s" }, {}).DURATION, 3000, "a scenario of levels has no ramp");
});

test("of a rate and a ramp neither is ignored: asking for both is refused", () => {
  const refused = (environment: Environment, message: RegExp) =>
    assert.throws(() => parseSettings(environment, ramp), { message });
  refused({ RATE: "10", STAGES: "30s:10" }, /^RATE=10 and STAGES=30s:10 both say how many requests a second; set one/);
  refused(
    { DURATION: "3s" },
    /^DURATION=3s is how long a constant RATE or a PATTERN lasts; set one of them, or only STAGES for a ramp$/,
  );
  refused({ RATE: "10", RATE_FILE: "r.csv" }, /^RATE=10 and RATE_FILE=r.csv both say/);
  refused({ PATTERN: "sine:1:2:1m", DURATION: "5m", STAGES: "1s:2" }, /^STAGES=1s:2 and PATTERN=sine:1:2:1m both say/);
  refused({ STAGES: "30s:10", DURATION: "3s" }, /^DURATION=3s is how long/);
});

for (const load of [{ STAGES: "30s:10,0ms:20,1m:20" }, { RATE: "0.5,2" }] as Environment[])
  test(`what is shown of a setting can be set again: ${JSON.stringify(load)}`, () => {
    const environment: Environment = {
      ...load,
      CONCURRENCY: "1,2,4",
      DURATION: "1m30s",
      WARMUP: "5s",
      ARRIVAL: "gamma:0.5",
      INPUT_TOKENS: "lognormal:512:100",
      OUTPUT_TOKENS: "oneof:16:128",
      TEMPERATURE: "0",
    };
    const first = parseSettings(environment, {});
    const again = Object.fromEntries(
      Object.entries(shownSettings(first))
        // What is not set cannot be set again.
        .filter(([, value]) => value !== "")
        .map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]),
    );
    assert.deepEqual(parseSettings(again, {}), first);
  });

test("every setting has a documentation line and says what is allowed", () => {
  for (const [name, { doc, allowed }] of Object.entries(settings)) {
    assert.match(doc, /\.$/, name);
    assert.ok(allowed.length > 5, name);
  }
});

test("edit distance is a metric that counts a swap of neighbours once", () => {
  assert.equal(editDistance("CONCURENCY", "CONCURRENCY"), 1);
  assert.equal(editDistance("TTTF", "TTFT"), 1);
  const word = fc.string({ maxLength: 8 });
  fc.assert(
    fc.property(word, word, (a, b) => {
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.equal(editDistance(a, b) === 0, a === b);
      assert.ok(editDistance(a, b) <= Math.max(a.length, b.length));
    }),
  );
});

test("durations", () => {
  const rows: [string, number | undefined][] = [
    ["500ms", 500],
    ["1.5s", 1500],
    ["1m30s", 90_000],
    ["2h", 7_200_000],
    ["0", 0],
    ["30", undefined],
    ["s", undefined],
    ["-1s", undefined],
    ["1s ", undefined],
  ];
  for (const [text, ms] of rows) assert.equal(parseDurationMs(text), ms, text);
  fc.assert(fc.property(fc.nat(1e9), (ms) => assert.equal(parseDurationMs(formatDurationMs(ms)), ms)));
});

test("PATTERN: a sine or spikes, shown in a form to be set again; what is neither is refused", () => {
  for (const text of ["sine:5:50:10m", "spikes:0:50.5:1m:10s"]) {
    const settings = parseSettings({ PATTERN: text, DURATION: "1h" }, ramp);
    assert.equal(shownSettings(settings).PATTERN, text);
    assert.deepEqual(settings.STAGES, [], "in the place of the scenario's own ramp");
    assert.equal(shownSettings(settings).RATE, undefined);
  }
  for (const bad of [
    ...[
      "sine:50:5:1m",
      "sine:5:5:1m",
      "sine:5:50",
      "sine:5:50:0",
      "sine:5:50:1m:10s",
      "sine:-1:5:1m",
      "sine:1:2000000:1m",
    ],
    ...["spikes:5:50:1m", "spikes:5:50:1m:1m", "spikes:5:50:1m:0s", "saw:1:2:1m", "sine"],
  ])
    assert.throws(
      () => parseSettings({ PATTERN: bad, DURATION: "1h" }, ramp),
      /PATTERN=.* is not sine:LOW:HIGH:PERIOD/,
      bad,
    );
});

test("what is refused is shown without the secret that may be in it", () => {
  // No kind of value takes this: a letter beyond ASCII, blanks, and words where numbers belong.
  const texts = [
    "hunter2 \u00e9",
    "https://user:hunter2@h ost/v1",
    "https://user:hun/ter2@h ost",
    "user:hunter2@host \u00e9",
    "https://h ost/v1?api-key=hunter2",
    "https://host #hunter2",
    '{"Authorization": hunter2}',
  ];
  const concealed = new Map<string, string>();
  for (const [name, kind] of Object.entries(settings) as [SettingName, Setting<unknown>][]) {
    for (const text of texts) {
      if (kind.parse(text) !== undefined || !kind.conceal) continue;
      // An address shows its path, of which a bare word may be the whole.
      if (/URL|ORIGINS|ENDPOINT|COORDINATOR$/.test(name) && !/[@?#]/.test(text)) continue;
      assert.throws(
        () => parseSettings({ [name]: text }, {}),
        (error) => {
          assert.ok(error instanceof Error);
          concealed.set(name, error.message);
          assert.doesNotMatch(error.message, /hunter2|hun\/ter2/, `${name}=${text}`);
          assert.ok(error.message.startsWith(`${name}=`), error.message);
          return true;
        },
      );
    }
  }
  // A setting whose name tells of a secret, or of an address, cannot be forgotten.
  const names = Object.keys(settings).filter(
    (name) =>
      (secretName.test(name) || /_URL$|ORIGINS|ENDPOINT|HEADERS|COMMAND|^COORDINATOR$/.test(name)) &&
      !/_FILE$|TOKENS|TOKEN_IDS|_HEADER$|POINTER$|^TLS_/.test(name),
  );
  const anything = ["API_KEY_COMMAND", "BETWEEN"];
  const noSecrets = ["API_KEY_LIFETIME", "OAUTH_CLIENT_ID", "OAUTH_SCOPE", "OAUTH_AUDIENCE"];
  assert.deepEqual(
    names.filter((name) => !concealed.has(name) && ![...anything, ...noSecrets].includes(name)),
    [],
  );
});

test("a script's own setting whose name tells of a secret is refused without its value", () => {
  const read = (name: string) => () => ownValue({ name, value: 1 }, "hunter2");
  assert.throws(read("MY_TOKEN"), { message: "MY_TOKEN=(hidden) is not a number" });
  assert.throws(read("MY_SHARE"), { message: "MY_SHARE=hunter2 is not a number" });
});
