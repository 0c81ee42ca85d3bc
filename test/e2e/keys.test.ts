/** Keys that end in the middle of a run: no request fails for it, and nothing of a secret is left or seen anywhere. */
import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { root } from "../../build/paths";
import type { Summary } from "../../lib/figures/level-summary";
import { asEnvironment } from "../../lib/settings/given-settings";
import { k6Environment } from "../../run/simulator";
import { startChild } from "../support/child";
import { assertEndedWell, readRecords, requestsIn, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const secret = "client-secret-8d1f";
/** The simulated server's keys, and the secret that they are given for. */
const hidden = /sim-[A-Z2-7]{20}|client-secret-8d1f/;

const secretFile = path.join(scratchDir(), "secret");
writeFileSync(secretFile, secret, { mode: 0o600 });

const load = { CONCURRENCY: 8, DURATION: "4s", OUTPUT_TOKENS: 8, WARMUP: 0 };

/** A server whose keys live for this long. */
const serverOf = (lifetime: string, ...flags: string[]) =>
  startServer(
    "--client-secret-file",
    secretFile,
    "--key-lifetime",
    lifetime,
    "--ttft",
    "5ms",
    "--itl",
    "2ms",
    ...flags,
  );

/** Looks at the arguments of all processes until it is stopped; returns those in which a secret stood. */
function watchProcesses(): { stop(): { seen: string[]; looks: number } } {
  const seen: string[] = [];
  let looks = 0;
  const look = () => {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      try {
        const text = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        if (hidden.test(text)) seen.push(text.replaceAll("\0", " "));
        looks++;
      } catch {
        // It has ended.
      }
    }
  };
  const timer = setInterval(look, 20);
  return {
    stop() {
      clearInterval(timer);
      return { seen, looks };
    },
  };
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .map((name) => path.join(dir, name))
    .filter((file) => statSync(file).isFile());
}

