/** A stack trace of k6's names the file and the line of the source: bundles have short names, and maps with few segments. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { bundle } from "../../build/bundle";
import { startChild } from "../support/child";
import { k6Binary } from "../support/run";
import { scratchDir } from "../support/scratch";

const dir = scratchDir();
const sources = {
  "part.ts": `export const table = [1, 2];

export function failInPart(): never {
  const reason = table.map((each) => each + 1).join();
  if (reason === "") throw new Error("never");
  throw new Error(\`in a part \${reason}\`);
}
`,
  "script.ts": `import { sleep } from "k6";

function failAtTop(wait: number): never {
  sleep(wait);
  throw new Error("at the top");
}

export default (): void => {
  if (__ENV.WHERE === "top") failAtTop(0.001);
  (require("./part") as typeof import("./part")).failInPart();
};
`,
};

for (const { where, thrown, lines } of [
  { where: "top", thrown: "at the top", lines: ["script.ts:5", "script.ts:9"] },
  { where: "part", thrown: "in a part 2,3", lines: ["part.ts:6", "script.ts:10"] },
]) {
  test(`a stack trace has the lines of what was thrown ${thrown}`, async () => {
    for (const [name, text] of Object.entries(sources)) writeFileSync(path.join(dir, name), text);
    const [script = ""] = await bundle([path.join(dir, "script.ts")], path.join(dir, "bundled"));
    const args = ["run", "--no-usage-report", "-e", `WHERE=${where}`, script];
    const { stdout, stderr } = await startChild(k6Binary(), args, { timeoutMs: 60_000 }).ended;
    const trace = stdout + stderr;
    assert.match(trace, new RegExp(`Error: ${thrown}`));
    for (const line of lines) assert.match(trace, new RegExp(`/${line}:\\d+\\(`), trace);
  });
}
