/**
 * What docs/ shows can be typed: every command of its pages is run as a reader would, against the simulated server and with less
 * load, or its options are looked up where it takes minutes or needs what the test has not. README.md has a test of its own. And
 * docs/formats.md describes every field that real results have.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { rootCertificates } from "node:tls";
import { runCommand } from "../../build/command";
import { builtK6, root } from "../../build/paths";
import { parseStartArgs } from "../../run/start";
import { commandsOf, wordsOf } from "../support/commands";
import { type EndedRun, type RunSettings, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { type SimulatedServer, startServer } from "../support/simulated";

const pages = readdirSync(path.join(root, "docs")).filter((file) => file.endsWith(".md"));
const textOf = (page: string) => readFileSync(path.join(root, "docs", page), "utf8");

let server: SimulatedServer;
before(async () => {
  // Fast: what is measured is not the question here.
  server = await startServer("--ttft", "2ms", "--itl", "200us");
});
after(() => server.stop());

/** Files that a page's commands make, such as a list of addresses, and where its later ones find them. */
const workDir = scratchDir();
const ownFile = (value: string) => (readdirSync(workDir).includes(value) ? path.join(workDir, value) : value);

/** A JSON file that docs/scenarios.md shows below its name, such as mix.json. */
function shownFile(name: string): string {
  const shown = new RegExp(`^\`${name}\`:\\n\\n\`\`\`json\\n([\\s\\S]*?)\`\`\``, "m").exec(textOf("scenarios.md"))?.[1];
  assert.ok(shown, `docs/scenarios.md does not show ${name}`);
  writeFileSync(path.join(workDir, name), shown);
  return path.join(workDir, name);
}

/** A file with a real authority, in the place of the reader's own. */
function authority(): string {
  const file = path.join(workDir, "ca.pem");
  writeFileSync(file, rootCertificates[0] ?? "");
  return file;
}

const shorter: Readonly<Record<string, (value: string) => string>> = {
  BASE_URL: (value) => (value.endsWith("/v1") ? server.baseUrl : server.origin),
  WIRE: (value) => path.join(root, value),
  TLS_CA: () => authority(),
  CONCURRENCY: (value) => value.split(",").slice(0, 2).join(","),
  REQUESTS: (value) => String(Math.min(Number(value), 20)),
  DURATION: () => "500ms",
  WARMUP: (value) => (/s$/.test(value) ? "300ms" : value),
  STAGES: (value) => (Number(value.split(":")[1]?.split(",")[0]) > 300 ? "400ms:40,200ms:40" : "400ms:4,200ms:4"),
  BATCH_SIZES: () => "1,4",
  INPUT_LENGTHS: () => "32,64",
  INPUT_TOKENS: (value) => (/^\d+$/.test(value) ? String(Math.min(Number(value), 64)) : value),
  OUTPUT_TOKENS: (value) => String(Math.min(Number(value), 16)),
  SESSIONS: (value) => String(Math.min(Number(value), 4)),
  SESSION_TURNS: (value) => String(Math.min(Number(value), 2)),
  CURVE_MAX: (value) => String(Math.min(Number(value), 48)),
  PROBE_TIME: () => "3s",
  MIX: shownFile,
  TARGETS: ownFile,
  TRACE: ownFile,
};

/** Settings that a scenario needs to be short. */
const bounded: Readonly<Record<string, RunSettings>> = {
  // The warm-up comes at the probe's full rate: of its 5 s a busy machine would have most of the test's requests still to serve.
  capacity: { PROBES: 2, PROBE_REQUESTS: 100, WARMUP: "500ms" },
};

/** The settings of a command, as they stand or smaller; RESULTS is the test's. */
function lessOf(settings: Readonly<Record<string, string>>): RunSettings {
  const all = { BASE_URL: server.baseUrl, ...settings };
  return Object.fromEntries(
    Object.entries(all)
      .filter(([name]) => name !== "RESULTS")
      .map(([name, value]) => [name, shorter[name]?.(value) ?? value]),
  );
}

