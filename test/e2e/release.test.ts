/** A release for this machine: made twice, unpacked in an empty folder, used with nothing on the PATH. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";
import { root } from "../../build/paths";
import { isHost, targets } from "../../build/release/target";
import { type ChildEnd, startChild } from "../support/child";
import { scratchDir } from "../support/scratch";

const target = targets.find(isHost);
const skip =
  target === undefined || target.os === "windows" ? "no release is for this machine, or none that sh starts" : false;
const dir = scratchDir();
const made = (name: string) => path.join(dir, name);

/** Makes the release into a folder. Its Node is this one: the package of npm would be fetched. */
async function release(output: string): Promise<void> {
  const program = ["build/bootstrap.cjs", "build/release/release.ts", "--only", target?.name ?? "", "--output", output];
  const { code, stdout, stderr } = await startChild(
    process.execPath,
    [...program, "--runtime", "host", "--level", "0"],
    {
      ...{ cwd: root, timeoutMs: 180_000, env: { ...process.env, SOURCE_DATE_EPOCH: "1700000000" } },
    },
  ).ended;
  assert.equal(code, 0, stdout + stderr);
}

/** The unpacked archive. */
let home = "";

/** Runs the unpacked command in an empty folder. */
function tokenclock(args: readonly string[], cwd: string): Promise<ChildEnd> {
  mkdirSync(cwd, { recursive: true });
  const env = { PATH: made("nothing"), HOME: cwd };
  return startChild("/bin/sh", [path.join(home, "tokenclock"), ...args], { cwd, env, timeoutMs: 60_000 }).ended;
}

before(async () => {
  if (skip) return;
  await release(made("one"));
  const archive = readdirSync(made("one")).find((file) => file.endsWith(".tar.gz")) ?? "";
  mkdirSync(made("unpacked"));
  const { code, stderr } = await startChild("tar", ["-xzf", path.join(made("one"), archive), "-C", made("unpacked")], {
    timeoutMs: 60_000,
  }).ended;
  assert.equal(code, 0, stderr);
  home = path.join(made("unpacked"), archive.replace(".tar.gz", ""));
});

test("the same sources make the same bytes, and SHA256SUMS has them", { skip }, async () => {
  await release(made("two"));
  const sums = readFileSync(path.join(made("one"), "SHA256SUMS"), "utf8");
  assert.equal(readFileSync(path.join(made("two"), "SHA256SUMS"), "utf8"), sums);
  const lines = sums.trim().split("\n");
  assert.equal(lines.length, 2);
  for (const line of lines) {
    const [sum, file = ""] = line.split("  ");
    assert.equal(
      createHash("sha256")
        .update(readFileSync(path.join(made("two"), file)))
        .digest("hex"),
      sum,
    );
  }
  // Nor do they know where they were made.
  for (const file of ["lib/cli.cjs", "dist/concurrency-sweep.js", "dist/concurrency-sweep.js.map", "bin/k6"]) {
    assert.ok(!readFileSync(path.join(home, file)).includes(root), `${file} has ${root}`);
  }
});

test("run, report, gate and compare work with neither Node nor Go, and say by exit code what they found", {
  skip,
}, async () => {
  const cwd = made("empty");
  const settings = ["CONCURRENCY=1,2", "REQUESTS=10", "OUTPUT_TOKENS=8", "THRESHOLDS=none", "RESULTS=out"];
  const ran = await tokenclock(["run", "concurrency-sweep", "SIMULATE=true", ...settings], cwd);
  // A busy machine may make the client invalid; what counts here is that it ran and was judged.
  assert.ok([0, 98].includes(ran.code ?? -1), ran.stdout + ran.stderr);
  assert.match(ran.stdout, /^c2 +10 /m);
  assert.ok(existsSync(path.join(cwd, "out", "report.html")));

  const rendered = await tokenclock(["report", "out", "-o", "page"], cwd);
  assert.equal(rendered.code, 0, rendered.stderr);
  const pictures = readdirSync(path.join(cwd, "page", "pictures"));
  assert.ok(
    pictures.some((file) => file.endsWith(".png")),
    pictures.join(),
  );
  assert.match(readFileSync(path.join(cwd, "page", "report.html"), "utf8"), /ECharts/);

  if (ran.code === 0) {
    const kept = await tokenclock(["gate", "out", "--slo-ttft", "60000", "--percentile", "50"], cwd);
    assert.equal(kept.code, 0, kept.stdout + kept.stderr);
    const broken = await tokenclock(["gate", "out", "--slo-ttft", "0.001", "--percentile", "50"], cwd);
    assert.equal(broken.code, 99, broken.stdout + broken.stderr);
  }
  const twice = await tokenclock(["compare", "--baseline", "out", "--candidate", "out"], cwd);
  assert.deepEqual([twice.code, /is named twice/.test(twice.stdout)], [104, true], twice.stdout + twice.stderr);
});

test("help, version, completion and what is misspelt", { skip }, async () => {
  const cwd = made("help");
  const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const cases: [string[], number, RegExp][] = [
    [["--version"], 0, new RegExp(`^${version}$`, "m")],
    [["--help"], 0, /^ {2}calibrate /m],
    [["gate", "--help"], 0, /Usage: tokenclock gate \[options\] <dir>[\s\S]*--slo-ttft/],
    [["completion", "bash"], 0, /concurrency-sweep[\s\S]*--slo-ttft/],
    [["gate"], 104, /missing required argument 'dir'/],
    [["gaet"], 104, /there is no command gaet/],
    [["run", "concurrency-sweep", "CONCURENCY=1", "SIMULATE=true"], 104, /CONCURENCY/],
  ];
  const ended = await Promise.all(cases.map(([args]) => tokenclock(args, cwd)));
  for (const [i, { code, stdout, stderr }] of ended.entries()) {
    const [args, wanted, said] = cases[i] as (typeof cases)[number];
    assert.equal(code, wanted, `${args.join(" ")}: ${stdout}${stderr}`);
    assert.match(stdout + stderr, said);
  }
});

test("the archive names what it is made of, with licences", { skip }, () => {
  const { components } = JSON.parse(readFileSync(path.join(home, "sbom.cdx.json"), "utf8")) as {
    components: { name: string; version: string; licenses: { license?: { id: string }; expression?: string }[] }[];
  };
  const licences = new Map(components.map(({ name, licenses: [one] }) => [name, one?.license?.id ?? one?.expression]));
  for (const [name, licence] of [
    ["go.k6.io/k6/v2", "AGPL-3.0-only"],
    ["std", "BSD-3-Clause"],
    ["echarts", "Apache-2.0"],
    ["@resvg/resvg-js", "MPL-2.0"],
    ["papaparse", "MIT"],
    ["node", "MIT"],
  ] as const) {
    assert.equal(licences.get(name), licence, name);
  }
  const notices = readFileSync(path.join(home, "THIRD_PARTY_LICENSES"), "utf8");
  for (const { name, version } of components) assert.ok(notices.includes(`${name} ${version} (`), name);
});
