/** Parts of a release that need no archive. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { cycloneDxFaults } from "../../test/support/cyclonedx";
import { root } from "../paths";
import { packageOf } from "./cli";
import { type Component, modulesIn, noticesOf } from "./components";
import { licenceOf, licenceProblem } from "./licence";
import { locked, requireIntegrity } from "./package";
import { sbomOf } from "./sbom";
import { targetOf, targets } from "./target";

function scratch(t: TestContext): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-release-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

test("a licence is known by its text, and an unknown one by nothing", () => {
  const cases: [string, string | undefined][] = [
    ["GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3", "AGPL-3.0-only"],
    [
      "                                 Apache License\n                           Version 2.0, January 2004",
      "Apache-2.0",
    ],
    ["MIT License\n\nPermission is hereby granted, free of charge, to any person", "MIT"],
    ["Redistribution and use in source and binary forms ... Neither the name of Google", "BSD-3-Clause"],
    ["Redistribution and use in source and binary forms, with or without modification", "BSD-2-Clause"],
    ["Mozilla Public License Version 2.0", "MPL-2.0"],
    ["All rights reserved. Not for redistribution.", undefined],
  ];
  for (const [text, licence] of cases) assert.equal(licenceOf([text]), licence, text);
  assert.equal(licenceOf([]), undefined);
});

test("what is not compatible may not be shipped, and AGPL only of k6", () => {
  assert.equal(licenceProblem({ name: "go.k6.io/k6/v2", licence: "AGPL-3.0-only" }), undefined);
  assert.match(licenceProblem({ name: "example.com/x", licence: "AGPL-3.0-only" }) ?? "", /example\.com\/x is AGPL/);
  assert.match(licenceProblem({ name: "y", licence: "GPL-3.0-only" }) ?? "", /y is GPL/);
  assert.match(licenceProblem({ name: "z", licence: "UNLICENSED" }) ?? "", /z is UNLICENSED/);
});

test("modules are those of the build, replacements in the place of what they replace", () => {
  const info =
    "bin/k6: go1.26\n\tpath\tp\n\tdep\ta\tv1\th1:x=\n\tdep\tb\tv2\n\t=>\tc\tv3\th1:y=\n\tbuild\tCGO_ENABLED=0\n";
  assert.deepEqual(modulesIn(info), [
    { name: "a", version: "v1", integrity: "h1:x=" },
    { name: "c", version: "v3", integrity: "h1:y=" },
  ]);
});

test("a file of npm's packages tells its package, the innermost", () => {
  assert.equal(packageOf("node_modules/echarts/lib/a.js"), "echarts");
  assert.equal(packageOf("../../x/node_modules/@a/b/c.js"), "@a/b");
  assert.equal(packageOf("node_modules/a/node_modules/b/c.js"), "b");
  assert.equal(packageOf("run/start.ts"), undefined);
});

test("each target has a library for pictures that the lock file pins, and an unknown target is refused", () => {
  assert.equal(targets.length, 6);
  for (const { resvg } of targets) assert.match(locked(resvg).integrity, /^sha512-/);
  assert.throws(() => targetOf("plan9/amd64"), /--only plan9\/amd64 is none of linux\/amd64/);
});

test("a fetched package with other bytes than the pinned ones is refused", (t) => {
  const file = path.join(scratch(t), "node.tgz");
  writeFileSync(file, "bytes");
  const integrity = `sha512-${createHash("sha512").update("bytes").digest("base64")}`;
  requireIntegrity(file, integrity);
  writeFileSync(file, "other bytes");
  assert.throws(() => requireIntegrity(file, integrity), /node\.tgz has the integrity sha512-\S+, pinned is sha512-/);
});

const echarts: Component = {
  ...{ type: "npm", name: "@scope/echarts", version: "6.1.0", licence: "Apache-2.0", texts: ["Apache License"] },
  integrity: `sha512-${Buffer.alloc(64, 7).toString("base64")}`,
};

test("the bill of materials has licences, hashes and package URLs, and the same text for the same components in any order", () => {
  const k6: Component = {
    ...echarts,
    type: "golang",
    name: "go.k6.io/k6/v2",
    version: "v2.2.0",
    licence: "AGPL-3.0-only",
    integrity: "h1:x=",
  };
  const text = sbomOf("0.1.0", "linux/amd64", 1_700_000_000, [echarts, k6]);
  assert.equal(text, sbomOf("0.1.0", "linux/amd64", 1_700_000_000, [k6, echarts]));
  assert.notEqual(text, sbomOf("0.1.0", "linux/arm64", 1_700_000_000, [k6, echarts]));
  const document = JSON.parse(text);
  const { metadata, components } = document;
  assert.deepEqual(cycloneDxFaults(document), []);
  assert.equal(metadata.timestamp, "2023-11-14T22:13:20Z");
  assert.equal(components[0].purl, "pkg:golang/go.k6.io/k6/v2@v2.2.0");
  assert.deepEqual(components[1].hashes, [{ alg: "SHA-512", content: "07".repeat(64) }]);
  assert.deepEqual(components[1].licenses, [{ license: { id: "Apache-2.0" } }]);
  // The check can fail.
  const [first, second] = components;
  for (const [changed, fault] of [
    [{ ...document, specVersion: "1.7" }, "specVersion is not 1.6"],
    [{ ...document, components: [first, { ...second, licenses: [] }] }, `${second.name}: no licence`],
    [
      { ...document, components: [first, { ...second, hashes: [{ alg: "SHA-512", content: "07" }] }] },
      `${second.name}: hash SHA-512 07`,
    ],
    [{ ...document, components: [first, first] }, "go.k6.io/k6/v2: bom-ref is not its own"],
    [{ ...document, components: [first] }, `a dependency on ${second.purl}, which is no component`],
  ] as const) {
    assert.ok(cycloneDxFaults(changed).includes(fault), fault);
  }
});

test("the entry for k6's extension registry has its required fields, and names what the extension registers", () => {
  const read = (...file: string[]) => readFileSync(path.join(root, ...file), "utf8");
  const [, entry = ""] = /```yaml\n(- module: [\s\S]*?)```/.exec(read("docs", "release.md")) ?? [];
  const value = (key: string) => new RegExp(`^[- ] ${key}: (.+)$`, "m").exec(entry)?.[1];
  const values = (key: string) =>
    (new RegExp(`^  ${key}:\\n((?:    - .*\\n)+)`, "m").exec(entry)?.[1] ?? "")
      .split("\n")
      .flatMap((line) => (line === "" ? [] : [line.replace(/^ {4}- "?([^"]*)"?$/, "$1")]));
  // Fields and values of github.com/grafana/k6registry, docs/registry.schema.yaml.
  const known = [
    "module",
    "description",
    "tier",
    "imports",
    "outputs",
    "subcommands",
    "versions",
    "categories",
    "products",
  ];
  for (const [, key = ""] of entry.matchAll(/^[- ] (\w+):/gm)) assert.ok(known.includes(key), key);
  assert.equal(value("module"), /^module (.+)$/m.exec(read("extension", "go.mod"))?.[1]);
  assert.ok((value("description") ?? "").length > 20);
  assert.ok(["official", "partner", "community"].includes(value("tier") ?? ""), value("tier"));
  const register = read("extension", "register.go");
  const registered = (call: string) =>
    [...register.matchAll(new RegExp(`${call}\\("([^"]+)"`, "g"))].map(([, name]) => name);
  assert.deepEqual(values("imports"), registered("modules\\.Register"));
  assert.deepEqual(values("outputs"), registered("output\\.RegisterExtension"));
  assert.deepEqual(values("subcommands"), registered("subcommand\\.RegisterExtension"));
  for (const name of values("imports")) assert.match(name, /^k6\/x\//);
  assert.deepEqual(values("versions"), [`v${JSON.parse(read("package.json")).version}`]);
  assert.doesNotMatch(read("extension", "go.mod"), /^replace /m);
  for (const file of ["README.md", "LICENSE", "index.d.ts", "examples/smoke.js"])
    assert.ok(read("extension", file), file);
});

test("each licence text stands once, under all that have it", () => {
  const text = noticesOf([echarts, { ...echarts, name: "zrender" }, { ...echarts, name: "x", texts: ["MIT"] }], "OWN");
  assert.ok(text.startsWith("OWN\n"));
  assert.equal(text.split("Apache License").length - 1, 1);
  assert.match(text, /@scope\/echarts 6\.1\.0 \(Apache-2\.0\)\nzrender 6\.1\.0 \(Apache-2\.0\)\n-+\nApache License\n/);
});

test("an archive's bytes know no time of a file, no owner and no order, but its modes and contents", (t) => {
  const dir = scratch(t);
  const made = (name: string, files: string[], atS: number, ending: string) => {
    const folder = path.join(dir, name, "thing");
    for (const file of files) {
      mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
      writeFileSync(path.join(folder, file), file);
      chmodSync(path.join(folder, file), file.endsWith("run") ? 0o700 : 0o600);
      utimesSync(path.join(folder, file), atS, atS);
    }
    const out = path.join(dir, `${name}${ending}`);
    execFileSync(pack, ["-folder", folder, "-out", out, "-epoch", "1700000000"]);
    return out;
  };
  const pack = path.join(dir, process.platform === "win32" ? "pack.exe" : "pack");
  execFileSync("go", ["build", "-o", pack, "./pack"], { cwd: path.join(root, "build", "tools") });
  for (const ending of [".tar.gz", ".zip"]) {
    const one = readFileSync(made(`a${ending}`, ["run", "b/c", "a"], 1_000_000_000, ending));
    assert.ok(one.equals(readFileSync(made(`b${ending}`, ["a", "run", "b/c"], 1_600_000_000, ending))), ending);
    assert.ok(!one.equals(readFileSync(made(`c${ending}`, ["a", "b/c"], 1_000_000_000, ending))), ending);
  }
  const listed = execFileSync("tar", ["-tvzf", path.join(dir, "a.tar.gz.tar.gz")], { encoding: "utf8" })
    .trim()
    .split("\n");
  assert.deepEqual(
    listed.map((line) => [line.split(/\s+/)[0], line.split(/\s+/).at(-1)]),
    [
      ["-rw-r--r--", "thing/a"],
      ["-rw-r--r--", "thing/b/c"],
      ["-rwxr-xr-x", "thing/run"],
    ],
  );
});