async function measure(scenario: string, settings: RunSettings, k6Args: readonly string[]): Promise<EndedRun> {
  const done = await run(scenario, settings, { args: k6Args, timeoutMs: 120_000 });
  // The machine decides whether a run is valid and meets its limits; it must have measured.
  assert.ok([0, 98, 99].includes(done.code ?? -1), `code ${done.code}\n${done.stdout}\n${done.stderr}`);
  assert.ok(done.summary.total.completed > 0, done.stdout);
  return done;
}

/** k6's options without the output of records, which the test has of its own. */
function withoutRecords(args: readonly string[]): string[] {
  return args.filter((arg, i) => !/^records=/.test(arg) && !(arg === "--out" && /^records=/.test(args[i + 1] ?? "")));
}

/** A run of a scenario: `npm start NAME -- ARGS` or `bin/k6 run dist/NAME.js ARGS`. */
async function scenarioRuns(t: TestContext, words: readonly string[]): Promise<void> {
  const k6 = words[0] === "bin/k6";
  const bundle = words.find((word) => word.startsWith("dist/")) ?? "";
  const rest = words.slice(2).filter((word) => word !== bundle);
  const argv = k6 ? [path.basename(bundle, ".js"), ...rest] : rest;
  const { scenario, settings, k6Args } = parseStartArgs(argv);
  if (settings.BETWEEN !== undefined) {
    t.skip("needs a command that restarts a server: between.test.ts has one");
    return;
  }
  if (k6Args.includes("experimental-prometheus-rw")) {
    await hasOptions(k6Args, builtK6, ["run", "--help"]);
    t.diagnostic("its options exist; it is not run: grafana.test.ts runs it");
    return;
  }
  if (settings.COORDINATOR !== undefined) {
    await hasOptions(k6Args, builtK6, ["run", "--help"]);
    t.diagnostic("its options exist; it is not run: distributed.test.ts runs several instances");
    return;
  }
  await measure(scenario, { ...bounded[scenario], ...lessOf(settings) }, withoutRecords(k6Args));
}

/** The options among the words stand in what a program prints as its help. */
async function hasOptions(words: readonly string[], file: string, help: readonly string[]): Promise<void> {
  const { stdout, stderr } = await runCommand(file, [...help]);
  for (const word of words.filter((each) => /^--\w/.test(each))) {
    const option = word.replace(/=.*/, "");
    assert.match(
      stdout + stderr,
      new RegExp(`(^|\\s)${option}(?![\\w-])`),
      `${help.join(" ")} does not know ${option}`,
    );
  }
}

const bootstrap = path.join(root, "build", "bootstrap.cjs");

/** The TypeScript file behind one of npm's scripts. */
function scriptFile(name: string): string {
  const scripts = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")).scripts as Record<string, string>;
  const file = /^node build\/bootstrap\.cjs (\S+)$/.exec(scripts[name] ?? "")?.[1];
  assert.ok(file, `package.json has no script ${name} of a known kind`);
  return path.join(root, file);
}

/** report, gate and compare, on folders of real runs. */
async function folderIsRead(words: readonly string[]): Promise<void> {
  const name = words.slice(2).find((word) => !word.startsWith("-")) ?? "";
  // npm takes the first -- for its own.
  const behind = words.slice(words.indexOf(name) + 1);
  const args = behind.filter((_, i) => i !== behind.indexOf("--"));
  const needed = args.filter((word) => word.startsWith("results/"));
  const sweep = { CONCURRENCY: "2", REQUESTS: "20", OUTPUT_TOKENS: "8" };
  const dirs: string[] = [];
  for (const _ of needed) {
    // Two versions of one ramp make a report together; of other scenarios one run does.
    const pair = name === "report" && needed.length > 1;
    const done = pair
      ? await measure("arrival-rate-ramp", lessOf({ STAGES: "15s:400", OUTPUT_TOKENS: "8" }), [])
      : await measure("concurrency-sweep", lessOf(sweep), []);
    dirs.push(done.dir);
  }
  const filled = args.map((word) => (word.startsWith("results/") ? (dirs.shift() ?? "") : ownFile(word)));
  const { code, stdout, stderr } = await runCommand(process.execPath, [bootstrap, scriptFile(name), ...filled]);
  const fine = name === "report" ? [0] : [0, 96, 98, 99];
  assert.ok(fine.includes(code), `code ${code}\n${stdout}${stderr}`);
}

