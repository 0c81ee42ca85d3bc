import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { type SettingName, settings } from "../lib/settings";
import { commonSettings } from "../lib/used-settings";
import { scenarioNames } from "./bundle";
import { generatedDocs, pagesWithBlocks, scenarioSettings } from "./docs";
import { root } from "./paths";

const read = (file: string) => readFileSync(path.join(root, file), "utf8").replaceAll("\r\n", "\n");

/** Pages that people wrote, as paths from the project's folder. */
const pages = ["README.md", "CONTRIBUTING.md", ...readdirSync(path.join(root, "docs")).map((file) => `docs/${file}`)]
  .filter((file) => file.endsWith(".md") && existsSync(path.join(root, file)))
  .filter((file) => !(file in generatedDocs()));

for (const [file, text] of Object.entries({ ...generatedDocs(), ...pagesWithBlocks() })) {
  test(`${file} is what the code says (node build/bootstrap.cjs build/docs.ts writes it)`, () => {
    assert.equal(read(file), text);
  });
}

for (const scenario of scenarioNames()) {
  test(`docs/scenarios.md has a section on ${scenario}: its command, a table of a run, a picture`, () => {
    const section = read("docs/scenarios.md")
      .split(/^## /m)
      .find((each) => each.startsWith(`${scenario}\n`));
    assert.ok(section, "no such section");
    assert.match(section, new RegExp(`npm start ${scenario}\\b`));
    assert.match(section, /^```text\n\s*(level|batch)\b/m);
    assert.match(section, /!\[[^\]]+\]\(pictures\/[\w-]+\.png\)/);
  });
}

for (const page of pages) {
  test(`${page}: what it links to exists`, () => {
    // Code is no prose: an index in it looks like a link.
    const prose = read(page).replace(/```[\s\S]*?```|`[^`\n]*`/g, "");
    for (const [, target = ""] of prose.matchAll(/\]\(([^)\s#]+)[^)]*\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      assert.ok(existsSync(path.join(root, path.dirname(page), target)), target);
    }
  });

  test(`${page}: settings and scenarios in its commands exist, and values are allowed`, () => {
    const text = read(page).replaceAll(/\\\n\s*/g, " ");
    for (const [, name = "", quoted, plain] of text.matchAll(/-e ([A-Z][A-Z0-9_]*)=(?:'([^']*)'|([^\s`]*))/g)) {
      assert.ok(name in settings, `there is no setting ${name}`);
      const value = quoted ?? plain ?? "";
      if (value === "...") continue;
      assert.notEqual(settings[name as SettingName].parse(value), undefined, `${name}=${value} is refused`);
    }
    for (const [, name = ""] of text.matchAll(/npm start ([a-z][\w-]*)/g))
      assert.ok(scenarioNames().includes(name), name);
  });
}

for (const page of ["docs/scenarios.md", "docs/servers.md"]) {
  test(`${page}: every name in capitals that is set as code is a setting`, () => {
    const others = [
      "PASS",
      "VALID",
      "CLIENT-BOUND",
      "CACHE-BOUND",
      "TOKENCLOCK_READER",
      "VLLM_SERVER_DEV_MODE",
      "HTTP_PROXY",
      "HTTPS_PROXY",
      "NO_PROXY",
    ];
    const prose = read(page).replace(/```[\s\S]*?```/g, "");
    for (const [, name = ""] of prose.matchAll(/`([A-Z][A-Z0-9_-]+)(?:=[^`]*)?`/g)) {
      assert.ok(name in settings || others.includes(name), `there is no setting ${name}`);
    }
  });
}

test("every picture of docs/ is shown by a page, and is small enough for one", () => {
  const shown = pages.map(read).join("\n");
  for (const file of readdirSync(path.join(root, "docs", "pictures"))) {
    assert.ok(shown.includes(`pictures/${file}`), `${file} is shown nowhere`);
    assert.ok(statSync(path.join(root, "docs", "pictures", file)).size < 150_000, `${file} is large`);
  }
});

test("every setting is used by a scenario", () => {
  const used = new Set<string>(commonSettings);
  for (const own of Object.values(scenarioSettings())) for (const { name } of own) used.add(name);
  assert.deepEqual(
    Object.keys(settings).filter((name) => !used.has(name)),
    [],
  );
});
