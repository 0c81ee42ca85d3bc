/** The entry of every load test: settings, load, measurement, gate and results behind one object. */
import { orAbort } from "./abort";
import type { Gates } from "./figures/profile";
import type { ServerMetrics } from "./figures/server-metrics";
import { beforeLoad } from "./lazy";
import { requestedLoad, requireRequestedLoad } from "./load/load-guard";
import type { Load, RunOptions, Send, Shape } from "./load/shape";
import type { User } from "./load/users";
import { type SummaryData, writeSummary } from "./outcome/summary";
import { type Config, demand, readConfig, readOwn, shownSettings } from "./settings/config";
import type { OwnKind, OwnSetting } from "./settings/own";
import type { Defaults, SettingName } from "./settings/settings";
import { meetRunners, type Result, type Slot } from "./wire/client";
import { type LlmClient, openClient, type RequestOptions, type Server, specOf } from "./wire/llm-client";
import { openServerMetrics } from "./wire/server-metrics";
import { showFile } from "./workload/file-rows";
import { repetition } from "./workload/load-plan";

/** A load test: what a script exports to k6, and what it is made of. */
export interface Test {
  /** The effective settings. */
  readonly config: Config;
  /** For `export const { options, setup, teardown, handleSummary } = test`. */
  readonly options: RunOptions | undefined;
  setup(): Server;
  teardown(): void;
  handleSummary(data: SummaryData): Record<string, string>;
  /** For `export default`: sends the load. */
  run(server: Server): void;
  /** For `export default`: does this for each request of the load; `request.send()` sends it. */
  each(work: (request: TestRequest) => unknown): (server: Server) => void;
  /** For `export default`, with the shape users: does this for each user. */
  users(live: (user: User) => Promise<void>): (server: Server) => void;
  /**
   * A setting of the test's own, read and checked like the others: -e NAME=value. Its values are of the initial value's type.
   * To be called before the test is exported.
   */
  setting(name: string, initial: number, kind?: OwnKind): number;
  setting(name: string, initial: boolean, kind?: OwnKind): boolean;
  setting(name: string, initial: string, kind?: OwnKind): string;
  /**
   * Gates a metric of k6's or of the script's own over the whole run, such as ("my_metric", "p(95)<20"). To be called before the
   * test is exported. Of several runners (RUNNERS) nobody could judge it, so they refuse it.
   */
  threshold(metric: string, expression: string): void;
}

/** A request that is due. */
export interface TestRequest {
  /** Its place in the load. */
  readonly slot: Slot;
  /** Sends the prompt that the settings give it. */
  send(options?: RequestOptions): Promise<Result>;
}

/**
 * Opens the load test `name`: a load of this shape with these defaults of settings, everyone of which `-e NAME=value` may set
 * otherwise. A test uses the settings that its shape names, those that it has a default of, and those that every test uses; others
 * are refused. Init context only.
 */
export function openTest(name: string, defaults: Defaults, shape: Shape): Test {
  const uses = [...shape.uses, ...(Object.keys(defaults) as SettingName[])];
  const own: OwnSetting[] = [];
  const thresholds: Record<string, string[]> = {};
  let opened: OpenTest | undefined;
  const open = () => {
    if (opened) return opened;
    const config = readConfig({ scenario: name, defaults: { ...shape.defaults, ...defaults }, uses, own });
    const load = shape.open(config);
    opened = {
      config,
      load,
      client: openClient(config),
      serverMetrics: openServerMetrics(config),
      gates() {
        const gates = load.gates?.() ?? beforeLoad().gates(config, load.levels);
        return { ...gates, thresholds: { ...gates.thresholds, ...thresholds } };
      },
    };
    return opened;
  };
  return {
    get config() {
      return open().config;
    },
    get options() {
      const { config, load, gates } = open();
      const [own] = Object.keys(thresholds);
      demand(
        own === undefined || (config.RUNNERS === 1 && config.COORDINATOR === ""),
        `the script has a threshold on ${own} (test.threshold): k6 judges it in each process by itself, and what ${config.RUNNERS} runners measured together has no such metric; leave it out, or RUNNERS and COORDINATOR`,
      );
      return load.options(gates);
    },
    setup() {
      const { config, load, client, serverMetrics } = open();
      requireRequestedLoad();
      showFile();
      const short = config.CACHE === "cold" ? repetition() : undefined;
      if (short !== undefined) {
        const remedy = "give the file more rows, send fewer requests, or set CACHE=warm";
        console.warn(`tokenclock: ${short}; a prefix cache answers what it has seen before: ${remedy}`);
      }
      serverMetrics?.start();
      const server = client.ready();
      if (load.check) orAbort(load.check);
      meetRunners(beforeLoad().meetOptions(requestedLoad, shownSettings(config)));
      return server;
    },
    run(server) {
      const { config, load, client } = open();
      const send: Send = (slot, prompts, batchSize) =>
        batchSize === undefined
          ? client.request(server, prompts.next(slot, server.tokensPerWord), slot)
          : client.batch(server, prompts.batch(slot, server.tokensPerWord, batchSize), slot, config.STAGGER);
      load.each(send, server, client);
    },
    each: (work) => (server) => {
      const { config, load, client } = open();
      load.each(
        (slot, prompts) => {
          const send: TestRequest["send"] = (options = {}) => {
            const prompt = prompts.next(slot, server.tokensPerWord);
            const { body = prompt.body, outputTokens = prompt.outputTokens } = options;
            return client.request(server, { ...prompt, body, outputTokens }, slot, specOf(config, options));
          };
          return work({ slot, send });
        },
        server,
        client,
      );
    },
    users: (live) => (server) => {
      const { load, client } = open();
      const { user } = load;
      if (!user) throw new Error("test.users() needs a load of users: openTest(name, defaults, users)");
      load.each((slot) => live(user(slot, server, client)), server, client);
    },
    setting(setting: string, value: never, kind: OwnKind = {}) {
      const declared = { ...kind, name: setting, value };
      own.push(declared);
      return readOwn(declared) as never;
    },
    threshold(metric, expression) {
      thresholds[metric] = [...(thresholds[metric] ?? []), expression];
    },
    teardown() {
      const { load, serverMetrics } = open();
      load.report(serverMetrics?.stop());
      load.settle?.();
    },
    handleSummary(data) {
      const { config, gates, serverMetrics } = open();
      return writeSummary(data, config, gates(), serverMetrics, (report) => shape.shows?.(report, config) ?? {});
    },
  };
}

/** What a VU has of a test. */
interface OpenTest {
  readonly config: Config;
  readonly load: Load;
  readonly client: LlmClient;
  readonly serverMetrics: ServerMetrics | undefined;
  gates(): Gates;
}