/** A line of the shell that reads records, such as `zcat FILE | jq ...`. */
async function shellReads(t: TestContext, command: string): Promise<void> {
  for (const [, program = ""] of command.matchAll(/(?:^|\| )(\w+)/g)) {
    if ((await runCommand("sh", ["-c", `command -v ${program}`])).code !== 0) {
      t.skip(`${program} is not installed`);
      return;
    }
  }
  const { dir } = await measure("concurrency-sweep", lessOf({ CONCURRENCY: "2", REQUESTS: "20" }), []);
  const own = command.replace(/results\/<\w+>/g, dir);
  const { code, stdout, stderr } = await runCommand("sh", ["-c", own]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /\d/);
}

for (const page of pages) {
  for (const { command } of commandsOf(textOf(page))) {
    test(`docs/${page}: ${command}`, { timeout: 150_000 }, async (t) => {
      if (/^(zcat|gzip|jq)\b/.test(command)) return shellReads(t, command);
      if (/^echo .*> *[\w.-]+$/.test(command)) {
        assert.equal((await runCommand("sh", ["-c", `cd '${workDir}' && ${command}`])).code, 0);
        return;
      }
      if (/^export [A-Z_]+=/.test(command)) return;
      // wordsOf asks a shell, which would write the file that the output goes to.
      const all = wordsOf(command.replace(/<(\w+)>/g, "$1").replace(/ > [\w.-]+$/, ""));
      const words = all.slice(all.findIndex((word) => !/^[A-Z_0-9]+=/.test(word)));
      const line = words.join(" ");
      if (/^npm start\b|^bin\/k6 run /.test(line)) return scenarioRuns(t, words);
      if (/^npm run (-s )?(report|gate|compare)\b/.test(line)) return folderIsRead(words);
      if (/^bin\/k6 x tokenclock /.test(line)) {
        await hasOptions(words, builtK6, [...words.slice(1, 4), "--help"]);
        t.diagnostic("its options exist; it is not run");
        return;
      }
      if (/^npm run (suite|bench|calibrate|k8s)\b/.test(line)) {
        await hasOptions(words, process.execPath, [bootstrap, scriptFile(words[2] ?? ""), "--help"]);
        t.diagnostic("its options exist; it is not run, because it takes minutes or needs a cluster's image");
        return;
      }
      if (/^npm run build$|^examples\/ci\.sh (baseline|check) /.test(line)) {
        t.skip("built before the tests; ci.test.ts runs examples/ci.sh");
        return;
      }
      if (/^\.\/k6 run dist\/xk6-sse\//.test(line)) {
        t.skip("needs a k6 built with xk6-sse");
        return;
      }
      assert.fail("a command of an unknown kind: say in this test how to try it");
    });
  }
}

