/** Packages of npm that are shipped and not installed here: those of other systems, and Node's runtimes. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { runCommand } from "../command";
import { root } from "../paths";
import { Problem } from "../program";

const cache = path.join(root, ".cache", "packages");

/** The version and integrity that package-lock.json pins a package to. @throws Problem for a package that it has not. */
export function locked(name: string): { version: string; integrity: string } {
  const { packages } = JSON.parse(readFileSync(path.join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version: string; integrity?: string }>;
  };
  const entry = packages[`node_modules/${name}`];
  if (!entry?.integrity) throw new Problem(`package-lock.json pins no ${name}`);
  return { version: entry.version, integrity: entry.integrity };
}

/** Sees that a file has the integrity, "sha512-BASE64". @throws Problem naming the file. */
export function requireIntegrity(file: string, integrity: string): void {
  const found = `sha512-${createHash("sha512").update(readFileSync(file)).digest("base64")}`;
  if (found !== integrity) throw new Problem(`${file} has the integrity ${found}, pinned is ${integrity}`);
}

/**
 * The folder with a package's files, fetched through npm where it is not there yet, and checked against its integrity each time.
 * @throws Problem where npm cannot fetch it, or it is another one.
 */
export async function packageFolder(name: string, version: string, integrity: string): Promise<string> {
  const archive = path.join(cache, `${name.replace(/^@/, "").replaceAll("/", "-")}-${version}.tgz`);
  mkdirSync(cache, { recursive: true });
  if (!existsSync(archive)) {
    console.log(`tokenclock: fetching ${name} ${version}`);
    const scratch = mkdtempSync(path.join(cache, "fetch-"));
    const npm = process.platform === "win32" ? "npm.cmd" : "npm";
    const { code, stderr } = await runCommand(npm, ["pack", `${name}@${version}`, "--pack-destination", scratch], {
      progress: { what: `fetching ${name}`, everyMs: 10_000 },
    });
    if (code !== 0) {
      rmSync(scratch, { recursive: true, force: true });
      throw new Problem(`npm pack ${name}@${version} failed: ${stderr.trim()}`);
    }
    renameSync(path.join(scratch, path.basename(archive)), archive);
    rmSync(scratch, { recursive: true, force: true });
  }
  requireIntegrity(archive, integrity);
  const folder = archive.replace(/\.tgz$/, "");
  if (!existsSync(folder)) {
    const scratch = mkdtempSync(path.join(cache, "unpack-"));
    const { code, stderr } = await runCommand("tar", ["-xzf", archive, "-C", scratch]);
    if (code !== 0) throw new Problem(`tar -xzf ${archive} failed: ${stderr.trim()}`);
    renameSync(path.join(scratch, "package"), folder);
    rmSync(scratch, { recursive: true, force: true });
  }
  return folder;
}
