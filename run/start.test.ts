import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { Problem } from "../build/program";
import { makeFolder, removeEmpty } from "./results-folder";
import { isSimulated, parseStartArgs, together } from "./start";

function scratch(): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-start-"));
  process.once("exit", () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const rows: {
  argv: string[];
  named: boolean;
  scenario: string;
  settings: Record<string, string>;
  k6Args: string[];
  why: string;
}[] = [
  {
    argv: [],
    named: false,
    scenario: "concurrency-sweep",
    settings: {},
    k6Args: [],
    why: "the sweep is what runs by default",
  },
  {
    argv: ["arrival-rate-ramp", "-e", "RATE=5"],
    named: true,
    scenario: "arrival-rate-ramp",
    settings: { RATE: "5" },
    k6Args: [],
    why: "a scenario's name comes first (npm start NAME -- ... and npm start -- NAME ... look alike here)",
  },
  {
    argv: ["-e", "SLO_TTFT=1", "--quiet"],
    named: false,
    scenario: "concurrency-sweep",
    settings: { SLO_TTFT: "1" },
    k6Args: ["--quiet"],
    why: "k6's own arguments are handed on",
  },
  {
    argv: ["--", '--env=EXTRA_BODY={"a":"b=c"}', "-eSEED=2", "--out", "json=x.json"],
    named: false,
    scenario: "concurrency-sweep",
    settings: { EXTRA_BODY: '{"a":"b=c"}', SEED: "2" },
    k6Args: ["--out", "json=x.json"],
    why: "every form of -e is understood, and a value may hold an equals sign",
  },
];
for (const { argv, why, ...expected } of rows) test(why, () => assert.deepEqual(parseStartArgs(argv), expected));

test("-e without a value is refused", () => {
  assert.throws(() => parseStartArgs(["-e", "RATE"]), /-e RATE is not NAME=value/);
});

test("a folder that cannot be made is refused in one line, also below a file system that has none", () => {
  const file = path.join(scratch(), "file");
  writeFileSync(file, "");
  const refused = (error: unknown) =>
    error instanceof Problem && error.exitCode === 104 && /^RESULTS=/.test(error.message);
  assert.throws(() => makeFolder(path.join(file, "x")), refused);
  // Node's recursive mkdir never returns from here.
  if (process.platform === "linux") assert.throws(() => makeFolder("/proc/tokenclock/x"), refused);
});

test("of the folders made for a run only those are removed that hold nothing", () => {
  const dir = scratch();
  const made = makeFolder(path.join(dir, "a", "b"));
  assert.deepEqual(made, [path.join(dir, "a", "b"), path.join(dir, "a")]);
  assert.deepEqual(makeFolder(path.join(dir, "a")), []);
  writeFileSync(path.join(dir, "a", "kept"), "");
  assert.equal(removeEmpty(made), true);
  assert.equal(removeEmpty([path.join(dir, "a")]), false);
});

test("a server is named, or SIMULATE=true says that none is meant; only `npm start` alone needs neither", () => {
  const named = { BASE_URL: "http://127.0.0.1:1/v1" };
  assert.equal(isSimulated(true, {}), true);
  assert.equal(isSimulated(false, { SIMULATE: "true" }), true);
  assert.equal(isSimulated(false, named), false);
  assert.equal(isSimulated(false, { ...named, SIMULATE: "false" }), false);
  const refused = (given: Record<string, string>, message: RegExp) =>
    assert.throws(
      () => isSimulated(false, given),
      (error) => error instanceof Problem && error.exitCode === 104 && message.test(error.message),
    );
  refused({}, /^no server is named: set BASE_URL, or SIMULATE=true/);
  refused({ SLO_TTFT: "1" }, /^no server is named/);
  refused({ SIMULATE: "false" }, /^no server is named/);
  refused({ SIMULATE: "maybe" }, /^SIMULATE=maybe is not true or false/);
  refused({ ...named, SIMULATE: "true" }, /^SIMULATE=true and BASE_URL both say/);
});

test("of two runs that are one, what makes one invalid counts for both, and a run that ended early before all", () => {
  const rows: [number[], number][] = [
    [[0, 0], 0],
    [[0, 99], 99],
    [[99, 98], 98],
    [[96, 99], 99],
    [[0, 96], 96],
    [[98, 105], 105],
    [[108, 99], 108],
  ];
  for (const [codes, code] of rows) assert.equal(together(...codes), code, String(codes));
});
