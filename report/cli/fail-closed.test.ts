/** No input that is damaged, cut, empty, unknown, without a limit or unmeasured ends with 0: neither in gate nor in compare. */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { changeFile, sweep, writeRun } from "../../test/support/synthetic";
import { main as compare } from "./compare";
import { main as gate } from "./gate";
import { main as merge } from "./merge";
import { codeOf as exitCodeOfMain } from "./options";
import { main as report } from "./report";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-fail-closed-"));
after(() => rmSync(dir, { recursive: true }));

const profile = {
  minRequests: 5,
  maxFailureShare: 0,
  limits: { llm_ttft: ["p(50)<1000"], llm_output_throughput: ["value>1"] },
};
const write = (seed: number, name: string): string => {
  const folder = writeRun(
    sweep({ seed, concurrencies: [2, 4], requestsPerLevel: 40, tokens: 6, config: { THRESHOLDS: "own.json" } }),
    dir,
    name,
  );
  changeFile(folder, "summary.json", (text) => JSON.stringify({ ...JSON.parse(text), profile }));
  return folder;
};

type FileName = "summary.json" | "records.ndjson.gz";

const whole = write(1, "whole");
const others = [2, 3, 4].map((seed) => write(seed, `other-${seed}`));
let copies = 0;

/** A copy of the whole run with one file changed. */
function changed(name: FileName, change: (text: string) => string): string {
  const folder = join(dir, `changed-${copies++}`);
  cpSync(whole, folder, { recursive: true });
  changeFile(folder, name, change);
  return folder;
}

/** Whatever is printed is no matter here. */
const quiet = () => {};
const codeOf = (command: Promise<number>): Promise<number> => command.catch(() => 104);
const runGate = (folder: string, ...args: string[]) =>
  codeOf(gate([folder, ...args, "--output", join(dir, "out")], quiet));
const lenient = ["--limit", "900", "--output", join(dir, "out")];
const runCompare = (folder: string) => codeOf(compare([...others, "--", folder, ...lenient, "--no-page"], quiet));

/** Both commands refuse the folder. */
async function refused(folder: string, what: string): Promise<void> {
  assert.notEqual(await runGate(folder), 0, `gate passes: ${what}`);
  assert.notEqual(await runCompare(folder), 0, `compare passes: ${what}`);
  rmSync(folder, { recursive: true, force: true });
}

test("the whole run passes both, so that a refusal is the damage's", async () => {
  assert.equal(await runGate(whole), 0);
  assert.equal(await runCompare(whole), 0);
});

test("an --output that cannot be made is refused by each command before it reads anything", async () => {
  const file = join(dir, "a-file");
  writeFileSync(file, "");
  const commands: ((output: string) => Promise<number>)[] = [
    (output) => gate(["absent", "--output", output], quiet),
    (output) => compare(["absent", "absent", "--output", output], quiet),
    (output) => merge(["absent", "--parts", "1", "--output", output], quiet),
    (output) => report(["absent", "--output", output]),
  ];
  // Node's recursive mkdir never returns from /proc.
  for (const output of [join(file, "x"), ...(process.platform === "linux" ? ["/proc/x"] : [])])
    for (const command of commands)
      await assert.rejects(command(output), {
        message: new RegExp(`^--output ${output} cannot be used \\(E.+\\); name another folder$`),
      });
});

test("merge makes no folder for parts that it refuses, but the one that --output names", async () => {
  const parts = ["part-1", "part-2"].map((part) => join(dir, "misspelt", "run", part));
  const argv = [...parts, "--parts", "2"];
  assert.equal(await merge(argv, quiet), 98);
  assert.ok(!existsSync(join(dir, "misspelt")));
  const named = join(dir, "named", "merged");
  assert.equal(await merge([...argv, "--output", named], quiet), 98);
  assert.deepEqual(readdirSync(named).sort(), ["merge.json", "merge.junit.xml", "merge.md"]);
});

const summary = JSON.parse(readFileSync(join(whole, "summary.json"), "utf8")) as Record<string, unknown>;
const lines = gunzipSync(readFileSync(join(whole, "records.ndjson.gz")))
  .toString()
  .trimEnd()
  .split("\n");
