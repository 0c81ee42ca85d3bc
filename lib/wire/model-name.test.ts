import assert from "node:assert/strict";
import { test } from "node:test";
import { findModel } from "./model-name";
import { readyWires } from "./ready-wires";
import { checkWire, namesModel } from "./wire";

const config = { BASE_URL: "http://h/v1", API: "chat", MODEL: "" } as const;
const giveUp = (line: string): never => {
  throw new Error(line);
};

function find(of: object, replies: Record<string, [number, string]>, wire?: keyof typeof readyWires): string {
  const description = wire && checkWire(wire, readyWires[wire]);
  const get = (url: string) => {
    const [status, body] = replies[url] ?? [404, ""];
    return { status, body, error: status === 0 ? body : "" };
  };
  const described = description && { description, namesModel: namesModel(description) };
  return findModel({ ...config, ...of }, described, "http://shown/v1", get, giveUp);
}

test("the first model that the server lists, by OpenAI's list or the wire's own", () => {
  assert.equal(find({}, { "http://h/v1/models": [200, '{"data":[{"id":"a"},{"id":"b"}]}'] }), "a");
  const ollama = { BASE_URL: "http://h", API: "ollama-chat" };
  assert.equal(find(ollama, { "http://h/api/tags": [200, '{"models":[{"name":"llama3"}]}'] }, "ollama-chat"), "llama3");
  assert.equal(find({ ...ollama, MODEL: "mine" }, {}, "ollama-chat"), "mine");
  assert.equal(find({ API: "tgi" }, {}, "tgi"), "", "requests name none");
});

test("a name that is needed and not found ends the run", () => {
  assert.throws(
    () => find({}, { "http://h/v1/models": [401, ""] }),
    /^Error: http:\/\/shown\/v1\/models lists no model \(HTTP 401\): the key is missing or refused; set API_KEY in the environment$/,
  );
  assert.throws(() => find({}, { "http://h/v1/models": [200, '{"data":[]}'] }), /lists no model/);
  assert.throws(
    () => find({}, { "http://h/v1/models": [404, ""] }),
    /\(HTTP 404\); set MODEL, or check BASE_URL and API_KEY$/,
  );
  assert.throws(
    () => find({ BASE_URL: "http://h" }, { "http://h/models": [404, ""] }),
    /\(HTTP 404\); set MODEL, or check BASE_URL, which ends in \/v1 as a rule, and API_KEY$/,
  );
  assert.throws(
    () => find({ API: "triton" }, {}, "triton"),
    /API=triton names the model and has no list of models; set MODEL/,
  );
});

test("a server that cannot be reached ends the run, with what to do", () => {
  const advice: [error: string, advice: string][] = [
    ["dial tcp 127.0.0.1:1: connect: connection refused", "check host and port, and that the server is running"],
    ["lookup nohost.invalid: no such host", "check host and port, and that the server is running"],
    ["context deadline exceeded", "no answer came in time: check host and port, and http:// or https://"],
    ["tls: first record does not look like a TLS handshake", "the server speaks http://, not https://"],
    [
      "tls: failed to verify certificate: x509: certificate signed by unknown authority",
      "TLS_CA names a file with the authority of its certificate",
    ],
  ];
  for (const [error, what] of advice)
    assert.throws(() => find({ MODEL: "m" }, { "http://h/v1/models": [0, error] }), {
      message: `BASE_URL=http://shown/v1 cannot be reached: ${error}; ${what}`,
    });
  const error = "no key: API_KEY_FILE=/nope cannot be read: no such file or directory";
  assert.throws(() => find({}, { "http://h/v1/models": [0, error] }), { message: error }, "no server was asked");
});
