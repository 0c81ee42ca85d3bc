import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { scenarioNames } from "../build/bundle";
import { declarationOf } from "../build/declaration";
import { root } from "../build/paths";
import { Problem } from "../build/program";
import { type SettingName, settings, shownDefault } from "../lib/settings/settings";
import { commonSettings, requireUsed } from "../lib/settings/used-settings";
import { noScenario } from "./help";
import { start } from "./start";

/** What a command line with --help prints, and its exit code. */
async function helpOf(t: TestContext, ...argv: string[]): Promise<{ code: number; text: string }> {
  const log = t.mock.method(console, "log", () => undefined);
  const code = await start(argv);
  const text = log.mock.calls.map(({ arguments: [line] }) => String(line)).join("\n");
  log.mock.restore();
  return { code, text };
}

/** The entries of a help text: the default by setting, "" where there is none. */
function entriesOf(text: string): Map<string, string> {
  const entries = [...text.matchAll(/^ {2}([A-Z][A-Z0-9_]*) {2}(.*)\n {6}\S/gm)];
  return new Map(entries.map(([, name = "", line = ""]) => [name, /; default (.*)$/.exec(line)?.[1] ?? ""]));
}

const page = readFileSync(path.join(root, "docs", "settings.md"), "utf8");
const section = /## Settings by scenario([\s\S]*?)(?=\n## )/.exec(page)?.[1] ?? "";

/** What docs/settings.md says that a scenario uses: the default by setting. */
function documented(scenario: string): Map<string, string> {
  const [, common = ""] = /Every scenario uses these:([\s\S]*?)\n\n/.exec(section) ?? [];
  const row = section.split("\n").find((line) => line.startsWith(`| \`${scenario}\` |`)) ?? "";
  const used = new Map([...common.matchAll(/`([A-Z0-9_]+)`/g)].map(([, name = ""]) => [name, generalDefault(name)]));
  for (const [, name = "", own, none] of row.matchAll(/`([A-Z][A-Z0-9_]*)(?:=([^`]*))?`( \(no default\))?/g))
    used.set(name, none ? "" : (own ?? generalDefault(name)));
  return used;
}

/** The default in docs/settings.md's table of all settings. */
function generalDefault(name: string): string {
  const row = page.split("\n").find((line) => line.startsWith(`| \`${name}\` |`)) ?? "";
  return /\| (?:`([^`]*)`)? *\|$/.exec(row)?.[1] ?? "";
}

for (const scenario of scenarioNames()) {
  test(`--help of ${scenario}, docs/settings.md and the refusal of unused settings agree`, async (t) => {
    const { code, text } = await helpOf(t, scenario, "--help");
    assert.equal(code, 0);
    const listed = entriesOf(text);
    const inDocs = documented(scenario);
    assert.deepEqual([...listed.keys()].sort(), [...inDocs.keys()].sort());
    for (const [name, initial] of listed) assert.equal(initial, inDocs.get(name), name);

    const { uses } = await declarationOf(path.join(root, "scenarios", `${scenario}.ts`));
    for (const name of Object.keys(settings)) {
      const give = () => requireUsed(scenario, uses, { [name]: "1" });
      if (listed.has(name)) give();
      else assert.throws(give, { message: new RegExp(`^${scenario} does not use ${name};`) });
    }
  });
}

test("--help of a script of the user's own shows its own settings, too", async (t) => {
  const { code, text } = await helpOf(t, path.join(root, "examples", "support-chat.ts"), "--help");
  assert.equal(code, 0);
  const listed = entriesOf(text);
  assert.equal(listed.get("THINK"), "uniform:2000:8000");
  assert.match(text, /^ {2}THINK {2}a number or a distribution .*\n {6}Time between two turns, ms\.$/m);
  assert.equal(listed.get("CONCURRENCY"), "4,16");
  for (const name of commonSettings) assert.ok(listed.has(name), name);
});

test("--help without a scenario shows the usage; one of no scenario, or of a script without a test, is refused", async (t) => {
  assert.match((await helpOf(t, "--help")).text, /^npm start \[scenario or file\.ts\][\s\S]*concurrency-sweep/);
  const refused = (message: RegExp) => (error: unknown) =>
    error instanceof Problem && error.exitCode === 104 && message.test(error.message);
  await assert.rejects(
    start(["concurency-sweep", "--help"]),
    refused(
      /^there is no scenario concurency-sweep; did you mean concurrency-sweep\? There are arrival-rate-ramp, .*script of your own$/,
    ),
  );
  assert.equal(noScenario("ramp", ["soak", "mixed"]), "there is no scenario ramp; there are soak, mixed");
  const script = path.join(root, "test", "e2e", "fixtures", "start.js");
  await assert.rejects(start([script, "--help"]), refused(/^the settings of .*start\.js cannot be read: /));
});

test("every default that --help shows is a value that the setting takes", () => {
  for (const name of Object.keys(settings) as SettingName[]) {
    const shown = shownDefault(name);
    if (shown !== "" && shown !== "{}") assert.notEqual(settings[name].parse(shown), undefined, name);
  }
});
