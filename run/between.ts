/**
 * The command of BETWEEN, which stands between the two phases of prefill-decode: a restart of the server, say. `npm start`
 * runs it, and nothing else does. It may hold a key, so it is in no message, no result and no process's arguments.
 */
import { spawn } from "node:child_process";
import http from "node:http";
import https from "node:https";
import os from "node:os";
import { Problem } from "../build/program";
import { exitCodes } from "../lib/outcome/exit-codes";
import { type Environment, parseSettings } from "../lib/settings/parse-settings";
import { formatDurationMs, SettingError, type Settings } from "../lib/settings/settings";

/** What is to happen between the phases. */
export interface Between {
  readonly command: string;
  /** Limit of the command, and again of the wait for the server after it. */
  readonly timeoutMs: number;
}

const notRun = "so the prefill phase was not run";

/**
 * What the settings (by name, as gatherSettings gives them) ask for between the phases; undefined where BETWEEN is not set.
 * @throws Problem where a setting is not allowed, or BETWEEN has no place in the run.
 */
export function readBetween(scenario: string, given: Environment): Between | undefined {
  if (!given.BETWEEN?.trim()) return undefined;
  if (scenario !== "prefill-decode") {
    throw new Problem(`BETWEEN is for prefill-decode only: ${scenario} has no phases`, exitCodes.settings);
  }
  const settings = parsed(given);
  if (settings.PHASE !== "both") {
    throw new Problem(
      `BETWEEN and PHASE=${settings.PHASE} exclude each other: it stands between both phases`,
      exitCodes.settings,
    );
  }
  // k6 pauses between the phases of one run; with a command there are two.
  if (settings.PAUSE > 0 || settings.RESET_URL !== "") {
    throw new Problem("BETWEEN excludes PAUSE and RESET_URL: let its command do what they would", exitCodes.settings);
  }
  return { command: settings.BETWEEN, timeoutMs: settings.BETWEEN_TIMEOUT };
}

function parsed(given: Environment): Settings {
  try {
    return parseSettings(given, {});
  } catch (error) {
    if (error instanceof SettingError) throw new Problem(error.message, exitCodes.settings);
    throw error;
  }
}

/**
 * Runs the command through the shell, its output shown and BASE_URL in its environment, and waits until the server answers.
 * @throws Problem where the command fails or either takes longer than it may.
 */
export async function runBetween({ command, timeoutMs }: Between, baseUrl: string): Promise<void> {
  console.log("tokenclock: running the command of BETWEEN");
  await runShell(command, baseUrl, timeoutMs);
  console.log(`tokenclock: waiting until ${withoutUser(baseUrl)} answers`);
  await answers(baseUrl, timeoutMs);
}

const posix = process.platform !== "win32";

/** What the command's processes get to end by themselves when its time is over. */
const graceMs = 5000;

/** Node takes a longer one for none. */
const longestTimerMs = 2 ** 31 - 1;

function runShell(command: string, baseUrl: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    // Everyone on the machine can read a process's arguments; the environment is the user's own.
    const line = posix ? 'eval "unset BETWEEN\n$BETWEEN"' : "%BETWEEN%";
    const child = spawn(line, {
      shell: true,
      stdio: ["ignore", "inherit", "inherit"],
      // A group of its own can be ended as a whole, and Ctrl-C in a later phase leaves a server alone that it started.
      detached: posix,
      env: { ...process.env, BETWEEN: command, BASE_URL: baseUrl },
    });
    let stopped: Problem | undefined;
    let killTimer: NodeJS.Timeout | undefined;
    const stop = (problem: Problem, signal: NodeJS.Signals) => {
      stopped ??= problem;
      endTree(child.pid, signal);
      killTimer ??= setTimeout(() => endTree(child.pid, "SIGKILL"), graceMs);
    };
    const timer = setTimeout(
      () => {
        const limit = formatDurationMs(timeoutMs);
        stop(
          new Problem(`the command of BETWEEN took longer than BETWEEN_TIMEOUT=${limit}, ${notRun}`, exitCodes.aborted),
          "SIGTERM",
        );
      },
      Math.min(timeoutMs, longestTimerMs),
    );
    const pass = (signal: NodeJS.Signals) => stop(new Problem(`interrupted, ${notRun}`, exitCodes.interrupted), signal);
    const signals: NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, pass);
    const over = () => {
      clearTimeout(timer);
      for (const each of signals) process.removeListener(each, pass);
    };
    child.on("error", (error: NodeJS.ErrnoException) => {
      over();
      reject(new Problem(`there is no shell to run BETWEEN with (${error.code}), ${notRun}`, exitCodes.aborted));
    });
    child.on("close", (code, signal) => {
      over();
      if (stopped) {
        // The shell is gone; what it started may still wind down.
        if (!posix || !endTree(child.pid, 0)) clearTimeout(killTimer);
        return reject(stopped);
      }
      if (code === 0) return resolve();
      const status = code ?? 128 + (signal ? os.constants.signals[signal] : 0);
      reject(new Problem(`the command of BETWEEN ended with exit code ${status}, ${notRun}`, exitCodes.aborted));
    });
  });
}

/** Sends a signal to a process and all it started; 0 only asks. false: none of them is left. */
function endTree(pid: number | undefined, signal: NodeJS.Signals | 0): boolean {
  if (pid === undefined) return false;
  if (!posix) {
    spawn("taskkill", ["/pid", String(pid), "/t", "/f"], { stdio: "ignore" }).on("error", () => {});
    return true;
  }
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

/** Resolves once the server answers; a gateway's or the server's own 5xx says that it is not there yet. */
async function answers(baseUrl: string, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const leftMs = endMs - performance.now();
    const answer = await ask(baseUrl, Math.ceil(Math.min(5000, Math.max(1, leftMs))));
    if (answer === "answers") return;
    if (leftMs <= 0) {
      const limit = formatDurationMs(timeoutMs);
      const url = withoutUser(baseUrl);
      throw new Problem(
        `${url} did not answer within BETWEEN_TIMEOUT=${limit} after BETWEEN (${answer}), ${notRun}`,
        exitCodes.aborted,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(200, leftMs)));
  }
}

/** GET /models without a key: 401 is an answer like any other. What stands in the way of one is returned in words. */
function ask(baseUrl: string, timeoutMs: number): Promise<string> {
  const [, socketPath, socketUrlPath] = /^unix:\/\/(\/[^:]+):(.*)$/.exec(baseUrl) ?? [];
  const path = (base: string) => `${base.replace(/\/+$/, "")}/models`;
  const url = new URL(path(socketPath === undefined ? withoutUser(baseUrl) : `http://localhost${socketUrlPath}`));
  const signal = AbortSignal.timeout(timeoutMs);
  const options = { socketPath, signal, agent: false, rejectUnauthorized: false };
  return new Promise((resolve) => {
    const request = (url.protocol === "https:" ? https : http).get(url, options, (reply) => {
      const { statusCode = 0 } = reply;
      resolve(statusCode < 500 ? "answers" : `HTTP ${statusCode}`);
      reply.destroy();
    });
    request.on("error", ({ code = "", message }: NodeJS.ErrnoException) => {
      // A server of HTTP/2 alone answers, though not in words of HTTP/1.1.
      if (/^HPE_|NO_APPLICATION_PROTOCOL/.test(code)) return resolve("answers");
      resolve(signal.aborted ? "no answer" : code || message);
    });
  });
}

/** An address without the user name and password that it may hold. */
function withoutUser(url: string): string {
  return url.replace(/\/\/[^/@]*@/, "//");
}
