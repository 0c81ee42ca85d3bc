/** The simulated server as tests use it: a process of its own, and its own account of what it sent. */
import http from "node:http";
import https from "node:https";
import type { TestContext } from "node:test";
import { builtK6 } from "../../build/paths";
import { k6Environment } from "../../run/simulator";
import { type Child, startChild } from "./child";

/** What the server did for one request; times are ns on its own clock (RequestTruth in the extension says more). */
export interface RequestTruth {
  /** The X-Request-Id of the request, which is `id` in the records. */
  id: string;
  path: string;
  beginNs: number;
  kernelBegin: boolean;
  status: number;
  promptTokens: number;
  /** Of them, what the prefix cache had; absent where that was nothing. */
  cachedTokens?: number;
  outputTokens: number;
  /** [from, to, output tokens] of each event: its last byte left between the two, which are one where the kernel told it. */
  sendsNs: [number, number, number][];
  doneNs: number;
  finishReason: string;
  fault: string;
}

/** GET /truth. */
export interface Truth {
  clock: { zeroUnixNs: string; nowNs: number };
  requests: RequestTruth[];
  requestCount: number;
  liveCount: number;
  exact: boolean;
  outputTokens: number;
}

export interface SimulatedServer {
  /** Scheme, host and port. */
  readonly origin: string;
  /** With /v1, as BASE_URL takes it. */
  readonly baseUrl: string;
  readonly child: Child;
  /** What it did since the last reset. */
  truth(): Promise<Truth>;
  /** Forgets what was. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

/** Longest life of a server, so that none outlives a test that hangs: some serve all tests of a file, on a busy machine, too. */
const lifetimeMs = 900_000;

/** Starts `k6 x tokenclock simulate` on a free port; it has said where it listens when this resolves. */
export async function startServer(...flags: string[]): Promise<SimulatedServer> {
  return await startServerWithin([], ...flags);
}

/** The same, for as long as a test runs. */
export async function serverFor(t: TestContext, ...flags: string[]): Promise<SimulatedServer> {
  const server = await startServer(...flags);
  t.after(server.stop);
  return server;
}

/** Starts one by a command such as `ip netns exec NAME`. */
export async function startServerWithin(within: readonly string[], ...flags: string[]): Promise<SimulatedServer> {
  const args = ["x", "tokenclock", "simulate", "--port", "0", "--parent-pid", String(process.pid), ...flags];
  const [file = "", ...before] = [...within, process.env.K6_BINARY || builtK6];
  const child = startChild(file, [...before, ...args], { env: k6Environment(), timeoutMs: lifetimeMs });
  const origin = await listening(child);
  return {
    origin,
    baseUrl: `${origin}/v1`,
    child,
    truth: async () => {
      const truth = JSON.parse(await call(`${origin}/truth`)) as Truth;
      return { ...truth, requests: truth.requests ?? [] };
    },
    reset: async () => {
      await call(`${origin}/reset`, "POST");
    },
    stop: async () => {
      child.kill("SIGTERM");
      await child.ended;
    },
  };
}

/** The address in the line that the server prints when it listens. */
async function listening(child: Child): Promise<string> {
  let over: Error | undefined;
  void child.ended.then(
    ({ stderr }) => {
      over = new Error(`the simulated server did not start: ${stderr}`);
    },
    (error) => {
      over = error;
    },
  );
  while (!over) {
    const origin = /listening on (\S+)/.exec(child.said())?.[1];
    if (origin) return origin;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw over;
}

/** The body of a reply with status 200; the server's certificate is one that it made itself. */
export function call(url: string, method = "GET"): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = url.startsWith("https:") ? https : http;
    const request = client.request(url, { method, rejectUnauthorized: false, agent: false }, (reply) => {
      let body = "";
      reply.setEncoding("utf8");
      reply.on("data", (text: string) => {
        body += text;
      });
      reply.on("error", reject);
      reply.on("end", () => {
        if (reply.statusCode === 200) resolve(body);
        else reject(new Error(`${method} ${url}: HTTP ${reply.statusCode} ${body}`));
      });
    });
    request.on("error", reject);
    request.end();
  });
}
