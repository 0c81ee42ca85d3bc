import { spawn } from "node:child_process";

/** How a command ended. */
export interface Ended {
  /** Exit code; 128 + signal number does not occur here: a killed command has code 1. */
  code: number;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Hand the command's output to the terminal as it comes instead of keeping it. */
  inherit?: boolean;
  /** Print a line with the elapsed time every `everyMs` while the command runs, so that nobody takes it for dead. */
  progress?: { what: string; everyMs: number };
}

/** Runs a command without a shell. Never throws: a command that cannot be started has code 127 and the reason on stderr. */
export function runCommand(file: string, args: string[], options: CommandOptions = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const startMs = Date.now();
    const child = spawn(file, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: options.inherit ? "inherit" : ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const { progress } = options;
    const timer = progress
      ? setInterval(() => {
          console.log(`tokenclock: ${progress.what} ... ${Math.round((Date.now() - startMs) / 1000)} s`);
        }, progress.everyMs)
      : undefined;
    child.on("error", (error) => {
      clearInterval(timer);
      resolve({ code: 127, stdout, stderr: stderr + error.message });
    });
    child.on("close", (code) => {
      clearInterval(timer);
      resolve({ code: code ?? 1, stdout, stderr });
    });
  });
}
