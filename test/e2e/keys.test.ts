/** Keys that end in the middle of a run: no request fails for it, and nothing of a secret is left or seen anywhere. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
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
