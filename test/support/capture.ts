/** The packets of a port as a witness that shares no code with the client or the server (extension/internal/wiretap). */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { goEnvironment } from "../../build/k6";
import { root } from "../../build/paths";
import { scratchDir } from "./scratch";

/** One request and its response, as they passed. Times are ns behind `zeroUnixNs`; -1 = not seen. */
export interface CapturedExchange {
  /** X-Request-Id. */
  id: string;
  request: { sentNs: number; arrivedNs: number };
  status: number;
  /** [left, arrived, bytes of data] of each event. */
  events: [number, number, number][];
  complete: boolean;
}

export interface Capture {
  zeroUnixNs: string;
  /** Packets that the kernel could not keep: such a capture proves nothing. */
  drops: number;
  exchanges: CapturedExchange[];
}

let built: string | undefined;

/** Compiles the command, once a process. */
function command(): string {
  if (built) return built;
  const file = path.join(scratchDir(), "wiretap");
  const { status, stderr } = spawnSync("go", ["build", "-mod=readonly", "-o", file, "./internal/wiretap/cmd"], {
    env: goEnvironment(),
    cwd: path.join(root, "extension"),
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`the capture's command does not compile: ${stderr}`);
  built = file;
  return file;
}

/** Why this process may not capture, or a started capture, whose end gives what was seen. */
export async function startCapture(
  port: number,
  device = "lo",
  within: readonly string[] = [],
): Promise<{ refused: string } | { end(): Promise<Capture> }> {
  const out = path.join(scratchDir(), "capture.json");
  const [file = "", ...args] = [...within, command(), "-port", String(port), "-interface", device, "-out", out];
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"] });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("close", () => process.off("exit", kill));
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const code = await Promise.race([
    ended,
    new Promise<"capturing">((resolve) => child.stdout.on("data", () => resolve("capturing"))),
  ]);
  if (code === 3) return { refused: said.trim() };
  if (code !== "capturing") throw new Error(`the capture ended with ${code}: ${said}`);
  return {
    end: async () => {
      child.stdin.end();
      const status = await ended;
      if (status !== 0) throw new Error(`the capture ended with ${status}: ${said}`);
      return JSON.parse(readFileSync(out, "utf8")) as Capture;
    },
  };
}
