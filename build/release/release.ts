/**
 * `npm run release [-- --only linux/amd64]`: archives that run without Node and Go, checksums and bills of materials, in release/.
 * The same sources and tools make the same bytes.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { Command } from "commander";
import { bundleLibrary, bundleScenarios, sseScenarioNames } from "../bundle";
import { runCommand } from "../command";
import { makeOutput } from "../folder";
import { ensureK6, goBuild, goEnvironment, requireGo } from "../k6";
import { builtK6, distDir, root, shown } from "../paths";
import { Problem, runProgram } from "../program";
import { bundleCli, keptPackages, packageOf } from "./cli";
import { type Component, goComponents, nodeComponent, noticesOf, npmComponent } from "./components";
import { licenceProblem } from "./licence";
import { locked, packageFolder } from "./package";
import { sbomOf } from "./sbom";
import { isHost, nodeVersion, type Target, targetOf, targets } from "./target";

interface Options {
  only?: string[];
  output: string;
  /** Where the archive's Node comes from: its package, or the one that runs this, for a test without a network. */
  runtime: "npm" | "host";
  level: string;
}

const nodeModules = path.join(root, "node_modules");

/** The time of all entries, s since 1970: SOURCE_DATE_EPOCH, or that of the last commit. */
async function epoch(): Promise<number> {
  const given = process.env.SOURCE_DATE_EPOCH;
  const text = given ?? (await runCommand("git", ["log", "-1", "--format=%ct"], { cwd: root })).stdout.trim();
  if (!/^\d+$/.test(text))
    throw new Problem(`SOURCE_DATE_EPOCH=${given ?? ""} is no number of seconds, and git has no commit`);
  return Number(text);
}

/** Writes the target's k6 to a file. */
async function writeK6(target: Target, file: string): Promise<void> {
  if (isHost(target) && !process.env.K6_BINARY) {
    await ensureK6();
    copyFileSync(builtK6, file);
  } else {
    const { code, stderr } = await runCommand("go", [...goBuild, "-o", file, "./cmd/k6"], {
      cwd: path.join(root, "extension"),
      env: goEnvironment(target),
      progress: { what: `compiling k6 for ${target.name}`, everyMs: 30_000 },
    });
    if (code !== 0) throw new Problem(`compiling k6 for ${target.name} failed:\n${stderr.trim()}`);
  }
  chmodSync(file, 0o755);
}

/** Node's binary for the target; where it comes from tells what it is. */
async function nodeOf(target: Target, runtime: Options["runtime"]): Promise<{ binary: string; component: Component }> {
  if (runtime === "host") {
    if (!isHost(target)) throw new Problem(`--runtime host is for this machine's target, not for ${target.name}`, 104);
    const version = process.versions.node;
    const texts = [`Node.js ${version}: https://github.com/nodejs/node/blob/v${version}/LICENSE`];
    const component: Component = { type: "generic", name: "node", version, integrity: "", licence: "MIT", texts };
    return { binary: process.execPath, component };
  }
  const folder = await packageFolder(target.runtime.name, nodeVersion, target.runtime.integrity);
  const binary = path.join(folder, "bin", target.os === "windows" ? "node.exe" : "node");
  return { binary, component: nodeComponent(folder, nodeVersion) };
}

/** Copies the packages that stay packages to lib/node_modules, without what is not read; returns them. */
async function writePackages(target: Target, to: string): Promise<Component[]> {
  const { version, integrity } = locked(target.resvg);
  const native = isHost(target)
    ? path.join(nodeModules, target.resvg)
    : await packageFolder(target.resvg, version, integrity);
  const folders = [
    ...keptPackages.map((name) => [name, path.join(nodeModules, name)] as const),
    [target.resvg, native],
  ];
  for (const [name = "", folder = ""] of folders) {
    const into = path.join(to, "node_modules", name);
    cpSync(folder, into, {
      recursive: true,
      dereference: true,
      // Of the fonts the two that are drawn with; no declarations, no pages.
      filter: (file) =>
        !/(\.d\.ts|\.md|\.png)$/.test(file) && !/[\\/]\d00(?!Regular$|Bold$|Regular[\\/]|Bold[\\/])\w+/.test(file),
    });
  }
  return folders.map(([name = "", folder = ""]) => npmComponent(folder, locked(name).integrity));
}