/** docs/formats.md as rows by field, for each of its headings. */
function describedFields(): Map<string, Map<string, string>> {
  const sections = new Map<string, Map<string, string>>();
  for (const part of textOf("formats.md").split(/^##+ /m).slice(1)) {
    const [heading = "", ...lines] = part.split("\n");
    const rows = new Map<string, string>();
    for (const line of lines.filter((each) => each.startsWith("| `"))) {
      const [, cell = ""] = line.split(/(?<!\\)\| /);
      for (const [, name = ""] of cell.matchAll(/`(\w+)`/g)) rows.set(name, line);
    }
    sections.set(heading, rows);
  }
  return sections;
}

type Fields = Record<string, unknown>;
const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isStats = (value: unknown) => isFields(value) && "count" in value && "p999" in value;

/** Fields whose own keys are names of the user's, the server's or a table's. */
const open = new Set([
  "config",
  "failures",
  "failureMessages",
  "statuses",
  "labels",
  "tokenSources",
  "digests",
  "profile",
]);

test("docs/formats.md describes every field of a real summary and of real records", { timeout: 150_000 }, async () => {
  const rich = await startServer(
    ...["--enable-prompt-tokens-details", "--enable-prefix-caching", "--reasoning", "2", "--rate-500", "0.3"],
  );
  const described = describedFields();
  const seen = new Set<string>();
  /** Every key of `value` has a row in the section, and the row names the keys of the objects in it. */
  const check = (section: string, value: Fields) => {
    const rows = described.get(section);
    assert.ok(rows, `docs/formats.md has no ${section}`);
    for (const [name, field] of Object.entries(value)) {
      seen.add(`${section}: ${name}`);
      const row = rows.get(name);
      assert.ok(row, `docs/formats.md, ${section}: ${name} is not described`);
      if (section === "summary.json" && ["levels", "total", "seconds", "validity"].includes(name)) continue;
      if (section === "end" && name === "validity") continue;
      if (isStats(field)) {
        check("Statistics", field as Fields);
        continue;
      }
      if (name === "hostLevels" || open.has(name)) continue;
      for (const each of [field].flat().filter(isFields)) {
        // The table of one format may point to the other's.
        const place = /as in `summary.json`/.test(row) ? (described.get("summary.json")?.get(name) ?? row) : row;
        const full = described.get("A level")?.has(name) ? `${place}${described.get("A level")?.get(name)}` : place;
        for (const key of Object.keys(each))
          assert.ok(full.includes(`\`${key}\``), `docs/formats.md, ${section}: ${name}.${key} is not described`);
      }
    }
  };
  try {
    const load = { BASE_URL: rich.baseUrl, OUTPUT_TOKENS: 8, SLO_TTFT: 1, SLO_TPOT: 1000, SLO_E2E: 1000 };
    const runs = [
      await run("concurrency-sweep", { ...load, CONCURRENCY: "1,4", REQUESTS: 20, SHARED_PREFIX: 64 }),
      await run("concurrency-sweep", {
        ...load,
        CONCURRENCY: 2,
        REQUESTS: 20,
        STAMPS: "user",
        THRESHOLDS: "interactive",
      }),
      await run("arrival-rate-ramp", { ...load, STAGES: "1s:20" }),
      await run("kv-cache-profile", { ...load, CONCURRENCY: "1,2", INPUT_TOKENS: 64 }),
      await run("batch-burst", { ...load, BATCH_SIZES: "2", RUNS: 2 }),
    ];
    for (const { summary, records } of runs) {
      check("summary.json", summary as unknown as Fields);
      for (const level of [...summary.levels, summary.total]) check("A level", level as unknown as Fields);
      for (const second of summary.seconds) check("A second", second as unknown as Fields);
      check("Validity", summary.validity as unknown as Fields);
      for (const { name, ...pauses } of summary.validity.hostLevels ?? []) check("Validity", pauses as Fields);
      for (const line of records) check(line.type, line as unknown as Fields);
    }
  } finally {
    await rich.stop();
  }
  // The runs show what they are meant to: fields that only some results have were there.
  for (const field of ["A level: failureMessages", "A level: cachedShare", "A level: goodShare", "A level: batchSize"])
    assert.ok(seen.has(field), `no run had ${field}`);
  for (const field of [
    "request: message",
    "request: arrivals",
    "request: reasoningTokens",
    "points: points",
    "end: validity",
  ])
    assert.ok(seen.has(field), `no run had ${field}`);
});
