import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { runCommand } from "./command";
import { builtK6, root, shown } from "./paths";
import { Problem } from "./program";

/** The oldest Go that k6 v2.2 and the extension compile with. */
const oldestGo = [1, 25] as const;

const extensionDir = path.join(root, "extension");

/** The version in the words of `go version`, such as "go1.26.8"; undefined where they hold none. */
export function parseGoVersion(text: string): { name: string; major: number; minor: number } | undefined {
  const found = /\bgo(\d+)\.(\d+)\S*/.exec(text);
  return found ? { name: found[0], major: Number(found[1]), minor: Number(found[2]) } : undefined;
}

/** Whether `k6 version` lists the module among its extensions. */
export function carriesModule(versionText: string): boolean {
  return /\bk6\/x\/tokenclock\b/.test(versionText);
}

/** Go's version, or a problem that names the fix. */
export async function requireGo(): Promise<string> {
  const fix = `install Go ${oldestGo.join(".")} or later (https://go.dev/dl), or set K6_BINARY to a k6 that has k6/x/tokenclock`;
  const { code, stdout, stderr } = await runCommand("go", ["version"], { cwd: extensionDir });
  if (code === 127) throw new Problem(`Go was not found, and the k6 binary is compiled with it; ${fix}`);
  const version = parseGoVersion(stdout);
  if (code !== 0 || !version) throw new Problem(`\`go version\` failed (${stderr.trim() || stdout.trim()}); ${fix}`);
  const [major, minor] = oldestGo;
  if (version.major < major || (version.major === major && version.minor < minor)) {
    throw new Problem(`${version.name} is too old; ${fix}`);
  }
  return version.name;
}

/**
 * The environment of the Go commands of build, check, tests and releases. They share what changes each compiled package, so that the
 * packages of k6 are compiled once for all of them, which is most of what a first run takes. `target` is the system that a release is
 * compiled for, in Go's words; by default that of the user's environment.
 */
export const goEnvironment = (target?: { os: string; architecture: string }): NodeJS.ProcessEnv => ({
  ...process.env,
  CGO_ENABLED: "0",
  GOFLAGS: [process.env.GOFLAGS, "-trimpath"].filter(Boolean).join(" "),
  ...(target && { GOOS: target.os, GOARCH: target.architecture }),
});

/** How Go compiles the binary: static, and the same bytes wherever the sources are. */
export const goBuild = ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="];

/** One hash over all that decides what the binary is: the extension's sources, its module files and the compiler. */
function inputsHash(goVersion: string): string {
  const hash = createHash("sha256").update(`${goVersion} ${process.platform} ${process.arch} ${goBuild.join(" ")}\n`);
  const files = readdirSync(extensionDir, { recursive: true, encoding: "utf8" })
    .filter((file) => (file.endsWith(".go") && !file.endsWith("_test.go")) || /(^|[\\/])go\.(mod|sum)$/.test(file))
    .sort();
  for (const file of files) {
    hash.update(`${file.replaceAll("\\", "/")}\n`).update(readFileSync(path.join(extensionDir, file)));
  }
  return hash.digest("hex");
}

/** The K6_BINARY of the user, which has to carry the module. @throws Problem where it does not. */
export async function checkForeign(binary: string): Promise<string> {
  const { code, stdout, stderr } = await runCommand(binary, ["version"]);
  if (code !== 0) throw new Problem(`K6_BINARY=${binary} does not run: ${stderr.trim()}`);
  if (!carriesModule(stdout)) {
    throw new Problem(`K6_BINARY=${binary} does not carry the module k6/x/tokenclock; build it in, or unset K6_BINARY`);
  }
  return binary;
}

/** The k6 binary to use: that of K6_BINARY, or bin/k6, compiled when it is missing or older than its inputs. */
export async function ensureK6(): Promise<string> {
  const foreign = process.env.K6_BINARY;
  if (foreign) return checkForeign(path.resolve(foreign));

  const goVersion = await requireGo();
  const hash = inputsHash(goVersion);
  const hashFile = `${builtK6}.inputs`;
  const upToDate = existsSync(builtK6) && existsSync(hashFile) && readFileSync(hashFile, "utf8") === hash;
  if (upToDate) return builtK6;

  console.log(`tokenclock: compiling ${shown(builtK6)} with ${goVersion} (the first time takes some minutes)`);
  mkdirSync(path.dirname(builtK6), { recursive: true });
  const startMs = Date.now();
  // Built beside its place and moved there, so that an interrupted build leaves no half binary.
  const fresh = `${builtK6}.new`;
  const { code, stderr } = await runCommand("go", [...goBuild, "-o", fresh, "./cmd/k6"], {
    cwd: extensionDir,
    env: goEnvironment(),
    progress: { what: "compiling k6", everyMs: 10_000 },
  });
  if (code !== 0) throw new Problem(`compiling k6 failed:\n${stderr.trim()}`);
  renameSync(fresh, builtK6);
  writeFileSync(hashFile, hash);
  console.log(`tokenclock: compiled ${shown(builtK6)} in ${Math.round((Date.now() - startMs) / 1000)} s`);
  return builtK6;
}
