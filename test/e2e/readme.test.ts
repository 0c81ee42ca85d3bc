/**
 * What README.md shows can be typed: every command in it is run as written, against the simulated server where it names a
 * server of the reader's. What takes minutes is not run but looked at; the test says so. A command of a kind that is not
 * known here fails, so that none slips by.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { root } from "../../build/paths";
import { k6Environment } from "../../run/simulator";
import { startChild } from "../support/child";
import { scratchDir } from "../support/scratch";
import { type SimulatedServer, startServer } from "../support/simulated";

const file = path.join(root, "README.md");
const readme = existsSync(file) ? readFileSync(file, "utf8") : "";
const scripts = (
  JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { scripts: Record<string, string> }
).scripts;

/** The commands of the blocks marked sh, bash, shell or console (there, of the lines behind a prompt) and of the text. */
function commandsOf(markdown: string): string[] {
  const commands: string[] = [];
  for (const [, language = "", block = ""] of markdown.matchAll(/^```(sh|bash|shell|console)\n([\s\S]*?)^```/gm)) {
    for (const line of block.replace(/\\\n\s*/g, " ").split("\n")) {
      const command = language === "console" ? (/^\$ (.*)$/.exec(line)?.[1] ?? "") : line;
      const bare = command.replace(/(^|\s)#.*$/, "").trim();
      if (bare !== "") commands.push(bare);
    }
  }
  // Those in the text that are whole commands and not just their names.
  for (const [, command = ""] of markdown.replace(/^```[\s\S]*?^```/gm, "").matchAll(/`([^`\n]+)`/g)) {
    if (/^(bin\/k6|npm start) .* /.test(command)) commands.push(command);
  }
  return commands;
}

/** How a kind of command is tried; the first that matches counts. */
interface Kind {
  pattern: RegExp;
  try(t: TestContext, command: string): Promise<void> | void;
}

let server: SimulatedServer;
before(async () => {
  // Fast: the commands ask for as much as a reader would, and what is measured is not the question here.
  server = await startServer("--ttft", "2ms", "--itl", "200us");
});
after(() => server.stop());

/** A results folder of a run, for the commands that read one. */
let results = "";

/** Runs a command line as a reader's shell does; servers and folders of the reader's are the test's. */
async function shell(command: string): Promise<{ code: number | undefined; output: string }> {
  const own = command
    .replace(/\bBASE_URL=("[^"]*"|'[^']*'|\S+)/g, `BASE_URL=${server.baseUrl}`)
    .replace(/\brecords=\S+/g, `records=${path.join(scratchDir(), "records.ndjson.gz")}`)
    .replace(/\bresults\/\S+/g, results);
  const child = startChild("sh", ["-c", own], { cwd: root, env: k6Environment(), timeoutMs: 120_000 });
  const { code, stdout, stderr } = await child.ended;
  return { code, output: stdout + stderr };
}

/** A run may pass or fail its gate, by what the machine and the command's limits make of it; it must have measured. */
async function measures(_t: TestContext, command: string): Promise<void> {
  const dir = scratchDir();
  // The environment asks for less load than the defaults where the command itself says nothing of it.
  const bounded = /\b(REQUESTS|DURATION|STAGES|RATE|TRACE)=/.test(command);
  const less = bounded ? "" : " TOKENCLOCK_REQUESTS=8";
  const { code, output } = await shell(`export TOKENCLOCK_RESULTS=${dir}${less}; ${command}`);
  // A busy machine may make it CLIENT-BOUND.
  assert.ok([0, 98, 99].includes(code ?? -1), `code ${code}\n${output}`);
  assert.match(output, /PASS|FAIL/);
  const summary = JSON.parse(readFileSync(path.join(dir, "summary.json"), "utf8"));
  assert.ok(summary.total.completed > 0, output);
  results ||= dir;
}

/** `npm start` alone, which nothing may be added to: its results are below the project. */
async function demonstrates(t: TestContext, command: string): Promise<void> {
  const { code, output } = await shell(command);
  const [, dir = ""] = /^tokenclock: results are in (results\/\S+)$/m.exec(output) ?? [];
  assert.ok(dir !== "", output);
  t.after(() => rmSync(path.join(root, dir), { recursive: true }));
  assert.ok(code === 98 || /^PASS, VALID \(simulated server\)$/m.test(output), `code ${code}\n${output}`);
  const summary = JSON.parse(readFileSync(path.join(root, dir, "summary.json"), "utf8"));
  assert.ok(summary.total.completed > 0, output);
}

/** Not run: it takes minutes. Its script must exist. */
function looksRight(t: TestContext, command: string): void {
  const [, script = ""] = /^npm (?:run )?([\w-]+)/.exec(command) ?? [];
  assert.ok(scripts[script], `package.json has no script ${script}`);
  t.skip("takes minutes; its script exists");
}

/** A subcommand's flags must exist. */
async function flagsExist(t: TestContext, command: string): Promise<void> {
  const [words = ""] = /^\S+ x tokenclock \w+/.exec(command) ?? [];
  const { code, output } = await shell(`${words} --help`);
  assert.equal(code, 0, output);
  for (const [flag] of command.matchAll(/--[a-z][\w-]*/g))
    assert.ok(output.includes(`${flag} `), `${flag} in ${output}`);
  t.diagnostic("its flags exist; it is not run");
}

async function succeeds(_t: TestContext, command: string): Promise<void> {
  const { code, output } = await shell(command);
  assert.equal(code, 0, output);
}

/** Reading a run's results needs one. */
async function reads(t: TestContext, command: string): Promise<void> {
  if (results === "") await measures(t, "npm start -- -e SIMULATE=true -e REQUESTS=10 -e CONCURRENCY=2");
  const { code, output } = await shell(command);
  // A comparison or a gate may find against the run.
  assert.ok(
    code === 0 || (/gate|compare/.test(command) && [96, 98, 99].includes(code ?? 0)),
    `code ${code}\n${output}`,
  );
}

const kinds: Kind[] = [
  {
    pattern: /^git clone |^cd |^npm (ci|install)\b/,
    try: (t) => t.skip("needs the network; whoever runs this has done it"),
  },
  { pattern: /^npm test\b|^npm run (check|bench|suite|calibrate)\b/, try: looksRight },
  { pattern: /^npm run build\b/, try: succeeds },
  { pattern: /^npm run (report|compare|gate)\b/, try: reads },
  { pattern: /^npm start$/, try: demonstrates },
  { pattern: /^([A-Z_0-9]+=\S+ )*npm start\b/, try: measures },
  { pattern: /^([A-Z_0-9]+=\S+ )*(\.\/)?bin\/k6 run\b/, try: measures },
  { pattern: /^(\.\/)?bin\/k6 x tokenclock (simulate|calibrate)\b/, try: flagsExist },
  { pattern: /^(\.\/)?bin\/k6 version\b/, try: succeeds },
];

test("README.md is there and shows commands", () => {
  assert.ok(commandsOf(readme).length > 0, "README.md has no commands");
});

for (const command of new Set(commandsOf(readme))) {
  test(`README: ${command}`, { timeout: 150_000 }, async (t) => {
    // A server that the reader would start in the background.
    const kind = kinds.find(({ pattern }) => pattern.test(command));
    assert.ok(kind, "a command of an unknown kind: say in this test how to try it");
    await kind.try(t, command.replace(/\s*&$/, ""));
  });
}

test("README's links lead to files of the project", () => {
  const missing = [...readme.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !existsSync(path.join(root, target)));
  assert.deepEqual(missing, []);
});