function assertNoSecretBelow(dir: string): string[] {
  const files = filesBelow(dir);
  for (const file of files) {
    const bytes = readFileSync(file);
    const text = (file.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("latin1");
    assert.doesNotMatch(text, hidden, file);
  }
  return files.map((file) => path.relative(dir, file));
}

test("tokens of OAuth are renewed before they end: the server refuses none", async () => {
  const server = await serverOf("2s");
  const ended = await run("concurrency-sweep", {
    ...load,
    BASE_URL: server.baseUrl,
    OAUTH_TOKEN_URL: `${server.origin}/oauth/token`,
    OAUTH_CLIENT_ID: "me",
    OAUTH_CLIENT_SECRET: secret,
    TRACEPARENT: "true",
    PRICE_HOUR: 36,
    SLO_E2E: 60_000,
  });
  await server.stop();
  assertEndedWell(ended);
  const requests = ended.requests;
  assert.ok(requests.length > 100, `${requests.length} requests`);
  assert.deepEqual(
    requests.filter(({ outcome }) => outcome !== "completed"),
    [],
  );
  assert.equal(new Set(requests.map(({ traceId }) => traceId)).size, requests.length, "each has a trace of its own");
  const note = (ended.summary.validity.notes ?? []).find((line) => line.startsWith("the key was renewed")) ?? "";
  assert.match(note, /renewed [23] times, and could not be 0 times/);
  assertNoSecretBelow(ended.dir);
  assert.doesNotMatch(ended.stdout + ended.stderr, hidden);
  // A cent a second, for what the server gave in it.
  const [level] = ended.summary.levels;
  assert.ok(level?.cost !== undefined);
  assert.ok(Math.abs(level.cost.perRequest * level.requestThroughput - 0.01) < 1e-9);
  assert.ok(Math.abs((level.cost.perMillionOutputTokens ?? 0) * level.outputThroughput - 1e4) < 1e-3);
  // All met the SLO; the two are computed in another order.
  assert.ok(Math.abs((level.cost.perGoodRequest ?? 0) / level.cost.perRequest - 1) < 1e-9);
  assert.match(ended.stdout, /\$ a request +\$ a Mtok +\$ a Mtok in SLO +\$ a good req/);
});

test("a key that ends unannounced is fetched anew by its command: no request fails, and no secret is seen", async () => {
  const server = await serverOf("1500ms", "--key-lifetime-unstated");
  const dir = scratchDir();
  const script = path.join(dir, "key.cjs");
  writeFileSync(
    script,
    `const secret = require("node:fs").readFileSync(${JSON.stringify(secretFile)}, "utf8");
     const body = new URLSearchParams({ grant_type: "client_credentials", client_secret: secret });
     fetch("${server.origin}/oauth/token", { method: "POST", body }).then((r) => r.json()).then((r) => console.log(r.access_token));`,
  );
  const results = path.join(dir, "results");
  const settings = {
    ...Object.fromEntries(Object.entries({ ...load, DURATION: "3s" }).map(([name, value]) => [name, String(value)])),
    BASE_URL: server.baseUrl,
    // What stands in the command itself is a secret, too.
    API_KEY_COMMAND: `S=${secret} "${process.execPath}" "${script}"`,
    RESULTS: results,
  };
  const processes = watchProcesses();
  const child = startChild("npm", ["start", "--silent"], {
    ...{ cwd: root, timeoutMs: 90_000, env: k6Environment({ ...asEnvironment(settings), INIT_CWD: dir }) },
  });
  const ended = await child.ended;
  const { seen, looks } = processes.stop();
  await server.stop();
  const summary = JSON.parse(readFileSync(path.join(results, "summary.json"), "utf8")) as Summary;
  assertEndedWell({ ...ended, summary });
  const requests = requestsIn(readRecords(path.join(results, "records.ndjson.gz")));
  assert.ok(requests.length > 100, `${requests.length} requests`);
  assert.deepEqual(
    requests.filter(({ outcome }) => outcome !== "completed").map(({ status }) => status),
    [],
  );
  const again = requests.filter(({ keyRetries = 0 }) => keyRetries > 0);
  assert.ok(again.length > 0 && again.every(({ keyRetries }) => keyRetries === 1));
  assert.ok(
    (summary.validity.notes ?? []).some((line) =>
      line.startsWith(`${again.length} requests met a key that had just ended`),
    ),
    summary.validity.notes?.join("\n"),
  );
  assert.ok(looks > 100 && seen.length === 0, `${looks} looks: ${seen}`);
  const files = assertNoSecretBelow(results);
  for (const name of ["summary.json", "config.json", "records.ndjson.gz", "report.html", "start.junit.xml"])
    assert.ok(files.includes(name), `${name} among ${files}`);
  assert.doesNotMatch(ended.stdout + ended.stderr, hidden);
});

/** AWS's Signature Version 4 of a request, from AWS's description of it, for the headers that the client signed. */
function signatureOf(request: http.IncomingMessage, body: string, secretKey: string): string {
  const { authorization = "", "x-amz-date": date = "" } = request.headers;
  const [, scope = "", names = ""] = /Credential=[^/]+\/(\S+), SignedHeaders=([^,]+),/.exec(authorization) ?? [];
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
  const headers = names.split(";").map((name) => `${name}:${request.headers[name]}\n`);
  const canonical = [request.method, request.url, "", headers.join(""), names, sha256(body)].join("\n");
  const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest();
  const key = scope.split("/").reduce<string | Buffer>(hmac, `AWS4${secretKey}`);
  return hmac(key, ["AWS4-HMAC-SHA256", date, scope, sha256(canonical)].join("\n")).toString("hex");
}

/**
 * A server that issues credentials for `lifeMs` from when they are issued (and takes them for a second more: a request may be on its
 * way when they end) or, where they do not state their end, from their first use.
 */
async function signedServer(t: TestContext, lifeMs: number, stated: boolean) {
  const state = { issued: 0, expired: 0, wrong: [] as string[] };
  const issued = new Map<unknown, { SecretAccessKey: string; endMs: number | undefined }>();
  const server = http.createServer((request, response) => {
    let body = "";
    request.on("data", (part) => {
      body += part;
    });
    request.on("end", () => {
      const say = (status: number, type: string, text: string) =>
        response.writeHead(status, { "Content-Type": type, "Content-Length": Buffer.byteLength(text) }).end(text);
      if (request.url === "/issue") {
        const n = ++state.issued;
        const keys = {
          AccessKeyId: `ASIAHIDDEN${n}`,
          SecretAccessKey: `hidden-secret-${n}`,
          SessionToken: `hidden-session-${n}`,
        };
        const endMs = Date.now() + lifeMs;
        const { SecretAccessKey } = keys;
        issued.set(keys.SessionToken, { SecretAccessKey, endMs: stated ? endMs + 1000 : undefined });
        return say(
          200,
          "application/json",
          JSON.stringify({ Version: 1, ...keys, Expiration: new Date(endMs).toISOString() }),
        );
      }
      const { authorization = "", "x-amz-security-token": token } = request.headers;
      const keys = issued.get(token);
      if (keys) keys.endMs ??= Date.now() + lifeMs;
      if (!keys || Date.now() > (keys.endMs ?? 0)) {
        state.expired++;
        return say(403, "application/json", '{"message":"The security token included in the request is expired"}');
      }
      if (!authorization.endsWith(`Signature=${signatureOf(request, body, keys.SecretAccessKey)}`)) {
        state.wrong.push(`${request.method} ${request.url}`);
        return say(403, "application/json", '{"message":"The request signature we calculated does not match"}');
      }
      if (request.method === "GET") return say(200, "application/json", '{"data":[{"id":"m"}]}');
      const chunk = (delta: object, finish: string | null) =>
        `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
      const usage = `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: [DONE]\n\n`;
      return say(200, "text/event-stream", chunk({ content: "a" }, null) + chunk({ content: "b" }, "stop") + usage);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, state };
}

for (const [name, stated] of [
  ["credentials of AWS are renewed before their Expiration", true],
  ["credentials of AWS that expire unannounced are renewed on 403 ExpiredToken", false],
] as const) {
  test(`${name}: no request fails, and no secret is seen`, async (t) => {
    const server = await signedServer(t, 1500, stated);
    const dir = scratchDir();
    const script = path.join(dir, "credentials.cjs");
    const shown = stated ? "r" : "{ ...r, Expiration: undefined }";
    writeFileSync(
      script,
      `fetch("${server.origin}/issue").then((r) => r.json()).then((r) => console.log(JSON.stringify(${shown})));`,
    );
    const ended = await run("concurrency-sweep", {
      ...{ CONCURRENCY: 2, DURATION: "5s", OUTPUT_TOKENS: 2, WARMUP: 0, IGNORE_EOS: "false", THRESHOLDS: "none" },
      ...{ BASE_URL: `${server.origin}/v1`, AWS_SERVICE: "bedrock", AWS_REGION: "eu-west-1" },
      API_KEY_COMMAND: `"${process.execPath}" "${script}"`,
    });
    const { state } = server;
    assert.deepEqual(state.wrong, [], "each signature is that of AWS's description");
    assert.ok(state.issued >= 3, `issued ${state.issued} times`);
    const { requests } = ended;
    assert.ok(requests.length > 20, `${requests.length} requests\n${ended.stderr}`);
    assert.deepEqual(
      requests.filter(({ outcome }) => outcome !== "completed"),
      [],
    );
    const again = requests.filter(({ keyRetries = 0 }) => keyRetries > 0).length;
    if (stated) assert.deepEqual([again, state.expired], [0, 0]);
    else assert.ok(again > 0 && state.expired > 0, `${again} sent again of ${state.expired}`);
    const hidden = /ASIAHIDDEN|hidden-se/;
    assert.doesNotMatch(ended.stdout + ended.stderr, hidden);
    for (const file of filesBelow(ended.dir)) {
      const bytes = readFileSync(file);
      assert.doesNotMatch((file.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("latin1"), hidden, file);
    }
  });
}

/** A server that notes what it is asked with, and answers as `reply` does. */
async function noting(
  t: TestContext,
  reply: http.RequestListener,
): Promise<{ origin: string; asked: http.IncomingMessage[] }> {
  const asked: http.IncomingMessage[] = [];
  const server = http.createServer((request, response) => {
    asked.push(request);
    request.resume().on("end", () => reply(request, response));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

const answer: http.RequestListener = (_, response) => {
  response.setHeader("Content-Type", "application/json");
  response.end('{"data":[{"id":"m"}]}');
};

test("the key goes to BASE_URL's server and to those that KEY_ORIGINS names; others get nothing of it", async (t) => {
  const [own, other] = [await noting(t, answer), await noting(t, answer)];
  const keyed = ({ headers }: http.IncomingMessage) =>
    headers.authorization === "Bearer sk-own" && headers["x-team"] === "t";
  const open = {
    ...{ BASE_URL: `${own.origin}/v1`, API: "json", METHOD: "GET", METRICS_URL: `${other.origin}/metrics` },
    ...{ CONCURRENCY: 1, REQUESTS: 4, WARMUP: 0, THRESHOLDS: "none" },
  };
  const settings = { ...open, API_KEY: "sk-own", HEADERS: '{"X-Team":"t"}' };
  const targets = path.join(scratchDir(), "targets.txt");
  writeFileSync(targets, `/a\n${other.origin}/b\n`);
  for (const [more, named] of [
    [{ ENDPOINT: `${other.origin}/b?c=d` }, "ENDPOINT=.*/b\\?c=\\*\\*\\*\\*"],
    [{ TARGETS: targets }, "TARGETS=.*: line 2"],
  ] as const) {
    const refused = await run("concurrency-sweep", { ...settings, ...more });
    assert.equal(refused.code, 104, refused.stderr);
    const line = `tokenclock: ${named} is on another server than BASE_URL, which API_KEY and HEADERS are for; name that server in KEY_ORIGINS`;
    assert.match(refused.stderr, new RegExp(line));
  }
  assert.equal(own.asked.length + other.asked.length, 0, "nothing is sent");

  // The page of metrics is on a server that the key is not for; the load goes to the own one.
  const ended = await run("concurrency-sweep", { ...settings, ENDPOINT: "/a" });
  assert.equal(ended.summary.levels[0]?.completed, 4, ended.stdout + ended.stderr);
  assert.ok(own.asked.length >= 4 && own.asked.every(keyed));
  assert.ok(other.asked.length > 0, "its metrics were asked for");
  for (const { headers } of other.asked)
    assert.deepEqual([headers.authorization, headers["x-team"]], [undefined, undefined]);

  other.asked.length = 0;
  const named = await run("concurrency-sweep", { ...settings, TARGETS: targets, KEY_ORIGINS: other.origin });
  assert.equal(named.summary.levels[0]?.completed, 4, named.stdout + named.stderr);
  const pages = other.asked.map(({ url }) => url);
  assert.ok(pages.includes("/b") && pages.includes("/metrics"), `${pages}`);
  assert.ok(other.asked.every(keyed));

  const without = await run("concurrency-sweep", { ...open, TARGETS: targets });
  assert.equal(without.summary.levels[0]?.completed, 4, "without a key there is nothing to refuse");
});

test("a redirect to another server is not followed with the key: neither by the load nor before it", async (t) => {
  const other = await noting(t, answer);
  const own = await noting(t, ({ url }, response) => {
    response.writeHead(307, { Location: `${other.origin}${url}`, "Content-Length": 0 }).end();
  });
  const settings = {
    ...{ BASE_URL: `${own.origin}/v1`, MODEL: "m", CONCURRENCY: 1, REQUESTS: 2, WARMUP: 0, RESET_URL: "/reset" },
    HEADERS: '{"X-Own-Key":"{{key}}","X-Team":"t"}',
  };
  const keyFile = path.join(scratchDir(), "key");
  writeFileSync(keyFile, "sk-own");
  for (const [scenario, key] of [
    ["prefill-decode", { API_KEY: "sk-own" }],
    ["prefill-decode", { API_KEY_FILE: keyFile }],
  ] as const) {
    const ended = await run(scenario, { ...settings, ...key });
    assert.ok(ended.requests.length > 0 && ended.requests.every(({ status }) => status === 307), ended.stderr);
  }
  assert.ok(own.asked.length > 0 && own.asked.every(({ headers }) => headers["x-own-key"] === "sk-own"));
  assert.ok(other.asked.length > 0, "what asks before the load follows");
  assert.ok(
    other.asked.every(({ url }) => !/chat/.test(url ?? "")),
    "the load does not",
  );
  for (const { headers } of other.asked) {
    assert.deepEqual(
      [headers.authorization, headers["x-own-key"], headers["x-team"]],
      [undefined, undefined, undefined],
    );
  }
});

test("a key that the server refuses is reported once, and a secret on the command line is warned of", async () => {
  const server = await serverOf("1h");
  const ended = await run(
    "concurrency-sweep",
    { CONCURRENCY: 4, REQUESTS: 20, WARMUP: 0, BASE_URL: server.baseUrl, MODEL: "simulated" },
    { args: ["-e", "API_KEY=sim-AAAAAAAAAAAAAAAAAAAAAAAA"] },
  );
  await server.stop();
  const output = ended.stdout + ended.stderr;
  assert.notEqual(ended.code, 0);
  assert.equal(output.match(/HTTP 401: it refuses the key/g)?.length, 1, output);
  assert.equal(output.match(/API_KEY given with -e can be read in the process list/g)?.length, 1, output);
  assert.doesNotMatch(output, hidden);
  assertNoSecretBelow(ended.dir);
});
