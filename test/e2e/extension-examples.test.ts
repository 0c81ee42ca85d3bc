/** The extension's own examples, as a user of the module alone runs them. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { builtK6, root } from "../../build/paths";
import { k6Environment } from "../../run/simulator";
import { startChild } from "../support/child";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const folder = path.join(root, "extension", "examples");

/** What each example shows on its output. */
const shows: Record<string, RegExp> = {
  "request.js": /16 tokens, TTFT \d+\.\d ms, e2e \d+\.\d ms/,
  "smoke.js": /nobody listens there: (reset|connect)/,
  "levels.js": /✓ 'value>10' value=\d+/,
};

for (const file of readdirSync(folder)) {
  test(`extension/examples/${file} runs as it stands`, { timeout: 60_000 }, async (t) => {
    const server = await startServer("--ttft", "10ms", "--itl", "1ms");
    t.after(server.stop);
    const child = startChild(
      process.env.K6_BINARY || builtK6,
      ["run", "--no-color", "-e", `BASE_URL=${server.baseUrl}`, path.join(folder, file)],
      { cwd: scratchDir(), env: k6Environment(), timeoutMs: 50_000 },
    );
    const { code, stdout, stderr } = await child.ended;
    assert.equal(code, 0, stdout + stderr);
    const pattern = shows[file];
    assert.ok(pattern, `say in this test what ${file} shows`);
    assert.match(stdout + stderr, pattern);
  });
}