const launcher = `#!/bin/sh
# Starts tokenclock with the Node of this archive, or with that of TOKENCLOCK_NODE (20.12 or later).
set -eu
self=$0
while [ -L "$self" ]; do
  target=$(readlink "$self")
  case "$target" in /*) self=$target ;; *) self=\${self%/*}/$target ;; esac
done
case "$self" in */*) here=\${self%/*} ;; *) here=. ;; esac
exec "\${TOKENCLOCK_NODE:-$here/bin/node}" "$here/lib/cli.cjs" "$@"
`;

const windowsLauncher = `@echo off
setlocal
if not defined TOKENCLOCK_NODE set "TOKENCLOCK_NODE=%~dp0bin\\node.exe"
"%TOKENCLOCK_NODE%" "%~dp0lib\\cli.cjs" %*
`;

/** What stands before the licences. */
const notice = `tokenclock is licensed under the Apache License 2.0 (LICENSE). This archive holds the works below, too, under their own licences.

bin/k6 is k6 with tokenclock's extension compiled in. k6 is licensed under the GNU Affero General Public License 3.0, so the
binary as a whole is under it. Its sources: https://github.com/grafana/k6 at the version below, and tokenclock's own extension/,
from which \`npm run build\` makes the same binary.
`;

/** Fills a folder with what the archive holds; returns what of it is others' work. */
async function fill(target: Target, folder: string, options: Options): Promise<Component[]> {
  const exe = target.os === "windows" ? ".exe" : "";
  for (const each of ["bin", "lib", "dist"]) mkdirSync(path.join(folder, each), { recursive: true });
  const k6 = path.join(folder, "bin", `k6${exe}`);
  await writeK6(target, k6);
  const node = await nodeOf(target, options.runtime);
  copyFileSync(node.binary, path.join(folder, "bin", `node${exe}`));
  chmodSync(path.join(folder, "bin", `node${exe}`), 0o755);

  const inCli = await bundleCli(path.join(folder, "lib", "cli.cjs"));
  const kept = await writePackages(target, path.join(folder, "lib"));
  const shipped = await bundles();
  for (const file of shipped) {
    mkdirSync(path.dirname(path.join(folder, "dist", file)), { recursive: true });
    copyFileSync(path.join(distDir, file), path.join(folder, "dist", file));
  }
  cpSync(path.join(root, "datasets"), path.join(folder, "datasets"), {
    recursive: true,
    filter: (file) => !file.endsWith(".ts"),
  });
  for (const each of ["docs", "examples"]) cpSync(path.join(root, each), path.join(folder, each), { recursive: true });
  for (const file of ["LICENSE", "README.md", "CHANGELOG.md"])
    copyFileSync(path.join(root, file), path.join(folder, file));
  const { name, version, description, license } = ownPackage();
  writeFileSync(
    path.join(folder, "package.json"),
    `${JSON.stringify({ name, version, description, license }, null, 2)}\n`,
  );
  if (target.os === "windows")
    writeFileSync(path.join(folder, "tokenclock.cmd"), windowsLauncher.replaceAll("\n", "\r\n"));
  else writeFileSync(path.join(folder, "tokenclock"), launcher, { mode: 0o755 });

  // The page's script has ECharts' parts; they are in the command as well.
  const bundled = [...new Set([...inCli, ...packagesOf(shipped)])].sort();
  const npm = bundled.map((each) => npmComponent(path.join(nodeModules, each), locked(each).integrity));
  return [node.component, ...npm, ...kept, ...(await goComponents(k6))];
}

function ownPackage(): { name: string; version: string; description: string; license: string } {
  return JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
}

/** Makes the bundles; returns their files below dist/, which may hold others of an earlier build. */
async function bundles(): Promise<string[]> {
  const scripts = await bundleScenarios();
  const forSse = sseScenarioNames().map((name) => `xk6-sse/${name}`);
  const library = path.basename(await bundleLibrary());
  return [
    ...[...scripts, ...forSse].flatMap((name) => [`${name}.js`, `${name}.js.map`]),
    ...[library, `${library}.map`, library.replace(/\.js$/, ".d.ts"), "k6-x-tokenclock.d.ts"],
  ];
}

