/** The one command: what reaches its parts, and what shells complete. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { test } from "node:test";
import { Problem } from "../build/program";
import { completionScript } from "./completion";
import { parseStartArgs } from "./start";
import { tokenclock } from "./tokenclock";

test("settings stand alone, before and behind k6's arguments, and -e does the same", () => {
  const argv = [
    "concurrency-sweep",
    "CONCURRENCY=1,2",
    "--quiet",
    "BASE_URL=http://h/v1?a=b",
    "-e",
    "SEED=3",
    "--vus=2",
  ];
  const request = parseStartArgs(argv, "tokenclock run");
  assert.deepEqual(request.settings, { CONCURRENCY: "1,2", BASE_URL: "http://h/v1?a=b", SEED: "3" });
  assert.deepEqual(request.k6Args, ["--quiet", "--vus=2"]);
  assert.deepEqual([request.scenario, request.named], ["concurrency-sweep", true]);
});

test("the value of a k6 option that looks like a setting stays k6's", () => {
  const request = parseStartArgs(["batch-burst", "--tag", "RUN=7", "-o", "JSON=x", "RUNS=2"], "tokenclock run");
  assert.deepEqual(request.settings, { RUNS: "2" });
  assert.deepEqual(request.k6Args, ["--tag", "RUN=7", "-o", "JSON=x"]);
});

test("settings without a scenario name none, and a -- in between swallows nothing", () => {
  const request = parseStartArgs(["SIMULATE=true", "--", "REQUESTS=4"], "tokenclock run");
  assert.deepEqual([request.named, request.settings], [false, { SIMULATE: "true", REQUESTS: "4" }]);
});

test("npm start takes no setting that stands alone: npm may have taken its -e", () => {
  assert.deepEqual(parseStartArgs(["batch-burst", "RUNS=2"]).settings, {});
});

test("an unknown command is refused with those that there are", async () => {
  for (const name of ["gates", "constructor", "--oops"]) {
    await assert.rejects(tokenclock([name]), (error: unknown) => {
      assert.ok(error instanceof Problem && error.exitCode === 104);
      assert.match(error.message, new RegExp(`there is no command ${name}; there are run, report, gate`));
      return true;
    });
  }
});

const commands = [
  { name: "run", summary: "run it's", options: [], words: ["batch-burst", "batch-other", "BASE_URL="] },
  { name: "gate", summary: "judge", options: ["--profile", "--json"], words: [] },
];

/** What bash offers for a line, the cursor at its end. */
function offered(line: string): string[] {
  const words = line.split(" ");
  const script = `${completionScript("bash", commands)}
    compopt() { :; }
    COMP_LINE=${JSON.stringify(line)}; COMP_POINT=\${#COMP_LINE}; COMP_CWORD=${words.length - 1}
    COMP_WORDS=(${words.map((word) => JSON.stringify(word)).join(" ")})
    _tokenclock; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["-c", script], { encoding: "utf8" }).split("\n").filter(Boolean);
}

test("bash completes commands, options, scenarios and settings", { skip: process.platform === "win32" }, () => {
  assert.deepEqual(offered("tokenclock g"), ["gate"]);
  assert.deepEqual(offered("tokenclock gate --p"), ["--profile"]);
  assert.deepEqual(offered("tokenclock run batch-"), ["batch-burst", "batch-other"]);
  assert.deepEqual(offered("tokenclock run batch-burst BAS"), ["BASE_URL="]);
  assert.deepEqual(offered("tokenclock run --p"), []);
});

test("the scripts of zsh and fish have each command, and each shell that is here accepts its own", () => {
  for (const shell of ["zsh", "fish"] as const) {
    const script = completionScript(shell, commands);
    assert.match(script, /\brun\b[^\n]*run its/);
    assert.match(script, /profile/);
    const checked = spawnSync(shell, ["-n", "-c", script], { encoding: "utf8" });
    if (!checked.error) assert.equal(checked.status, 0, checked.stderr);
  }
  assert.throws(() => completionScript("tcsh", commands), /completion is for bash, zsh, fish, not for tcsh/);
});
