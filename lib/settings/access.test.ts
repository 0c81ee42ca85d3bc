import assert from "node:assert/strict";
import test from "node:test";
import { accessOf, secretsAmong, secretsLine } from "./access";
import { parseSettings } from "./parse-settings";
import { shownSettings } from "./settings";

const parse = (given: Record<string, string>) => parseSettings(given, {});
const oauth = { OAUTH_TOKEN_URL: "https://id/token", OAUTH_CLIENT_ID: "me", OAUTH_CLIENT_SECRET: "s3cret" };

test("keys from two places, and half a source, are refused by name", () => {
  const refused: [RegExp, Record<string, string>][] = [
    [/API_KEY and API_KEY_FILE each say/, { API_KEY: "k", API_KEY_FILE: "f" }],
    [/API_KEY_COMMAND and OAUTH_TOKEN_URL each say/, { ...oauth, API_KEY_COMMAND: "x" }],
    [/OAUTH_SCOPE is set without OAUTH_TOKEN_URL/, { OAUTH_SCOPE: "x" }],
    [/without OAUTH_CLIENT_ID/, { OAUTH_TOKEN_URL: "https://id/token", OAUTH_CLIENT_SECRET: "s" }],
    [/needs one of OAUTH_CLIENT_SECRET and/, { ...oauth, OAUTH_CLIENT_SECRET_FILE: "f" }],
    [/AWS_SERVICE is set without AWS_REGION/, { AWS_SERVICE: "bedrock" }],
    [/AWS_REGION is set without AWS_SERVICE/, { AWS_REGION: "eu-west-1" }],
    [/API_KEY and AWS_SERVICE each say/, { API_KEY: "k", AWS_SERVICE: "bedrock", AWS_REGION: "eu-west-1" }],
    [/OAUTH_TOKEN_URL and AWS_SERVICE each say/, { ...oauth, AWS_SERVICE: "bedrock", AWS_REGION: "eu-west-1" }],
    [
      /API_KEY_FILE and API_KEY_COMMAND each say/,
      { API_KEY_FILE: "f", API_KEY_COMMAND: "x", AWS_SERVICE: "bedrock", AWS_REGION: "eu-west-1" },
    ],
    [/API_KEY_LIFETIME is how long/, { API_KEY_LIFETIME: "1h" }],
    [/TLS_CERT and TLS_KEY go together/, { TLS_CERT: "c.pem" }],
    [/HEADERS holds authorization, which API_KEY_FILE sets/, { API_KEY_FILE: "f", HEADERS: '{"authorization":"x"}' }],
    [/HEADERS holds \{\{key\}\} in api-key, but there is no key/, { HEADERS: '{"api-key":"{{key}}"}' }],
  ];
  for (const [message, given] of refused) assert.throws(() => parse(given), message);
});

test("the module is given keys and TLS, and nothing where there is neither", () => {
  const path = (name: string) => `/users/${name}`;
  assert.equal(accessOf(parse({ API_KEY: "k" }), path), undefined);
  const whole = parse({ ...oauth, OAUTH_SCOPE: "a b", TLS_CA: "ca.pem", TRACEPARENT: "true" });
  assert.deepEqual(JSON.parse(JSON.stringify(accessOf(whole, path))), {
    keys: {
      oauth: { tokenUrl: "https://id/token", clientId: "me", clientSecret: "s3cret", scope: "a b" },
    },
    tls: { ca: "/users/ca.pem", skipVerify: false },
    traceparent: true,
  });
  const aws = { AWS_SERVICE: "bedrock", AWS_REGION: "eu-west-1" };
  const from: Record<string, string>[] = [{ API_KEY_COMMAND: "x" }, { API_KEY_FILE: "f" }, {}];
  for (const each of from) {
    const { keys } = accessOf(parse({ ...aws, ...each }), path) ?? {};
    assert.deepEqual(keys?.aws, { service: "bedrock", region: "eu-west-1" });
    assert.deepEqual([keys?.command, keys?.file], [each.API_KEY_COMMAND, each.API_KEY_FILE && "/users/f"]);
  }
  const timed = accessOf(parse({ API_KEY_COMMAND: "x", API_KEY_LIFETIME: "50m" }), path);
  assert.equal(timed?.keys?.lifetimeMs, 3_000_000);
});

