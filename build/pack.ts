/** `npm run pack`: the library of load tests as an npm package, release/tokenclock-VERSION.tgz. */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Command } from "commander";
import { shippedDatasets } from "../lib/workload/shipped-datasets";
import { bundleLibrary } from "./bundle";
import { runCommand } from "./command";
import { makeOutput } from "./folder";
import { root, shown } from "./paths";
import { Problem, runProgram } from "./program";
import { packageOf } from "./release/cli";
import { noticesOf, npmComponent } from "./release/components";
import { licenceProblem } from "./release/licence";
import { locked } from "./release/package";

const notice =
  "tokenclock is licensed under the Apache License 2.0 (LICENSE). dist/tokenclock.js holds the works below, too.\n";

/** Fills a folder with the package's files. */
async function fill(folder: string): Promise<void> {
  const dist = path.join(folder, "dist");
  await bundleLibrary(dist, path.join(folder, "datasets"));
  mkdirSync(path.join(folder, "datasets"));
  for (const file of Object.values(shippedDatasets))
    copyFileSync(path.join(root, "datasets", file), path.join(folder, "datasets", file));
  copyFileSync(path.join(root, "LICENSE"), path.join(folder, "LICENSE"));
  copyFileSync(path.join(root, "build", "npm", "README.md"), path.join(folder, "README.md"));
  const { sources } = JSON.parse(readFileSync(path.join(dist, "tokenclock.js.map"), "utf8")) as { sources: string[] };
  const bundled = [...new Set(sources.flatMap((source) => packageOf(source) ?? []))].sort();
  const components = bundled.map((name) => npmComponent(path.join(root, "node_modules", name), locked(name).integrity));
  const problems = components.flatMap((each) => licenceProblem(each) ?? []);
  if (problems.length > 0) throw new Problem(problems.join("\n"));
  writeFileSync(path.join(folder, "THIRD_PARTY_LICENSES"), noticesOf(components, notice));
  const { name, version, description, license } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const main = { types: "./dist/tokenclock.d.ts", default: "./dist/tokenclock.js" };
  const manifest = {
    ...{ name, version, description, license, keywords: ["k6", "llm", "load-testing", "ttft"] },
    ...{ type: "module" },
    exports: { ".": main, "./dist/*": "./dist/*", "./package.json": "./package.json" },
    types: main.types,
    files: ["dist", "datasets", "THIRD_PARTY_LICENSES"],
  };
  writeFileSync(path.join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** Makes the package in `output`; returns its path. */
export async function packLibrary(output: string): Promise<string> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "tokenclock-pack-"));
  try {
    makeOutput(output);
    await fill(folder);
    const npm = process.platform === "win32" ? "npm.cmd" : "npm";
    const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", output];
    const { code, stdout, stderr } = await runCommand(npm, args, { cwd: folder });
    if (code !== 0) throw new Problem(`npm pack failed: ${stderr.trim()}`);
    const [packed] = JSON.parse(stdout) as { filename: string }[];
    return path.join(output, packed?.filename ?? "");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The whole of the command; resolves to the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const program = new Command("pack")
    .description("Makes the npm package of the library of load tests")
    .option("--output <dir>", "where it goes", path.join(root, "release"));
  program.parse([...argv], { from: "user" });
  console.log(`tokenclock: the package is ${shown(await packLibrary(path.resolve(program.opts().output)))}`);
  return 0;
}

if (process.argv[1] === __filename) void runProgram(() => main(process.argv.slice(2)));
