/** Finds a Prometheus for the tests; unpacks Debian's package into .cache/ where that is possible and none is there. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { root } from "../../build/paths";

const runs = (binary: string) => spawnSync(binary, ["--version"]).status === 0;

/**
 * A Prometheus: PROMETHEUS, one on the PATH, or Debian's package (19 MB, a second or two), unpacked once; else why there is none.
 * Nothing is installed into the system, and no privilege is needed.
 */
export function findPrometheus(): { path: string } | { missing: string } {
  const named = process.env.PROMETHEUS;
  if (named !== undefined) return runs(named) ? { path: named } : { missing: `PROMETHEUS=${named} does not run` };
  if (runs("prometheus")) return { path: "prometheus" };
  const folder = path.join(root, ".cache", "prometheus");
  const binary = path.join(folder, "usr", "bin", "prometheus");
  const missing = (why: string) => ({ missing: `${why}; apt-get install prometheus, or name one in PROMETHEUS` });
  if (!existsSync(binary)) {
    if (!existsSync("/usr/bin/apt-get") || !existsSync("/usr/bin/dpkg")) return missing("no Prometheus was found");
    const problem = unpack(folder);
    if (problem !== undefined) return missing(problem);
  }
  return runs(binary) ? { path: binary } : missing(`${binary} does not run`);
}

/** Downloads and unpacks the package; why not, where that fails. Tests that run at once may both do it: the first one stays. */
function unpack(folder: string): string | undefined {
  mkdirSync(path.dirname(folder), { recursive: true });
  const work = mkdtempSync(`${folder}-`);
  try {
    const run = (command: string, args: string[]) => {
      const { status, stderr } = spawnSync(command, args, { cwd: work, encoding: "utf8", timeout: 60_000 });
      return status === 0 ? undefined : `${[command, ...args].join(" ")} failed: ${(stderr ?? "").trim()}`;
    };
    let failed = run("apt-get", ["download", "-qq", "prometheus"]);
    // A container's lists may be empty.
    if (failed && process.getuid?.() === 0 && run("apt-get", ["update", "-qq"]) === undefined)
      failed = run("apt-get", ["download", "-qq", "prometheus"]);
    const file = readdirSync(work).find((name) => name.endsWith(".deb"));
    if (failed || file === undefined) return failed ?? "apt-get download left no package";
    failed = run("dpkg", ["-x", file, "unpacked"]);
    if (failed) return failed;
    if (!existsSync(folder)) renameSync(path.join(work, "unpacked"), folder);
    return undefined;
  } catch (error) {
    return existsSync(folder) ? undefined : (error as Error).message;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
