import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import vm from "node:vm";
import fc from "fast-check";
import Papa from "papaparse";
import { root } from "./paths";
import { parserAlone } from "./table-parser";

const whole = readFileSync(path.join(root, "node_modules", "papaparse", "papaparse.js"), "utf8");

function load(source: string): Pick<typeof Papa, "Parser"> {
  const module = { exports: {} };
  // A list of another realm is not deeply equal to one of this.
  vm.runInThisContext(`(function (module) {${source}\n})`)(module);
  return module.exports as Pick<typeof Papa, "Parser">;
}

const alone = load(parserAlone(whole));

/** Texts of the characters that mean something in a table, so that most have quotes, broken ones among them. */
const tables = fc.string({
  unit: fc.constantFrom("a", "b", " ", '"', ",", ";", "\t", "\n", "\r", "\ufeff"),
  maxLength: 60,
});
const configs = fc.record({
  delimiter: fc.constantFrom(",", ";", "\t", "|", '"'),
  newline: fc.constantFrom("\n", "\r", "\r\n"),
});

test("the parser alone makes of any text what the whole library does, errors and cursor too", () => {
  fc.assert(
    fc.property(tables, configs, fc.boolean(), (text, config, unfinished) => {
      const parsed = ({ Parser }: Pick<typeof Papa, "Parser">) =>
        JSON.stringify(new Parser(config as Papa.ParseConfig).parse(text, 0, unfinished));
      assert.equal(parsed(alone), parsed(Papa));
    }),
    { seed: 1, numRuns: 5_000 },
  );
});

test("the parser alone is a third of the library, and each of its lines stands where it was", () => {
  const [lines, cut] = [whole.split("\n"), parserAlone(whole).split("\n")];
  assert.equal(cut.length, lines.length + 1);
  assert.ok(cut.every((line, at) => line === "" || line === lines[at] || at === lines.length));
  assert.ok(parserAlone(whole).length < whole.length / 3);
});

for (const { why, from, to, message } of [
  {
    why: "lacks the parser",
    from: "\tfunction Parser(",
    to: "\tfunction TextParser(",
    message: /0 functions Parser/,
  },
  {
    why: "has a function twice",
    from: "\tfunction copy(",
    to: "\tfunction isFunction(",
    message: /2 functions isFunction/,
  },
  { why: "calls another function", from: "if (!input)", to: "if (!copy(input))", message: /calls copy, too/ },
  {
    why: "makes its object elsewhere",
    from: "\tvar Papa = {};",
    to: "\tconst Papa = {};",
    message: /0 lines "var Papa = \{\};"/,
  },
  {
    why: "has no licence at its top",
    from: "/* @license",
    to: "/* licence",
    message: /does not begin with its licence/,
  },
]) {
  test(`a papaparse that ${why} is refused`, () => {
    assert.ok(whole.includes(from));
    assert.throws(() => parserAlone(whole.replace(from, to)), message);
  });
}
