/** Several instances of k6 as k6-operator runs them: its arguments, paused, released one after the other; and their coordinator. */
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { distDir } from "../../build/paths";
import { asEnvironment } from "../../lib/settings/given-settings";
import { k6Environment } from "../../run/simulator";
import { type Child, type ChildEnd, startChild } from "./child";
import { k6Binary, type RunSettings } from "./run";
import { scratchDir } from "./scratch";

/** A coordinator that listens. */
export interface Coordinator {
  readonly address: string;
  /** Its results: part-1, part-2, ... and the merged run. */
  readonly dir: string;
  readonly child: Child;
}

/** A secret that nobody guesses. */
export const token = "0123456789abcdef0123456789abcdef";

const timeoutMs = 90_000;

/** Starts `k6 x tokenclock coordinate` on a free port. With a token it speaks TLS. */
export async function startCoordinator(
  runners: number,
  { args = [], secret = token }: { args?: readonly string[]; secret?: string } = {},
): Promise<Coordinator> {
  const dir = scratchDir();
  const child = startChild(
    k6Binary(),
    [
      ...["x", "tokenclock", "coordinate", "--runners", String(runners), "--results", dir, "--listen", "127.0.0.1:0"],
      ...["--wait", "15s", ...args],
    ],
    { env: k6Environment(secret === "" ? {} : { TOKENCLOCK_COORDINATOR_TOKEN: secret }), timeoutMs },
  );
  let over = false;
  void child.ended.then(
    () => {
      over = true;
    },
    () => {
      over = true;
    },
  );
  for (;;) {
    const address = /listening on (\S+)/.exec(child.said())?.[1];
    if (address) return { address, dir, child };
    if (over) throw new Error(`the coordinator did not start: ${JSON.stringify(await child.ended)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** One instance that was started. */
export interface Runner {
  readonly child: Child;
  readonly dir: string;
  /** Resolves when it waits in --paused with all VUs ready; false where it ended before. */
  ready(): Promise<boolean>;
  release(): Promise<void>;
}

/** The operator's arguments of instance i (from 1) of n. */
function operatorArguments(i: number, n: number): string[] {
  const cut = (k: number) => (k === 0 ? "0" : k === n ? "1" : `${k}/${n}`);
  if (n === 1) return [];
  const sequence = Array.from({ length: n + 1 }, (_, k) => cut(k)).join(",");
  return [`--execution-segment=${cut(i - 1)}:${cut(i)}`, `--execution-segment-sequence=${sequence}`];
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** Starts instance i of n, paused. */
export async function startRunner(
  scenario: string,
  i: number,
  n: number,
  settings: RunSettings,
  { k6 = k6Binary(), args = [] as readonly string[] } = {},
): Promise<Runner> {
  const port = await freePort();
  const dir = scratchDir();
  const named = Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]));
  const child = startChild(
    k6,
    [
      ...["run", "--quiet", ...operatorArguments(i, n), "--no-thresholds", "--no-usage-report", ...args],
      ...[path.join(distDir, `${scenario}.js`), `--address=127.0.0.1:${port}`, "--paused"],
      ...["--tag", `instance_id=${i}`, "--tag", "testrun_name=test"],
    ],
    { cwd: dir, env: k6Environment(asEnvironment({ RESULTS: dir, RUNNERS: String(n), ...named })), timeoutMs },
  );
  let over = false;
  const ended = () => {
    over = true;
  };
  void child.ended.then(ended, ended);
  return {
    child,
    dir,
    ready: async () => {
      while (!over) {
        const status = await callApi(port, "GET").catch(() => 0);
        if (status >= 4) return true;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return false;
    },
    release: async () => {
      await callApi(port, "PATCH");
    },
  };
}

/** k6's status; PATCH releases the instance. */
function callApi(port: number, method: "GET" | "PATCH"): Promise<number> {
  const body = JSON.stringify({
    data: { attributes: { paused: false, stopped: false }, id: "default", type: "status" },
  });
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: "127.0.0.1", port, path: "/v1/status", method, agent: false, timeout: 5000 },
      (reply) => {
        let text = "";
        reply.setEncoding("utf8").on("data", (more: string) => {
          text += more;
        });
        reply.on("end", () => {
          try {
            resolve((JSON.parse(text) as { data: { attributes: { status: number } } }).data.attributes.status);
          } catch (error) {
            reject(error);
          }
        });
      },
    );
    request.on("error", reject).on("timeout", () => request.destroy(new Error("k6's API does not answer")));
    request.end(method === "PATCH" ? body : undefined);
  });
}

/** How a run of several instances ended. */
export interface Together {
  readonly coordinator: Coordinator;
  readonly judged: ChildEnd;
  readonly runners: readonly ChildEnd[];
}

/** Runs a scenario on n instances with a coordinator, to its end. */
export async function runTogether(
  scenario: string,
  n: number,
  settings: RunSettings,
  options: { secret?: string; args?: readonly string[]; during?: (runners: readonly Runner[]) => Promise<void> } = {},
): Promise<Together> {
  const coordinator = await startCoordinator(n, options);
  const { secret = token } = options;
  const own: RunSettings = {
    ...settings,
    COORDINATOR: coordinator.address,
    ...(secret === "" ? {} : { COORDINATOR_TOKEN: secret }),
  };
  const runners = await Promise.all(Array.from({ length: n }, (_, k) => startRunner(scenario, k + 1, n, own)));
  for (const runner of runners) await runner.ready();
  for (const runner of runners) await runner.release().catch(() => {});
  await options.during?.(runners);
  const ends = await Promise.all(runners.map(({ child }) => child.ended));
  return { coordinator, judged: await coordinator.child.ended, runners: ends };
}
