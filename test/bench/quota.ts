/** A cgroup that limits what runs in it to a share of one core, version 1 or 2, whichever is mounted and may be written. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";

export interface Quota {
  /** Words before a command that put it into the cgroup. */
  readonly enter: readonly string[];
  /** Removes the cgroup; nothing runs in it any more. */
  end(): void;
}

/** Microseconds over which the kernel counts; what is used up before their end is waited for. */
const periodUs = 100_000;

/** A mounted hierarchy that can limit processors, and the files that do. */
interface Hierarchy {
  readonly version: 1 | 2;
  /** The cgroup of this process in it. */
  readonly dir: string;
}

/** The hierarchies of /proc/mounts and /proc/self/cgroup that may limit processors, version 1 first. */
export function hierarchies(mounts: string, self: string): Hierarchy[] {
  const found: Hierarchy[] = [];
  for (const line of mounts.split("\n")) {
    const [, mount = "", type, options = ""] = line.split(" ");
    const version = type === "cgroup2" ? 2 : type === "cgroup" && options.split(",").includes("cpu") ? 1 : undefined;
    if (version === undefined) continue;
    // "4:cpu,cpuacct:/path" in version 1, "0::/path" in version 2.
    const own = self
      .split("\n")
      .map((text) => /^(\d+):([^:]*):(.*)$/.exec(text))
      .find((match) => (version === 2 ? match?.[1] === "0" : match?.[2]?.split(",").includes("cpu")));
    found.push({ version, dir: path.join(mount, own?.[3] ?? "/") });
  }
  return found.sort((a, b) => a.version - b.version);
}

function limit({ version, dir }: Hierarchy, name: string, quotaUs: number): Quota {
  const own = path.join(dir, name);
  mkdirSync(own);
  try {
    if (version === 1) {
      writeFileSync(path.join(own, "cpu.cfs_period_us"), String(periodUs));
      writeFileSync(path.join(own, "cpu.cfs_quota_us"), String(quotaUs));
    } else {
      if (!existsSync(path.join(own, "cpu.max"))) writeFileSync(path.join(dir, "cgroup.subtree_control"), "+cpu");
      writeFileSync(path.join(own, "cpu.max"), `${quotaUs} ${periodUs}`);
    }
  } catch (error) {
    rmdirSync(own);
    throw error;
  }
  const members = path.join(own, "cgroup.procs");
  return { enter: ["sh", "-c", 'echo $$ > "$0" && exec "$@"', members], end: () => rmdirSync(own) };
}

/** Makes a cgroup of that share of a core; a text is the reason why there is none. */
export function limitCores(share: number): Quota | string {
  if (process.platform !== "linux") return "cgroups are Linux's";
  const reasons: string[] = [];
  const all = hierarchies(readFileSync("/proc/mounts", "utf8"), readFileSync("/proc/self/cgroup", "utf8"));
  for (const each of all) {
    try {
      return limit(each, `tokenclock-bench-${process.pid}`, Math.round(share * periodUs));
    } catch (error) {
      reasons.push(`version ${each.version}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return reasons.length > 0 ? `no cgroup can be made (${reasons.join("; ")})` : "no cgroup hierarchy is mounted";
}
