import { type ChildProcess, spawn } from "node:child_process";

/** How a child process ended, with all it said. */
export interface ChildEnd {
  /** undefined where a signal ended it. */
  code: number | undefined;
  signal: NodeJS.Signals | undefined;
  stdout: string;
  stderr: string;
  /** From its start to its end. */
  tookMs: number;
}

/** A child process of a test: bounded in time, and gone when the test file's process is. */
export interface Child {
  readonly pid: number;
  readonly ended: Promise<ChildEnd>;
  /** What it wrote to stdout so far. */
  said(): string;
  kill(signal: NodeJS.Signals): void;
}

export interface ChildOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** It is killed after this, and `ended` rejects. */
  timeoutMs: number;
}

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts `file` without a shell. */
export function startChild(file: string, args: readonly string[], options: ChildOptions): Child {
  const startMs = performance.now();
  const child: ChildProcess = spawn(file, args, {
    cwd: options.cwd,
    env: options.env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  running.add(child);
  const ended = new Promise<ChildEnd>((resolve, reject) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, options.timeoutMs);
    const over = () => {
      clearTimeout(timer);
      running.delete(child);
    };
    child.on("error", (error) => {
      over();
      reject(error);
    });
    child.on("close", (code, signal) => {
      over();
      const command = [file, ...args].join(" ");
      if (late) reject(new Error(`${command} did not end within ${options.timeoutMs} ms:\n${stdout}\n${stderr}`));
      resolve({
        code: code ?? undefined,
        signal: signal ?? undefined,
        stdout,
        stderr,
        tookMs: performance.now() - startMs,
      });
    });
  });
  // A test that fails before it awaits the end must report its own failure, not this one.
  ended.catch(() => {});
  return { pid: child.pid ?? 0, ended, said: () => stdout, kill: (signal) => child.kill(signal) };
}
