/** Commands that the k6 binary itself has: `k6 x tokenclock NAME`. */
import { spawn } from "node:child_process";
import os from "node:os";
import { ensureK6 } from "../build/k6";
import { k6Environment } from "./simulator";

/** Runs `k6 x tokenclock NAME ARGS...` in the foreground; resolves to its exit code. */
export async function extensionCommand(name: string, args: readonly string[]): Promise<number> {
  const k6 = await ensureK6();
  return new Promise((resolve, reject) => {
    const child = spawn(k6, ["x", "tokenclock", name, ...args], { stdio: "inherit", env: k6Environment() });
    // A terminal's Ctrl-C reaches the child by itself; TERM to this process alone does not.
    const pass = (signal: NodeJS.Signals) => child.kill(signal);
    process.on("SIGINT", () => {});
    process.on("SIGTERM", pass);
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? 128 + (signal ? os.constants.signals[signal] : 0)));
  });
}
