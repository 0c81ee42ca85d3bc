/** `npm test`: check, Go tests, Node tests; `npm test -- PATTERN` runs the Node tests whose path holds the pattern. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { bundleScenarios } from "./bundle";
import { check } from "./check";
import { runCommand } from "./command";
import { ensureK6, goEnvironment, requireGo } from "./k6";
import { loadTypeScript, root } from "./paths";
import { Problem, runProgram } from "./program";

/** How many tests ended how. */
export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

const extensionDir = path.join(root, "extension");

/** Counts `go test -json` output; `shown` gets what failed tests and packages printed. */
export function tallyGoTests(json: string, shown: (text: string) => void): Tally {
  const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  const printed = new Map<string, string>();
  let packageFailed = false;
  for (const line of json.split("\n")) {
    if (!line.startsWith("{")) {
      if (line !== "") shown(`${line}\n`);
      continue;
    }
    const event = JSON.parse(line) as {
      Action: string;
      Package?: string;
      ImportPath?: string;
      Test?: string;
      Output?: string;
    };
    const key = `${event.Package ?? event.ImportPath} ${event.Test ?? ""}`;
    if (event.Action === "output" || event.Action === "build-output") {
      printed.set(key, (printed.get(key) ?? "") + (event.Output ?? ""));
    } else if (event.Action === "fail" || event.Action === "build-fail") {
      shown(printed.get(key) ?? "");
      if (event.Test) tally.failed++;
      else packageFailed = true;
    } else if (event.Test && event.Action === "pass") {
      tally.passed++;
    } else if (event.Test && event.Action === "skip") {
      tally.skipped++;
      shown(printed.get(key) ?? "");
    }
  }
  // A package that does not compile or dies outside a test has no failed test of its own.
  if (packageFailed && tally.failed === 0) tally.failed = 1;
  return tally;
}

/** Counts what node:test's TAP reporter wrote. */
export function tallyNodeTests(tap: string): Tally {
  const count = (what: string) => Number(new RegExp(`^# ${what} (\\d+)`, "m").exec(tap)?.[1] ?? 0);
  return { passed: count("pass"), failed: count("fail") + count("cancelled"), skipped: count("skipped") };
}

/**
 * The packages to test. With the race detector all but the main package: its one test asks what is linked, and all of k6's commands
 * would be compiled for it once more, a third of the packages of a first run.
 */
async function goPackages(race: boolean): Promise<string[]> {
  if (!race) return ["./..."];
  const listed = await runCommand("go", ["list", "-mod=readonly", "./..."], { cwd: extensionDir });
  if (listed.code !== 0) throw new Problem(`go list failed: ${listed.stderr.trim()}`);
  return listed.stdout
    .trim()
    .split("\n")
    .filter((name) => !name.endsWith("/cmd/k6"));
}

/**
 * All Go tests twice: as they are, and with the race detector where there is a C compiler for it. Neither covers the
 * other, for under the race detector the reader thread is an ordinary goroutine.
 */
async function goTests(): Promise<Tally> {
  const { stdout } = await runCommand("go", ["env", "CC"], { cwd: extensionDir });
  const haveC = (await runCommand(stdout.trim() || "cc", ["--version"])).code === 0;
  if (!haveC) console.log("test: no C compiler, so Go's race detector is left out");
  const total: Tally = { passed: 0, failed: 0, skipped: 0 };
  for (const race of haveC ? [false, true] : [false]) {
    console.log(`test: go test${race ? " -race" : ""}`);
    // `go vet` is a step of the check; the part of it that `go test` runs by itself would look at all of k6 once more.
    const args = [
      "test",
      "-mod=readonly",
      "-vet=off",
      "-json",
      ...(race ? ["-race"] : []),
      ...(await goPackages(race)),
    ];
    const ended = await runCommand("go", args, {
      cwd: extensionDir,
      env: race ? { ...process.env, CGO_ENABLED: "1" } : goEnvironment(),
      progress: { what: "go test", everyMs: 30_000 },
    });
    const tally = tallyGoTests(ended.stdout, (text) => process.stdout.write(text));
    if (ended.code !== 0 && tally.failed === 0) {
      console.log(ended.stderr.trim());
      tally.failed = 1;
    }
    add(total, tally);
  }
  return total;
}

/** The test files below folders, sorted. */
function testFiles(folders: readonly string[], pattern: string): string[] {
  return folders
    .filter((folder) => existsSync(path.join(root, folder)))
    .flatMap((folder) =>
      readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" }).map((file) =>
        path.join(folder, file),
      ),
    )
    .filter((file) => file.endsWith(".test.ts") && file.replaceAll("\\", "/").includes(pattern))
    .sort();
}

async function nodeTests(what: string, files: string[], concurrency: number): Promise<Tally> {
  if (files.length === 0) return { passed: 0, failed: 0, skipped: 0 };
  console.log(`test: ${what}, ${files.length} files`);
  const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-test-"));
  const tap = path.join(dir, "tap");
  try {
    const { code } = await runCommand(
      process.execPath,
      [
        ...["-r", loadTypeScript, "--test", `--test-concurrency=${concurrency}`],
        ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
        ...["--test-reporter=tap", `--test-reporter-destination=${tap}`],
        ...files,
      ],
      { cwd: root, inherit: true },
    );
    const tally = tallyNodeTests(existsSync(tap) ? readFileSync(tap, "utf8") : "");
    if (code !== 0 && tally.failed === 0) tally.failed = 1;
    return tally;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * The end-to-end tests in two parts. Those of a file that repeats a measurement (test/support/attempts.ts) depend on how punctually
 * the machine runs their processes, so that few of them run at once; all others mostly wait, and more of them do it beside each other.
 */
export function byPatience(
  files: readonly string[],
  textOf = (file: string) => readFileSync(path.join(root, file), "utf8"),
): { patient: string[]; punctual: string[] } {
  const isPunctual = (file: string) => /from "[./]*support\/attempts"/.test(textOf(file));
  return { patient: files.filter((file) => !isPunctual(file)), punctual: files.filter(isPunctual) };
}

function add(total: Tally, more: Tally): void {
  total.passed += more.passed;
  total.failed += more.failed;
  total.skipped += more.skipped;
}

if (process.argv[1] === __filename) {
  void runProgram(async () => {
    const pattern = process.argv[2] ?? "";
    const total: Tally = { passed: 0, failed: 0, skipped: 0 };
    if (pattern === "") {
      // What the check finds wrong counts as failed tests: a change that is not clean must not look green.
      add(total, { passed: 0, failed: await check(), skipped: 0 });
      add(total, await goTests());
    }
    const units = testFiles(["lib", "thresholds", "build", "run", "datasets", "report"], pattern);
    const endToEnd = testFiles(["test"], pattern);
    add(total, await nodeTests("unit tests", units, os.availableParallelism()));
    if (endToEnd.length > 0) {
      await requireGo();
      await bundleScenarios();
      await ensureK6();
      // What the tests' own server is measured at is no matter of a hypervisor's other guests; tests of that set it themselves.
      process.env.TOKENCLOCK_MAX_STOLEN ??= "100";
      const { patient, punctual } = byPatience(endToEnd);
      // They mostly wait.
      add(total, await nodeTests("end-to-end tests beside each other", patient, os.availableParallelism() + 1));
      add(total, await nodeTests("end-to-end tests that repeat a measurement", punctual, os.availableParallelism()));
    }
    if (total.skipped > 0) console.log(`${total.skipped} skipped`);
    console.log(`${total.passed} passed, ${total.failed} failed`);
    return total.failed > 0 ? 1 : 0;
  });
}