const options = { numRuns: 40, seed: 7 };

test("a file cut anywhere, and an empty one", async () => {
  const at = fc.double({ min: 0, max: 0.999, noNaN: true });
  await fc.assert(
    fc.asyncProperty(at, fc.constantFrom<FileName>("summary.json", "records.ndjson.gz"), async (share, name) => {
      // The last newline is no part of a summary or a line.
      await refused(
        changed(name, (text) => text.slice(0, Math.floor(share * (text.trimEnd().length - 1)))),
        `${name} cut at ${share}`,
      );
    }),
    {
      ...options,
      examples: [
        [0, "summary.json"],
        [0, "records.ndjson.gz"],
      ],
    },
  );
});

test("a compressed file cut anywhere or with a byte changed", async () => {
  await fc.assert(
    fc.asyncProperty(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.boolean(), async (share, cut) => {
      const folder = changed("summary.json", (text) => text);
      const path = join(folder, "records.ndjson.gz");
      const bytes = readFileSync(path);
      // Behind the header, whose time and flags say nothing.
      const at = 10 + Math.floor(share * (bytes.length - 10));
      if (cut) writeFileSync(path, bytes.subarray(0, at));
      else {
        bytes[at] = (bytes[at] as number) ^ 0x55;
        writeFileSync(path, bytes);
      }
      await refused(folder, `byte ${at} of ${bytes.length} ${cut ? "cut" : "changed"}`);
    }),
    options,
  );
});

test("any line of the records left out, broken or twice", async () => {
  const line = fc.integer({ min: 0, max: lines.length - 1 });
  await fc.assert(
    fc.asyncProperty(line, fc.constantFrom("left out", "broken", "twice"), async (at, how) => {
      const level = (lines[at] as string).includes('"type":"level"');
      // A level's line holds no more than the summary does.
      fc.pre(!level);
      const change = (text: string) =>
        how === "left out" ? [] : how === "broken" ? [text.slice(0, -2)] : [text, text];
      const text = lines.flatMap((each, i) => (i === at ? change(each) : [each])).join("\n");
      await refused(
        changed("records.ndjson.gz", () => `${text}\n`),
        `line ${at} ${how}`,
      );
    }),
    options,
  );
});

/** Fields without which nothing can be said. */
const needed: string[][] = [
  ...["schema", "ended", "verdict", "validity", "levels"].map((name) => [name]),
  ...[
    ["verdict", "pass"],
    ["verdict", "validity"],
    ["validity", "state"],
    ["validity", "reasons"],
  ],
  ...[
    "name",
    "requests",
    "completed",
    "failed",
    "inputTokens",
    "outputTokens",
    "outputThroughput",
    "requestThroughput",
  ].map((name) => ["levels", "1", name]),
];

test("any field that a verdict rests on left out or of another kind", async () => {
  const value = fc.constantFrom<unknown>(undefined, null, "x", -1, [], {}, "NaN", true, 1e308);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...needed), value, async (path, wrong) => {
      const copy = structuredClone(summary);
      const parent = path
        .slice(0, -1)
        .reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, copy);
      const key = path.at(-1) as string;
      fc.pre(JSON.stringify(parent[key]) !== JSON.stringify(wrong));
      if (wrong === undefined) delete parent[key];
      else parent[key] = wrong;
      // These stay what they were: a truth of another form.
      fc.pre(!(key === "reasons" && Array.isArray(wrong)) && !(key === "name" && typeof wrong === "string"));
      fc.pre(!/Throughput/.test(key) || wrong !== 1e308);
      await refused(
        changed("summary.json", () => JSON.stringify(copy)),
        `${path.join(".")} = ${JSON.stringify(wrong)}`,
      );
    }),
    { ...options, numRuns: 120 },
  );
});

