import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Problem } from "../build/program";
import { readBetween, runBetween } from "./between";

const secret = "sk-between-31f";
const phases = "prefill-decode";

test("without a command there is nothing between the phases, whatever the scenario", () => {
  for (const BETWEEN of [undefined, "", "  "]) {
    assert.equal(readBetween(phases, { BETWEEN }), undefined);
    assert.equal(readBetween("concurrency-sweep", { BETWEEN, RATE: "not read here" }), undefined);
  }
});

test("the command is taken as it is; its limit is ten minutes by default", () => {
  const command = "systemctl stop vllm && x='a=b; c' systemctl start vllm";
  assert.deepEqual(readBetween(phases, { BETWEEN: command }), { command, timeoutMs: 600_000 });
  assert.equal(readBetween(phases, { BETWEEN: command, BETWEEN_TIMEOUT: "90s" })?.timeoutMs, 90_000);
  assert.ok(readBetween(phases, { BETWEEN: command, PHASE: "both", PAUSE: "0s" }));
});

const refused: [string, NodeJS.ProcessEnv, RegExp][] = [
  ["concurrency-sweep", {}, /^BETWEEN is for prefill-decode only: concurrency-sweep has no phases$/],
  [phases, { PHASE: "full" }, /^BETWEEN and PHASE=full exclude each other/],
  [phases, { PHASE: "prefill" }, /^BETWEEN and PHASE=prefill exclude each other/],
  [phases, { PAUSE: "5s" }, /^BETWEEN excludes PAUSE and RESET_URL/],
  [phases, { RESET_URL: "/reset_prefix_cache" }, /^BETWEEN excludes PAUSE and RESET_URL/],
  [phases, { BETWEEN_TIMEOUT: "0s" }, /^BETWEEN_TIMEOUT=0s is not a duration/],
  [phases, { PHASE: "half" }, /^PHASE=half is not one of/],
];
for (const [scenario, environment, message] of refused) {
  test(`${scenario} with BETWEEN and ${JSON.stringify(environment)} is refused in a line without the command`, () => {
    assert.throws(
      () => readBetween(scenario, { ...environment, BETWEEN: `restart ${secret}` }),
      (error) =>
        error instanceof Problem &&
        error.exitCode === 104 &&
        message.test(error.message) &&
        !/\n|sk-between/.test(error.message),
    );
  });
}

function scratch(t: TestContext): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-between-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A server that answers its requests with these codes in turn, the last one for ever; `asked` are their paths. */
async function answering(t: TestContext, ...codes: number[]): Promise<{ baseUrl: string; asked: string[] }> {
  const asked: string[] = [];
  const server = http.createServer((request, reply) => {
    asked.push(`${request.url} ${request.headers.authorization ?? ""}`.trim());
    reply.writeHead(codes[Math.min(asked.length, codes.length) - 1] ?? 500).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address);
  return { baseUrl: `http://user:${secret}@127.0.0.1:${address.port}/v1`, asked };
}

/** What a command line of node is in the shell; the script must hold no double quotes. */
const node = (script: string) => `"${process.execPath}" -e "${script}"`;

const problem = (message: RegExp) => (error: unknown) =>
  error instanceof Problem && error.exitCode === 108 && message.test(error.message) && !error.message.includes(secret);

test("after the command the server is asked until it answers with anything but an error of its own", async (t) => {
  const { baseUrl, asked } = await answering(t, 503, 502, 401);
  await runBetween({ command: node("process.exit(0)"), timeoutMs: 60_000 }, baseUrl);
  assert.deepEqual(asked, ["/v1/models", "/v1/models", "/v1/models"], "without a key or password");
});

test("a command that fails ends the run by its exit code, and the server is not asked", async (t) => {
  const { baseUrl, asked } = await answering(t, 200);
  await assert.rejects(
    runBetween({ command: `${node("process.exit(7)")} ${secret}`, timeoutMs: 60_000 }, baseUrl),
    problem(/^the command of BETWEEN ended with exit code 7, so the prefill phase was not run$/),
  );
  assert.deepEqual(asked, []);
});

test("a server that does not come back ends the run within the limit", async (t) => {
  const { baseUrl, asked } = await answering(t, 503);
  await assert.rejects(
    runBetween({ command: node("process.exit(0)"), timeoutMs: 1500 }, baseUrl),
    problem(/^http:\/\/127\.0\.0\.1:\d+\/v1 did not answer within BETWEEN_TIMEOUT=1500ms after BETWEEN \(.+\), so/),
  );
  assert.ok(asked.length > 0);
});

const posix = { skip: process.platform === "win32" && "a POSIX shell is needed" };

test("a command over its limit is ended with all that it started", { ...posix, timeout: 60_000 }, async (t) => {
  const pidFile = path.join(scratch(t), "pid");
  // A child of the shell's, which outlives a signal to the shell alone.
  await assert.rejects(
    runBetween(
      { command: `sh -c 'echo $$ > "${pidFile}"; sleep 100'; true`, timeoutMs: 3000 },
      "http://127.0.0.1:9/v1",
    ),
    problem(/^the command of BETWEEN took longer than BETWEEN_TIMEOUT=3s, so the prefill phase was not run$/),
  );
  const pid = Number(readFileSync(pidFile, "utf8"));
  const alive = () => {
    try {
      process.kill(pid, 0);
      return !/^State:\s+Z/m.test(existsSync("/proc") ? readFileSync(`/proc/${pid}/status`, "utf8") : "");
    } catch {
      return false;
    }
  };
  while (alive()) await new Promise((resolve) => setTimeout(resolve, 20));
});

test(
  "the command is in no arguments of the shell that runs it, and not in its environment either",
  posix,
  async (t) => {
    const { baseUrl } = await answering(t, 200);
    const dir = scratch(t);
    const command = [
      `: ${secret}`,
      `cd '${dir}'`,
      // On systems without /proc the second half is what is left of the test.
      "if [ -e /proc/$$/cmdline ]; then cat /proc/$$/cmdline > cmdline; else : > cmdline; fi",
      "env > env",
    ].join("\n");
    await runBetween({ command, timeoutMs: 60_000 }, baseUrl);
    assert.ok(!readFileSync(path.join(dir, "cmdline"), "utf8").includes(secret));
    const env = readFileSync(path.join(dir, "env"), "utf8");
    assert.ok(!/^BETWEEN=/m.test(env));
    assert.ok(env.includes(`BASE_URL=${baseUrl}`), "it is told where the server is");
  },
);
