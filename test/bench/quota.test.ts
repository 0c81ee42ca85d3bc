import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { hierarchies, limitCores } from "./quota";

const mounts = (lines: string[]) => lines.map((line) => `${line} rw,relatime`).join("\n");

test("the hierarchies that limit processors, with this process's own cgroup", () => {
  const both =
    "tmpfs /sys/fs/cgroup tmpfs rw\ncgroup /c/mem cgroup rw,memory\ncgroup2 /c/two cgroup2 rw\ncgroup /c/cpu cgroup rw,cpu,cpuacct";
  const self = "5:memory:/m\n4:cpu,cpuacct:/jobs/1\n0::/two\n";
  assert.deepEqual(hierarchies(both, self), [
    { version: 1, dir: "/c/cpu/jobs/1" },
    { version: 2, dir: "/c/two/two" },
  ]);
  assert.deepEqual(hierarchies(mounts(["cgroup2 /sys/fs/cgroup cgroup2"]), "0::/\n"), [
    { version: 2, dir: "/sys/fs/cgroup/" },
  ]);
  assert.deepEqual(hierarchies(mounts(["cgroup /c/set cgroup"]), "1:cpuset:/\n"), [], "cpuset is not cpu");
});

test("a command that enters runs under the quota, and the cgroup is gone afterwards", (t) => {
  const quota = limitCores(0.1);
  if (typeof quota === "string") return t.skip(quota);
  const members = quota.enter.at(-1) ?? "";
  const dir = path.dirname(members);
  try {
    const [file = "", ...words] = quota.enter;
    const { stdout, status } = spawnSync(file, [...words, "sh", "-c", "echo $$; cat /proc/self/cgroup; exit 7"]);
    assert.equal(status, 7, "the command's own end");
    assert.match(stdout.toString(), new RegExp(path.basename(dir)));
    const v1 = path.join(dir, "cpu.cfs_quota_us");
    if (existsSync(v1)) assert.equal(readFileSync(v1, "utf8").trim(), "10000");
    else assert.equal(readFileSync(path.join(dir, "cpu.max"), "utf8").trim(), "10000 100000");
  } finally {
    quota.end();
  }
  assert.ok(!existsSync(dir));
});