test("any other state, end, schema or verdict than the one that is known to be good", async () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom("CLIENT-BOUND", "CACHE-BOUND", "valid", "VALID ", "", "cut", "interrupted"),
  );
  const place = fc.constantFrom("ended", "state", "validity", "records' end", "schema");
  await fc.assert(
    fc.asyncProperty(place, word, async (where, other) => {
      fc.pre(other !== "VALID" && other !== "complete");
      const copy = structuredClone(summary) as { verdict: { validity: string }; validity: { state: string } } & Record<
        string,
        unknown
      >;
      if (where === "state") copy.validity.state = other;
      else if (where === "validity") copy.verdict.validity = other;
      else if (where === "schema" || where === "ended") copy[where] = other;
      const end = JSON.stringify(other);
      const folder =
        where === "records' end"
          ? changed("records.ndjson.gz", (text) => text.replace('"ended":"complete"', () => `"ended":${end}`))
          : changed("summary.json", () => JSON.stringify(copy));
      await refused(folder, `${where} is ${end}`);
    }),
    { ...options, numRuns: 60 },
  );
});

test("profiles: without a limit that is understood, none passes", async () => {
  const metric = fc.constantFrom(
    "llm_ttft",
    "llm_tfft",
    "llm_output_tokens",
    "llm_samples",
    "llm_client_bound",
    "ttft",
    "",
  );
  const expression = fc.constantFrom<unknown>(
    "p95<1000",
    "p(0.95)<1000",
    "rate>1",
    "p(95)=<1000",
    "<1000",
    "",
    5,
    null,
    [],
    {},
  );
  await fc.assert(
    fc.asyncProperty(metric, expression, async (name, limit) => {
      const file = join(dir, "profile.json");
      writeFileSync(file, JSON.stringify({ [name]: limit }));
      assert.equal(await runGate(whole, "--profile", file), 104, `${name}: ${JSON.stringify(limit)}`);
    }),
    options,
  );
  for (const text of ["", "{", "[]", "null", '"smoke"', '{"minRequests":0}', '{"maxFailureShare":"1"}']) {
    const file = join(dir, "profile.json");
    writeFileSync(file, text);
    assert.equal(await runGate(whole, "--profile", file), 104, text);
  }
  const none = writeRun(
    sweep({ seed: 9, concurrencies: [2], requestsPerLevel: 40, config: { THRESHOLDS: "none" } }),
    dir,
    "none",
  );
  assert.equal(await runGate(none), 104, "no limit at all");
});

test("a level that was not measured, whatever the other one was", async () => {
  for (const requests of [0, 40]) {
    const folder = changed("summary.json", () => {
      const copy = structuredClone(summary) as { levels: Record<string, number>[] };
      Object.assign(copy.levels[1] as object, {
        requests,
        completed: 0,
        failed: requests,
        inputTokens: 0,
        outputTokens: 0,
      });
      return JSON.stringify(copy);
    });
    await refused(folder, `${requests} requests, none completed`);
  }
});

test("the same mistake ends with the same code in every command that reads results", async () => {
  const out = ["--output", join(dir, "codes")];
  mkdirSync(join(dir, "codes"));
  mkdirSync(join(dir, "empty"));
  mkdirSync(join(dir, "unreadable"));
  writeFileSync(join(dir, "unreadable", "summary.json"), "{");
  const commands: Record<string, (...args: string[]) => Promise<number>> = {
    report: (...args) => report([...args, ...out]),
    gate: (...args) => gate([...args, ...out], quiet),
    compare: (...args) => compare([whole, ...args, ...out, "--no-page"], quiet),
    merge: (...args) => merge([...args, "--parts", "2", "--output", join(dir, "merged")], quiet),
  };
  const mistakes: Record<string, [args: string[], code: number]> = {
    "a folder that is not there": [[join(dir, "nowhere")], 98],
    "a folder without results": [[join(dir, "empty")], 98],
    "a file in place of a folder": [[join(whole, "summary.json")], 98],
    "a folder of which nothing can be read": [[join(dir, "unreadable")], 98],
    "no folder": [[], 104],
    "an option that does not exist": [[whole, "--quick"], 104],
  };
  for (const [command, run] of Object.entries(commands))
    for (const [mistake, [args, code]] of Object.entries(mistakes))
      assert.equal(await exitCodeOfMain(command, () => run(...args)), code, `${command}: ${mistake}`);
});
