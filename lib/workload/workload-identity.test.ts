import assert from "node:assert/strict";
import { test } from "node:test";
import { workloadDigest, workloadIdentity } from "./workload-identity";

const base = {
  scenario: "concurrency-sweep",
  config: {
    BASE_URL: "http://a/v1",
    SEED: 1,
    SALT: "a",
    INPUT_TOKENS: "128",
    OUTPUT_TOKENS: "32",
    ARRIVAL: "constant",
  },
};
const digest = (config: Record<string, unknown>, digests?: Record<string, string>, scenario = base.scenario) =>
  workloadDigest(workloadIdentity({ scenario, config: { ...base.config, ...config }, digests }));
const same = digest({});

for (const [what, config, digests, equal] of [
  ["another address, model and salt", { BASE_URL: "http://b/v1", MODEL: "b", SALT: "b" }, {}, true],
  ["other servers that get the key, and VUs", { KEY_ORIGINS: "https://c", CLIENTS_PER_VU: 1 }, {}, true],
  ["another order of the settings", { ARRIVAL: "constant", SEED: 1 }, {}, true],
  ["another seed with fixed lengths: only the words differ", { SEED: 2 }, {}, true],
  ["another length", { OUTPUT_TOKENS: "33" }, {}, false],
  ["a setting more", { SHARED_PREFIX: 10 }, {}, false],
] as const) {
  test(`${what}: ${equal ? "the same" : "other"} work`, () => assert.equal(digest(config, digests) === same, equal));
}

test("the seed counts where a length or an arrival is drawn by it", () => {
  for (const drawn of [
    { OUTPUT_TOKENS: "uniform:8:64" },
    { INPUT_TOKENS: "lognormal:200:80" },
    { ARRIVAL: "poisson" },
    { ARRIVAL: "gamma:2" },
    { LENGTHS: "short,mixed" },
  ])
    assert.notEqual(digest({ ...drawn, SEED: 1 }), digest({ ...drawn, SEED: 2 }), JSON.stringify(drawn));
  for (const fixed of [{ LENGTHS: "short,long" }, { LENGTHS: "" }, { INPUT_TOKENS: 512 }])
    assert.equal(digest({ ...fixed, SEED: 1 }), digest({ ...fixed, SEED: 2 }), JSON.stringify(fixed));
});

test("a file counts by its content, not by its path; a set that ships by its name", () => {
  const of = (DATASET: string, content: string) => digest({ DATASET }, { DATASET: content });
  assert.equal(of("a/prompts.jsonl", "12ab"), of("/b/other.jsonl", "12ab"));
  assert.notEqual(of("a.jsonl", "12ab"), of("a.jsonl", "34cd"));
  assert.notEqual(digest({ DATASET: "prompts" }), digest({ DATASET: "chats" }));
  assert.equal(workloadIdentity({ ...base, config: { DATASET: "a.jsonl" } }).DATASET, "content unknown");
});

test("the files of classes count, which only the digests name", () => {
  const of = (content: string) => digest({ DURATION: 1000 }, { "chat.DATASET": content });
  assert.equal(of("12ab"), of("12ab"));
  assert.notEqual(of("12ab"), of("34cd"));
});

test("the digest is FNV-1a of 64 bits", () => {
  // Of the text [] with two bytes a character; by hand: h = (h ^ byte) * 0x100000001b3 over 5b 00 5d 00.
  let hash = 0xcbf29ce484222325n;
  for (const byte of [0x5bn, 0n, 0x5dn, 0n]) hash = BigInt.asUintN(64, (hash ^ byte) * 0x100000001b3n);
  assert.equal(workloadDigest({}), hash.toString(16).padStart(16, "0"));
  assert.match(same, /^[0-9a-f]{16}$/);
});

test("how a run is let in, and what its tokens cost, is no work", () => {
  const names = [
    "API_KEY_FILE",
    "API_KEY_LIFETIME",
    "OAUTH_SCOPE",
    "AWS_REGION",
    "TLS_CA",
    "TRACEPARENT",
    "PRICE_HOUR",
  ];
  for (const name of names) assert.equal(digest({ [name]: "x" }), same, name);
});