test("no secret is among the settings that are shown", () => {
  const shown = JSON.stringify(
    shownSettings(
      parse({ ...oauth, HEADERS: '{"X-Key":"s3cret"}', OAUTH_TOKEN_URL: "https://u:s3cret@id/t?k=s3cret" }),
    ),
  );
  assert.doesNotMatch(shown, /s3cret/);
  assert.doesNotMatch(JSON.stringify(shownSettings(parse({ API_KEY_COMMAND: "print s3cret" }))), /s3cret/);
});

test("secrets on a command line are distinguished from other settings", () => {
  const options = {
    API_KEY: "k",
    TOKENCLOCK_OAUTH_CLIENT_SECRET: "s",
    API_KEY_COMMAND: "x",
    BASE_URL: "http://me:secret@host/v1",
    HEADERS: '{"X-Team":"a","X-Api-Key":"k"}',
    MODEL: "m",
    API_KEY_FILE: "f",
  };
  assert.deepEqual(secretsAmong(options), [
    "API_KEY",
    "TOKENCLOCK_OAUTH_CLIENT_SECRET",
    "API_KEY_COMMAND",
    "BASE_URL",
    "HEADERS",
  ]);
  assert.deepEqual(secretsAmong({ HEADERS: '{"X-Team":"a","api-key":"{{key}}"}', BASE_URL: "http://host/v1" }), []);
  assert.match(
    secretsLine({ API_KEY: "k" }) ?? "",
    /^API_KEY given with -e .* set TOKENCLOCK_API_KEY in the environment/,
  );
  assert.equal(secretsLine({ MODEL: "m" }), undefined);
});

test("prices of both kinds, and half a price list, are refused", () => {
  assert.equal(parse({ PRICE_INPUT: "0", PRICE_OUTPUT: "15.5", PRICE_CACHED: "0.3" }).PRICE_OUTPUT, 15.5);
  assert.throws(() => parse({ PRICE_INPUT: "3" }), /PRICE_INPUT and PRICE_OUTPUT go together/);
  assert.throws(() => parse({ PRICE_CACHED: "3" }), /PRICE_CACHED is set without/);
  assert.throws(() => parse({ PRICE_HOUR: "3", PRICE_INPUT: "3", PRICE_OUTPUT: "3" }), /two ways to pay/);
});

test("a key goes to BASE_URL's server: another one is refused, unless it is named", () => {
  const base = { BASE_URL: "https://gpu.example.com/v1", ENDPOINT: "https://u:p@other.example.com/x?key=k" };
  const secrets: Record<string, string>[] = [
    { API_KEY: "k" },
    { API_KEY_FILE: "f" },
    { AWS_SERVICE: "bedrock", AWS_REGION: "eu-west-1" },
    { HEADERS: '{"X-Team":"a"}' },
  ];
  for (const secret of secrets) {
    const message =
      /^ENDPOINT=https:\/\/other\.example\.com\/x\?key=\*\*\*\* is on another server than BASE_URL, which \w+ (is|are) for; name that server in KEY_ORIGINS/;
    assert.throws(() => parse({ ...base, ...secret }), { message });
    for (const origins of ["https://other.example.com:8443", "http://other.example.com"]) {
      assert.throws(() => parse({ ...base, ...secret, KEY_ORIGINS: origins }), { message });
    }
    parse({ ...base, ...secret, KEY_ORIGINS: "http://a:1, https://other.example.com:443" });
    parse({ ...base, ...secret, ENDPOINT: "/x" });
    parse({ ...base, ...secret, ENDPOINT: "https://GPU.example.com/x" });
  }
  parse(base);
  for (const origins of ["other.example.com", "https://a/v1", "https://u@a", "http://a;http://b", "*"]) {
    assert.throws(() => parse({ KEY_ORIGINS: origins }), /KEY_ORIGINS=.* is not addresses such as/, origins);
  }
});
