/** The npm that runs this program: who it is, and what is to happen when it is gone. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";

/** The id of a process's parent; undefined where there is no such process or nothing says it. */
function parentOf(pid: number): number | undefined {
  try {
    if (process.platform === "linux") {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      // The name in parentheses may hold anything.
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    }
    return Number(execFileSync("ps", ["-o", "ppid=", "-p", String(pid)], { encoding: "utf8" })) || undefined;
  } catch {
    return undefined;
  }
}

/** The command line of a process; "" where nothing says it. */
function commandOf(pid: number): string {
  try {
    if (process.platform === "linux") return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
    return execFileSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8" });
  } catch {
    return "";
  }
}

/**
 * The process of the npm that started this one, which may have a shell between them; undefined where none did, and on
 * Windows, where nothing says so.
 */
export function npmProcess(): number | undefined {
  const { npm_execpath: cli = "", npm_lifecycle_event: script = "" } = process.env;
  if (script === "" || process.platform === "win32") return undefined;
  const isNpm = (pid: number) => {
    const command = commandOf(pid);
    return /^(npm|pnpm|yarn)\b/.test(command) || (cli !== "" && command.includes(path.basename(cli)));
  };
  const parent = process.ppid;
  if (isNpm(parent)) return parent;
  const above = parentOf(parent);
  return above !== undefined && isNpm(above) ? above : undefined;
}

/** Whether a process is there. */
function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

let interrupted = false;

/** Says that this program is winding down on a signal already, which a vanishing npm need not tell it again. */
export function noteSignal(): void {
  interrupted = true;
}

/** Time that a program has to wind down after its npm is gone, ms. */
const graceMs = 30_000;

/**
 * Interrupts this process, as TERM does, once the npm that started it is gone: a signal to npm alone ends npm, or the shell
 * between, and would leave the load running.
 */
export function endWithNpm(): void {
  const npm = npmProcess();
  if (npm === undefined) return;
  const parent = process.ppid;
  const gone = () => {
    if (process.ppid !== parent) return true;
    if (npm === parent) return false;
    // A killed npm that nobody has waited for still exists, but is nobody's parent any more.
    return process.platform === "linux" ? parentOf(parent) !== npm : !exists(npm);
  };
  const timer = setInterval(() => {
    if (!gone()) return;
    clearInterval(timer);
    if (!interrupted) process.kill(process.pid, "SIGTERM");
    setTimeout(() => process.exit(105), graceMs).unref();
  }, 250);
  timer.unref();
}
