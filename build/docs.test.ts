import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { type SettingName, settings } from "../lib/settings/settings";
import { commonSettings } from "../lib/settings/used-settings";
import { commandsOf } from "../test/support/commands";
import { scenarioNames } from "./bundle";
import { generatedDocs, generatedPages, pagesWithBlocks } from "./docs";
import { root } from "./paths";
import { scenarioSettings } from "./scenario-settings";

const read = (file: string) => readFileSync(path.join(root, file), "utf8").replaceAll("\r\n", "\n");

/** Pages that people wrote, as paths from the project's folder. */
const pages = ["README.md", "CONTRIBUTING.md", ...readdirSync(path.join(root, "docs")).map((file) => `docs/${file}`)]
  .filter((file) => file.endsWith(".md") && existsSync(path.join(root, file)))
  .filter((file) => !generatedPages.includes(file));

for (const file of [...generatedPages, ...Object.keys(pagesWithBlocks())]) {
  test(`${file} is what the code says (node build/bootstrap.cjs build/docs.ts writes it)`, async () => {
    assert.equal(read(file), { ...(await generatedDocs()), ...pagesWithBlocks() }[file]);
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

test("docs/own-scenarios.md shows the scripts of examples/, each as it is", () => {
  const blocks = [...read("docs/own-scenarios.md").matchAll(/^```ts\n(.*?)^```$/gms)].map(([, text]) => text);
  const scripts = readdirSync(path.join(root, "examples")).filter((file) => file.endsWith(".ts"));
  assert.deepEqual(blocks.sort(), scripts.map((file) => read(`examples/${file}`)).sort());
});

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(markdown: string): string[] {
  const headings = [...markdown.replace(/```[\s\S]*?```/g, "").matchAll(/^#+ (.*)$/gm)].map(([, text = ""]) => text);
  return headings.map((text) => {
    const kept = text.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "");
    return kept.trim().replaceAll(" ", "-");
  });
}

test("every default in the table of settings by scenario is a value that the setting takes", () => {
  const table = /## Settings by scenario[\s\S]*?(?=\n## )/.exec(read("docs/settings.md"))?.[0] ?? "";
  const defaults = [...table.matchAll(/`([A-Z_]+)=([^`]*)`/g)].filter(([, , value]) => value !== "value");
  assert.ok(defaults.length > 20, "no defaults in the table");
  for (const [shown, name = "", value = ""] of defaults)
    assert.notEqual(settings[name as SettingName].parse(value), undefined, shown);
});

for (const page of [...pages, ...generatedPages.filter((file) => file.endsWith(".md"))]) {
  test(`${page}: every table has its header, and no row is cut off it`, () => {
    const lines = read(page)
      .replace(/```[\s\S]*?```/g, "")
      .split("\n");
    for (const [k, line] of lines.entries()) {
      if (!line.startsWith("|") || lines[k - 1]?.startsWith("|")) continue;
      assert.match(lines[k + 1] ?? "", /^\|[ :|-]+\|$/, `no header above: ${line}`);
    }
  });
}

const scripts: Record<string, string> = JSON.parse(read("package.json")).scripts;

for (const page of pages) {
  test(`${page}: what it links to exists, the heading included`, () => {
    // Code is no prose: an index in it looks like a link.
    const prose = read(page).replace(/```[\s\S]*?```|`[^`\n]*`/g, "");
    for (const [, target = "", anchor] of prose.matchAll(/\]\(([^)\s#]*)(?:#([^)\s]*))?[^)]*\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const file = target === "" ? page : path.posix.join(path.posix.dirname(page), target);
      assert.ok(existsSync(path.join(root, file)), target);
      if (anchor !== undefined && anchor !== "")
        assert.ok(anchorsOf(read(file)).includes(anchor), `${file} has no heading #${anchor}`);
    }
  });

  test(`${page}: the programs, scripts, bundles and files of its commands exist`, () => {
    for (const { command } of commandsOf(read(page))) {
      const words = command.replace(/^([A-Z_0-9]+=('[^']*'|\$\([^)]*\)|\S+)\s+)+(?=\S)/, "").split(/\s+/);
      const [program = "", first = "", second = ""] = words;
      if (program === "npm") {
        const name = first === "run" ? words.slice(2).find((word) => !word.startsWith("-")) : first;
        assert.ok(scripts[name ?? ""], `${command}: package.json has no script ${name}`);
      } else if (program === "bin/k6" && first === "run") {
        const bundle = /^dist\/([\w-]+)\.js$/.exec(words.slice(2).find((word) => word.endsWith(".js")) ?? second);
        assert.ok(bundle?.[1] && scenarioNames().includes(bundle[1]), `${command}: there is no such bundle`);
      } else if (program === "bin/k6") {
        assert.match(
          words.slice(1, 4).join(" "),
          /^(x tokenclock (simulate|calibrate|coordinate|ready)$|version)/,
          command,
        );
      } else if (program.includes("/")) {
        assert.ok(existsSync(path.join(root, program)) || program === "./k6", `${command}: there is no ${program}`);
      } else {
        assert.match(program, /^(export|echo|zcat)$/, `${command}: a program that no test knows`);
      }
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

test("docs/README.md lists every page", () => {
  const index = read("docs/README.md");
  for (const page of pages.concat(generatedPages)) {
    const name = /^docs\/(.*\.md)$/.exec(page)?.[1];
    if (name && name !== "README.md") assert.ok(index.includes(`](${name})`), `${name} is not in the index`);
  }
});

for (const page of ["CONTRIBUTING.md", "docs/internals.md"]) {
  test(`${page}: the files and folders that it names exist, and what it names in them`, () => {
    const lines = read(page).split("\n");
    let found = 0;
    for (const line of lines) {
      const spans = [...line.matchAll(/`([^`]+)`/g)].map(([, span = ""]) => span);
      const files = spans.filter((span) =>
        /^(lib|extension|report|build|scenarios|thresholds|test|docs)\/\S*$/.test(span),
      );
      for (const file of files) assert.ok(existsSync(path.join(root, file)), `${page} names ${file}`);
      found += files.length;
      // "`give` and `exhausted` in `extension/internal/shape/levels.go`"
      const [names, file] = / in `([^`]+\.(?:go|ts))`/.exec(line) ? line.split(/ in (?=`[^`]+\.(?:go|ts)`)/) : [];
      if (names === undefined || file === undefined) continue;
      const named = /`([^`]+)`/.exec(file)?.[1] ?? "";
      const text = read(named);
      for (const [, name = ""] of (names.split("|").at(-1) ?? "").matchAll(/`(\w+)`/g))
        assert.match(text, new RegExp(`\\b${name}\\b`), `${named} has no ${name}`);
    }
    assert.ok(found > 5, "it names no files");
  });
}

/** A page's part below a heading, up to the next one of its level or above. */
function sectionOf(page: string, heading: string): string {
  const text = read(page);
  const level = /^#+/.exec(heading)?.[0].length ?? 0;
  const [, body] = text.split(`\n${heading}\n`);
  assert.ok(body !== undefined, `${page} has no ${heading}`);
  return body.split(new RegExp(`^#{1,${level}} `, "m"))[0] ?? "";
}

/** The first cells of a section's tables, without their markup of code. */
const firstCells = (section: string) => [...section.matchAll(/^\| (.*?) \|/gm)].map(([, cell = ""]) => cell);

test("docs/troubleshooting.md explains every failure class and no other", () => {
  const union = /type FailureClass =([^;]*);/.exec(read("extension/index.d.ts"))?.[1] ?? "";
  const classes = [...union.matchAll(/"(\w+)"/g)].map(([, name = ""]) => name);
  assert.ok(classes.length > 10);
  const described = firstCells(sectionOf("docs/troubleshooting.md", "## Requests fail"))
    .map((cell) => /^`(\w+)`$/.exec(cell)?.[1])
    .filter((name) => name !== undefined);
  assert.deepEqual(described.sort(), classes.sort());
});

test("docs/troubleshooting.md explains every reason of CLIENT-BOUND and no other", () => {
  const source = ["extension/internal/run/verdict.go", "extension/internal/run/hostverdict.go"]
    .map(read)
    .join("\n")
    .replace(/" \+\n\s*"/g, "");
  const formats = [...source.matchAll(/\b(?:bound|ofProcess)\("((?:[^"\\]|\\.)*)"/g)].map(([, format = ""]) => format);
  assert.ok(formats.length > 15, "the rules are written in another way now: look for them there");
  const spans = firstCells(sectionOf("docs/troubleshooting.md", "## CLIENT-BOUND")).flatMap((cell) => {
    const first = /^`([^`]+)`/.exec(cell)?.[1];
    return first
      ? [
          first
            .split("...")
            .map((piece) => piece.trim())
            .filter((piece) => piece !== ""),
        ]
      : [];
  });
  // Only what a format says itself: its verbs stand for what differs from run to run.
  const says = (format: string, pieces: string[]) => {
    const literal = format
      .replaceAll("%%", "\u0000")
      .replace(/%[-+.\d]*[a-z]/g, "\u0001")
      .replaceAll("\u0000", "%");
    return pieces.every((piece) => literal.includes(piece));
  };
  for (const format of formats)
    assert.ok(
      spans.some((pieces) => says(format, pieces)),
      `no row explains: ${format}`,
    );
  for (const pieces of spans)
    assert.ok(
      formats.some((format) => says(format, pieces)),
      `no rule says: ${pieces.join(" ... ")}`,
    );
});

test("docs/formats.md describes no field that results do not have", () => {
  // That it describes each one that they have is tested with real results, in test/e2e/docs.test.ts.
  const types = [
    "extension/index.d.ts",
    "lib/figures/level-summary.ts",
    "lib/figures/records.ts",
    "lib/figures/server.ts",
    "report/read/records.ts",
    "extension/internal/records/lines.go",
  ]
    .map(read)
    .join("\n");
  const [, ...sections] = read("docs/formats.md").split(/^(?=## (?:summary|records))/m);
  const fields = sections.flatMap((section) =>
    firstCells(section).flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name = ""]) => name)),
  );
  assert.ok(fields.length > 100);
  for (const field of fields)
    assert.match(types, new RegExp(`\\b${field}\\??:|"${field}[",]`), `there is no field ${field}`);
});

test("docs/formats.md describes every field that the types of summary and records have", () => {
  const files = ["lib/figures/records.ts", "lib/figures/level-summary.ts", "extension/index.d.ts"];
  const options = { strict: true, noEmit: true, module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
  const program = ts.createProgram(
    files.map((file) => path.join(root, file)),
    options,
  );
  const checker = program.getTypeChecker();
  /** The names of all properties of an exported type, those of a union's members and of an array's elements. */
  const propertiesOf = (file: string, name: string, property?: string): string[] => {
    const source = program.getSourceFile(path.join(root, file));
    const symbol = source && checker.getSymbolAtLocation(source);
    const found = symbol && checker.getExportsOfModule(symbol).find((each) => each.name === name);
    assert.ok(found, `${file} exports no ${name}`);
    let type = checker.getDeclaredTypeOfSymbol(found);
    if (property !== undefined) {
      const of = type.getProperty(property);
      assert.ok(of, `${name} has no ${property}`);
      type = checker.getIndexTypeOfType(checker.getTypeOfSymbol(of), ts.IndexKind.Number) ?? assert.fail("no array");
    }
    const members = type.isUnion() ? type.types : [type];
    return [...new Set(members.flatMap((each) => each.getProperties().map((field) => field.name)))];
  };
  const sections = new Map(
    read("docs/formats.md")
      .split(/^##+ /m)
      .slice(1)
      .map((part) => [part.slice(0, part.indexOf("\n")), firstCells(part)] as const),
  );
  const summaries = "lib/figures/level-summary.ts";
  const lines = "lib/figures/records.ts";
  for (const [section, fields] of [
    ["summary.json", propertiesOf(summaries, "Summary")],
    ["A level", propertiesOf(summaries, "LevelSummary")],
    ["A second", propertiesOf(summaries, "Summary", "seconds")],
    ["Validity", propertiesOf(summaries, "Validity")],
    ["run", propertiesOf(lines, "RunLine")],
    ["part", propertiesOf(lines, "PartLine")],
    ["level", propertiesOf(lines, "LevelLine")],
    ["request", propertiesOf(lines, "RequestLine")],
    ["session", propertiesOf(lines, "SessionLine")],
    ["end", propertiesOf(lines, "EndLine")],
  ] as const) {
    assert.ok(fields.length > 3, `${section}: its type was not read`);
    const cells = sections.get(section)?.join(" ");
    assert.ok(cells !== undefined, `docs/formats.md has no section ${section}`);
    const missing = fields.filter((field) => !cells.includes(`\`${field}\``));
    assert.deepEqual(missing, [], `docs/formats.md, ${section}: not described`);
  }
});

for (const page of ["docs/scenarios.md", "docs/servers.md", "docs/getting-started.md"]) {
  test(`${page}: every name in capitals that is set as code is a setting`, () => {
    const others = [
      "PASS",
      "FAIL",
      "NOT-MEASURED",
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

test("every setting is used by a scenario", async () => {
  const used = new Set<string>(commonSettings);
  for (const { uses } of await scenarioSettings()) for (const { name } of uses) used.add(name);
  assert.deepEqual(
    Object.keys(settings).filter((name) => !used.has(name)),
    [],
  );
});