/** npm's packages in bundles, by their source maps. */
function packagesOf(files: readonly string[]): string[] {
  return files
    .filter((file) => file.endsWith(".js.map"))
    .flatMap((file) => (JSON.parse(readFileSync(path.join(distDir, file), "utf8")) as { sources: string[] }).sources)
    .flatMap((source) => packageOf(source) ?? []);
}

/** Makes the target's archive and bill of materials in `output`; returns their names. */
async function release(target: Target, options: Options, epochS: number): Promise<string[]> {
  const { version } = ownPackage();
  const name = `tokenclock-${version}-${target.os}-${target.architecture}`;
  const staging = mkdtempSync(path.join(options.output, ".staging-"));
  try {
    return await pack(target, options, epochS, path.join(staging, name));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** The same, by way of a folder that has the archive's name. */
async function pack(target: Target, options: Options, epochS: number, folder: string): Promise<string[]> {
  const { version } = ownPackage();
  const name = path.basename(folder);
  mkdirSync(folder, { recursive: true });
  const components = await fill(target, folder, options);
  const problems = components.flatMap((each) => licenceProblem(each) ?? []);
  if (problems.length > 0) throw new Problem(problems.join("\n"));
  const sbom = sbomOf(version, target.name, epochS, components);
  writeFileSync(path.join(folder, "THIRD_PARTY_LICENSES"), noticesOf(components, notice));
  writeFileSync(path.join(folder, "sbom.cdx.json"), sbom);
  writeFileSync(path.join(options.output, `${name}.cdx.json`), sbom);

  const archive = `${name}.${target.os === "windows" ? "zip" : "tar.gz"}`;
  const args = ["-folder", folder, "-out", path.join(options.output, archive), "-epoch", String(epochS)];
  const { code, stderr } = await runCommand("go", ["run", "./pack", ...args, "-level", options.level], {
    cwd: path.join(root, "build", "tools"),
    env: goEnvironment(),
  });
  if (code !== 0) throw new Problem(`packing ${archive} failed: ${stderr.trim()}`);
  return [archive, `${name}.cdx.json`];
}

/** The whole of the command; resolves to the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const program = new Command("release")
    .description("Makes archives that run without Node and Go, with checksums and bills of materials")
    .option("--only <targets...>", `of ${targets.map(({ name }) => name).join(", ")} these only`)
    .option("--output <dir>", "where they go", path.join(root, "release"))
    .option("--runtime <source>", "npm, or host: the Node that runs this, for tests", "npm")
    .option("--level <level>", "of compression, 0 to 9", "9");
  program.parse([...argv], { from: "user" });
  const given = program.opts<Options>();
  if (given.runtime !== "npm" && given.runtime !== "host")
    throw new Problem(`--runtime ${given.runtime} is neither npm nor host`, 104);
  const options = { ...given, output: path.resolve(given.output) };
  const wanted = options.only ? options.only.map(targetOf) : targets;
  makeOutput(options.output);
  await requireGo();
  const epochS = await epoch();
  // What an earlier release left, and nothing else: the folder is the user's.
  for (const file of readdirSync(options.output)) {
    if (/^(tokenclock-.+\.(tar\.gz|zip|cdx\.json)|SHA256SUMS)$/.test(file)) rmSync(path.join(options.output, file));
  }
  const files: string[] = [];
  for (const target of wanted) {
    console.log(`tokenclock: release for ${target.name}`);
    files.push(...(await release(target, options, epochS)));
  }
  const sums = files.sort().map((file) => {
    const digest = createHash("sha256")
      .update(readFileSync(path.join(options.output, file)))
      .digest("hex");
    return `${digest}  ${file}\n`;
  });
  writeFileSync(path.join(options.output, "SHA256SUMS"), sums.join(""));
  console.log(`tokenclock: ${files.length} files and SHA256SUMS are in ${shown(options.output)}`);
  return 0;
}

if (process.argv[1] === __filename) void runProgram(() => main(process.argv.slice(2)));
