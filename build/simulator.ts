import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { Problem } from "./program";

/** A running simulated server. */
export interface Simulator {
  /** With /v1. */
  readonly baseUrl: string;
  /** Of its process. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** A TCP port of the loopback interface that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

/** Starts the simulated server of the k6 binary on a free port and waits until it answers. */
export async function startSimulator(k6: string, args: readonly string[] = []): Promise<Simulator> {
  const port = await freePort();
  const child = spawn(k6, ["x", "tokenclock", "simulate", "--port", String(port), ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    // Ctrl-C reaches the whole group of the terminal: k6 still needs the server while it winds down.
    detached: process.platform !== "win32",
    env: k6Environment(),
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-4000);
  });
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => resolve());
    child.on("error", (error) => {
      said += error.message;
      resolve();
    });
  });
  const stop = async () => {
    child.kill();
    await ended;
  };
  const stopOnExit = () => child.kill();
  process.once("exit", stopOnExit);
  void ended.then(() => process.removeListener("exit", stopOnExit));

  const origin = `http://127.0.0.1:${port}`;
  const running = () => child.exitCode === null && child.signalCode === null;
  while (running()) {
    if (await answers(`${origin}/health`)) return { baseUrl: `${origin}/v1`, pid: child.pid ?? 0, stop };
  }
  await ended;
  throw new Problem(`the simulated server did not start: ${said.trim()}`);
}

/** The environment k6 runs in: nothing is fetched or reported behind the user's back. */
export function k6Environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return {
    ...process.env,
    K6_AUTO_EXTENSION_RESOLUTION: "false",
    K6_NO_USAGE_REPORT: "true",
    ...more,
  };
}

async function answers(url: string): Promise<boolean> {
  try {
    const reply = await fetch(url, { signal: AbortSignal.timeout(1000) });
    return reply.ok;
  } catch {
    // Not there yet; a refused connection comes back at once, so leave the processor to the one we wait for.
    await new Promise((resolve) => setTimeout(resolve, 20));
    return false;
  }
}
