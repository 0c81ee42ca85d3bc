import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { extractVllmRs, vllmRsBinary, vllmRsVersion } from "./vllm-rs";

const skip = spawnSync("python3", ["--version"]).status !== 0 && "there is no python3";

async function inFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-vllm-rs-"));
  try {
    await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A wheel that holds one file. */
function wheel(dir: string, member: string): string {
  const file = path.join(dir, "vllm-0-any.whl");
  const make =
    "import sys, zipfile; zipfile.ZipFile(sys.argv[1], 'w').writestr(sys.argv[2], '#!/bin/sh\\necho vllm-rs 0\\n')";
  assert.equal(spawnSync("python3", ["-c", make, file, member]).status, 0);
  return file;
}

test("the binary is taken out of the wheel and can be run", { skip }, () =>
  inFolder(async (dir) => {
    const binary = path.join(dir, "vllm-rs");
    await extractVllmRs(wheel(dir, "vllm/vllm-rs"), binary);
    assert.equal(spawnSync(binary).stdout.toString(), "vllm-rs 0\n");
  }),
);

test("a wheel without it says so", { skip }, () =>
  inFolder(async (dir) => {
    await assert.rejects(extractVllmRs(wheel(dir, "vllm/other"), path.join(dir, "x")), /no vllm-rs in the wheel/);
  }),
);

test("what the cache folder holds is not downloaded again", () =>
  inFolder(async (dir) => {
    const binary = path.join(dir, `vllm-rs-${vllmRsVersion}`);
    writeFileSync(binary, "");
    assert.equal(await vllmRsBinary(dir), binary);
  }));
