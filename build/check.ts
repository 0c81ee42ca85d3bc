/** `npm run check`: format, lint, types, import rules, for TypeScript and Go. Each step says what it does. */
import path from "node:path";
import { runCommand } from "./command";
import { importViolations } from "./import-rules";
import { goEnvironment, requireGo } from "./k6";
import { root } from "./paths";
import { runProgram } from "./program";

/** A step of the check; resolves to the lines that say what is wrong, "" when nothing is. */
interface Step {
  readonly what: string;
  run(): Promise<string>;
}

const bin = (name: string) => path.join(root, "node_modules", ...name.split("/"));

/** The output of a command, if it failed. */
async function complaint(file: string, args: string[], cwd = root, env = process.env): Promise<string> {
  const { code, stdout, stderr } = await runCommand(file, args, { cwd, env });
  return code === 0 ? "" : `${stdout}${stderr}`.trim() || `${file} ended with code ${code}`;
}

const node = (script: string, ...args: string[]) => complaint(process.execPath, [bin(script), ...args]);
const extensionDir = path.join(root, "extension");
const go = (...args: string[]) => complaint("go", args, extensionDir, goEnvironment());

const toolsDir = path.join(root, "build", "tools");

/** Systems other than this one for which the extension is built, and those whose reader or sockets differ. */
const otherSystems = ["darwin/arm64", "windows/amd64", "linux/arm64"];

const steps: Step[] = [
  {
    what: "format and lint of TypeScript (biome)",
    run: () => node("@biomejs/biome/bin/biome", "check", "--error-on-warnings", "."),
  },
  {
    what: "types of what runs in k6 (tsc -p tsconfig.k6.json)",
    run: () => node("typescript/bin/tsc", "-p", "tsconfig.k6.json"),
  },
  {
    what: "types of what runs in Node (tsc)",
    run: () => node("typescript/bin/tsc", "-p", "tsconfig.json"),
  },
  {
    what: "types of the report's own script (tsc -p tsconfig.page.json)",
    run: () => node("typescript/bin/tsc", "-p", "tsconfig.page.json"),
  },
  { what: "import rules", run: async () => importViolations(root).join("\n") },
  {
    what: "format of Go (gofmt)",
    // gofmt lists the files that are not formatted and still ends with 0.
    run: async () => {
      const { stdout, stderr } = await runCommand("gofmt", ["-l", "extension", "build"], { cwd: root });
      return `${stdout}${stderr}`.trim();
    },
  },
  { what: "go vet", run: () => go("vet", "-mod=readonly", "./...") },
  // Otherwise compiled by -race alone; and with what a Conn checks of its users.
  {
    what: "go vet with the reader under Go's scheduler",
    run: () => go("vet", "-mod=readonly", "-tags", "tokenclock_attached,tokenclock_debug", "./internal/reader"),
  },
  {
    what: `types of the extension for ${otherSystems.join(", ")}`,
    run: () => complaint("go", ["run", "./typecheck", extensionDir, ...otherSystems], toolsDir, goEnvironment()),
  },
  { what: "staticcheck", run: () => go("tool", "-modfile=../build/tools/go.mod", "staticcheck", "./...") },
];

/** Runs all steps and prints a line a step; resolves to how many failed. */
export async function check(): Promise<number> {
  await requireGo();
  let failed = 0;
  for (const { what, run } of steps) {
    const startMs = Date.now();
    const wrong = await run();
    const seconds = ((Date.now() - startMs) / 1000).toFixed(1);
    console.log(`check: ${what}: ${wrong === "" ? "ok" : "FAILED"} (${seconds} s)`);
    if (wrong !== "") {
      console.log(wrong);
      failed++;
    }
  }
  return failed;
}

if (process.argv[1] === __filename) void runProgram(async () => ((await check()) > 0 ? 1 : 0));
