import assert from "node:assert/strict";
import test from "node:test";
import { parseSettings } from "../settings/parse-settings";
import { requestHeaders } from "./headers";

const parse = (given: Record<string, string>) => parseSettings(given, {});
const oauth = { OAUTH_TOKEN_URL: "https://id/token", OAUTH_CLIENT_ID: "me", OAUTH_CLIENT_SECRET: "s3cret" };

test("the key stands in the headers that its API wants, or in those that the user says", () => {
  const cases: [string, Record<string, string>, Record<string, string>][] = [
    ["a fixed key", { API_KEY: "k1" }, { Authorization: "Bearer k1" }],
    ["one for messages", { API_KEY: "k1", API: "messages" }, { Authorization: "Bearer k1", "x-api-key": "k1" }],
    ["one from a file", { API_KEY_FILE: "key" }, { Authorization: "Bearer {{key}}" }],
    ["from a command", { API_KEY_COMMAND: "x" }, { Authorization: "Bearer {{key}}" }],
    ["from a token endpoint", oauth, { Authorization: "Bearer {{key}}" }],
    ["a signature", { AWS_SERVICE: "bedrock", AWS_REGION: "eu-west-1" }, { Authorization: "{{signature}}" }],
    ["a header of the user's", { API_KEY_FILE: "key", HEADERS: '{"api-key":"{{key}}"}' }, { "api-key": "{{key}}" }],
    ["the same with a fixed key", { API_KEY: "k1", HEADERS: '{"api-key":"{{key}}"}' }, { "api-key": "k1" }],
    ["Azure's own key", { API_KEY: "k1", BASE_URL: "https://a.openai.azure.com/v1" }, { "api-key": "k1" }],
    ["Azure's token", { ...oauth, BASE_URL: "https://a.openai.azure.com/v1" }, { Authorization: "Bearer {{key}}" }],
    ["no key", {}, {}],
  ];
  for (const [sentence, given, want] of cases) {
    const { "Content-Type": _, "anthropic-version": __, ...headers } = requestHeaders(parse(given));
    assert.deepEqual(headers, want, sentence);
  }
});

test("a described API's header takes the place of the usual one", () => {
  const wire = { headers: { "X-Key": "{{key}}" }, ownKey: true };
  const headers = requestHeaders(parse({ API_KEY_FILE: "f" }), wire);
  assert.equal(headers["X-Key"], "{{key}}");
  assert.equal(headers.Authorization, undefined);
});
