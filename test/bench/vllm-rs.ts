/** vLLM's Rust client `vllm-rs bench serve`, a binary inside vLLM's Python wheel. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statfsSync } from "node:fs";
import path from "node:path";
import { runCommand } from "../../build/command";
import { Problem } from "../../build/program";

/** The version that is measured. */
export const vllmRsVersion = "0.33.0";

/** The wheel is 0.34 GB, the binary 0.06. */
const roomGB = 1;

const extract = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open("vllm/vllm-rs") as member, open(sys.argv[2], "wb") as binary:
    while block := member.read(1 << 20):
        binary.write(block)
`;

/** Takes the binary out of a wheel. */
export async function extractVllmRs(wheel: string, binary: string): Promise<void> {
  const { code, stderr } = await runCommand("python3", ["-c", extract, wheel, binary]);
  if (code !== 0) throw new Problem(`no vllm-rs in the wheel: ${lastLine(stderr)}`);
  chmodSync(binary, 0o755);
}

const lastLine = (text: string) => text.trim().split("\n").at(-1) ?? "";

/**
 * The binary in the cache folder, downloaded there if it is not: the wheel alone, with pip, without what it depends on.
 * @throws Problem with the reason why it cannot be had
 */
export async function vllmRsBinary(cache: string): Promise<string> {
  const binary = path.join(cache, `vllm-rs-${vllmRsVersion}`);
  if (existsSync(binary)) return binary;
  if (process.platform !== "linux") throw new Problem("its wheel is for Linux");
  if ((await runCommand("python3", ["-m", "pip", "--version"])).code !== 0) {
    throw new Problem("python3 with pip, which downloads it, is not installed");
  }
  mkdirSync(cache, { recursive: true });
  const { bavail, bsize } = statfsSync(cache);
  if (bavail * bsize < roomGB * 1e9) throw new Problem(`there is less than ${roomGB} GB of room in ${cache}`);
  const dir = mkdtempSync(path.join(cache, "vllm-rs-"));
  try {
    process.stderr.write(`bench: downloading the wheel of vllm ${vllmRsVersion} (0.34 GB) for its client vllm-rs\n`);
    const asked = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", dir];
    const { code, stderr } = await runCommand("python3", ["-m", "pip", ...asked, `vllm==${vllmRsVersion}`]);
    if (code !== 0) throw new Problem(`pip cannot download vllm ${vllmRsVersion}: ${lastLine(stderr)}`);
    const wheel = readdirSync(dir).find((name) => name.endsWith(".whl"));
    if (!wheel) throw new Problem("pip downloaded no wheel");
    const part = path.join(dir, "vllm-rs");
    await extractVllmRs(path.join(dir, wheel), part);
    const said = await runCommand(part, ["--version"]);
    if (said.code !== 0) throw new Problem(`vllm-rs does not run here: ${lastLine(said.stderr)}`);
    renameSync(part, binary);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  return binary;
}
