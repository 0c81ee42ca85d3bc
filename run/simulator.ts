import { spawn } from "node:child_process";
import { Problem } from "../build/program";

/** A running simulated server. */
export interface Simulator {
  /** With /v1. */
  readonly baseUrl: string;
  /** The id of its process. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts the simulated server of the k6 binary on a free port; it listens when this resolves. */
export async function startSimulator(k6: string, args: readonly string[] = []): Promise<Simulator> {
  // It ends with this process, however that ends.
  const own = ["x", "tokenclock", "simulate", "--port", "0", "--parent-pid", String(process.pid)];
  const child = spawn(k6, [...own, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    // Ctrl-C reaches the whole group of the terminal: k6 still needs the server while it winds down.
    detached: process.platform !== "win32",
    env: k6Environment(),
  });
  let output = "";
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => resolve());
    child.on("error", (error) => {
      output += error.message;
      resolve();
    });
  });
  const listening = new Promise<string>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output = (output + text).slice(-4000);
        const origin = /listening on (\S+)/.exec(output)?.[1];
        if (origin) resolve(origin);
      });
    }
  });
  const origin = await Promise.race([listening, ended]);
  if (origin === undefined) throw new Problem(`the simulated server did not start: ${output.trim()}`);
  return {
    baseUrl: `${origin}/v1`,
    pid: child.pid ?? 0,
    async stop() {
      child.kill();
      await ended;
    },
  };
}

/** The environment k6 runs in: nothing is fetched or reported behind the user's back. */
export function k6Environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return {
    ...process.env,
    K6_AUTO_EXTENSION_RESOLUTION: "false",
    K6_NO_USAGE_REPORT: "true",
    // k6 ends with us, however we end.
    K6_TOKENCLOCK_PARENT_PID: String(process.pid),
    ...more,
  };
}
