/** The entry of every load test: settings, load, measurement, gate and results behind one object. */
import { orAbort } from "./abort";
import type { Gates } from "./figures/profile";
import type { ServerMetrics } from "./figures/server-metrics";
import { aroundLoad, beforeLoad } from "./lazy";
import { requestedLoad, requireRequestedLoad } from "./load/load-guard";
import type { Load, Route, Routes, RunOptions, Send, Shape } from "./load/shape";
import type { User } from "./load/users";
import { type SummaryData, writeSummary } from "./outcome/summary";
import { type Config, demand, orRefuse, readConfig, readOwn, shownSettings } from "./settings/config";
import type { OwnKind, OwnSetting } from "./settings/own";
import type { ClientSettings } from "./settings/own-client";
import type { Defaults, SettingName } from "./settings/settings";
import { type Result, type Slot, tokenclock } from "./wire/client";
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
   * Another client, for `send({ client: name })`: on another server, or with another API, model or headers. Its requests have the
   * tag client. To be called before the test is exported.
   */
  client(name: string, settings: ClientSettings): void;
  /**
   * Gates a metric of k6's or of the script's own over the whole run, such as ("my_metric", "p(95)<20"). To be called before the
   * test is exported. Nobody could judge it for several runners (RUNNERS), so they refuse it.
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
  // Most tests have none, and the first Map costs a VU 8 kB.
  let clients: Map<string, ClientSettings> | undefined;
  let opened: OpenTest | undefined;
  const open = () => {
    if (opened) return opened;
    const declaration = { scenario: name, defaults: { ...shape.defaults, ...defaults }, uses, own };
    const config = readConfig(declaration, shape.classes);
    const load = shape.open(config);
    // Opened where it is asked for: the first runtime, which only reads the settings, does without.
    let metrics: ServerMetrics | undefined;
    opened = {
      config,
      load,
      client: openClient(config),
      named:
        clients &&
        new Map(
          [...clients].map(([of, settings]) => {
            const read = () => beforeLoad().clientConfig(config, of, settings);
            const own = orRefuse(() => tokenclock.shared(`client ${of}`, read));
            return [of, { config: own, client: openClient(own) }];
          }),
        ),
      get serverMetrics() {
        metrics ??= openServerMetrics(config, shape.classes !== undefined);
        return metrics;
      },
      gates() {
        let made: Gates | undefined;
        // Once: what makes them is large, and handleSummary asks again.
        const kept = tokenclock.shared("gates", () => {
          made = load.gates?.() ?? beforeLoad().gates(config, load.levels);
          if (Object.keys(thresholds).length === 0) return made;
          const all = { ...made.thresholds };
          for (const [metric, expressions] of Object.entries(thresholds)) {
            all[metric] = [...new Set([...(all[metric] ?? []), ...expressions])];
          }
          made = { ...made, thresholds: all, script: thresholds };
          return made;
        });
        return made ?? kept;
      },
    };
    return opened;
  };
  const routesOf =
    (whole: Server): Routes =>
    (of) => {
      const { config, client, named } = open();
      if (of === undefined) return { config, client, server: whole };
      const other = named?.get(of);
      const server = whole.parts?.[`client ${of}`];
      if (other && server) return { ...other, server };
      throw new Error(`client "${of}" is not known; declare it: test.client("${of}", { BASE_URL: ... })`);
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
      const { config, load, client, named, serverMetrics } = open();
      requireRequestedLoad();
      showFile();
      const short = config.CACHE === "cold" ? repetition() : undefined;
      if (short !== undefined) {
        const remedy = "give the file more rows, send fewer requests, or set CACHE=warm";
        console.warn(`tokenclock: ${short}; a prefix cache answers what it has seen before: ${remedy}`);
      }
      serverMetrics?.start();
      // Classes have names without a blank.
      const parts = { ...load.ready?.() };
      for (const [of, other] of named ?? []) parts[`client ${of}`] = other.client.ready();
      const server = { ...client.ready(), ...(Object.keys(parts).length > 0 ? { parts } : {}) };
      if (load.check) orAbort(load.check);
      tokenclock.meetRunners(aroundLoad().meetOptions(requestedLoad, shownSettings(config)));
      return server;
    },
    run(whole) {
      const { load } = open();
      const routes = routesOf(whole);
      const send: Send = (slot, prompts, batchSize, { config, client, server } = routes()) =>
        batchSize === undefined
          ? client.request(server, prompts.next(slot, server.tokensPerWord), slot)
          : client.batch(server, prompts.batch(slot, server.tokensPerWord, batchSize), slot, config.STAGGER);
      load.each(send, routes);
    },
    each: (work) => (whole) => {
      const routes = routesOf(whole);
      open().load.each((slot, prompts, _, own = routes()) => {
        const send: TestRequest["send"] = (options = {}) => {
          const { config, client, server } = options.client === undefined ? own : routes(options.client);
          const prompt = prompts.next(slot, server.tokensPerWord);
          const { body = {}, outputTokens = prompt.outputTokens } = options;
          const whole = { ...prompt, body: { ...prompt.body, ...body }, outputTokens };
          return client.request(server, whole, slot, specOf(config, options));
        };
        return work({ slot, send });
      }, routes);
    },
    users: (live) => (whole) => {
      const { load } = open();
      const { user } = load;
      if (!user) throw new Error("test.users() needs a load of users: openTest(name, defaults, users)");
      const routes = routesOf(whole);
      load.each((slot) => live(user(slot, routes)), routes);
    },
    client(of: string, settings: ClientSettings) {
      if (opened) throw new Error(`test.client("${of}") comes too late: declare clients before the test is exported`);
      clients ??= new Map();
      if (clients.has(of)) throw new Error(`test.client("${of}") is declared already`);
      clients.set(of, settings);
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

type Named = ReadonlyMap<string, Pick<Route, "config" | "client">>;

/** What a VU has of a test. */
interface OpenTest {
  readonly config: Config;
  readonly load: Load;
  readonly client: LlmClient;
  readonly named: Named | undefined;
  readonly serverMetrics: ServerMetrics | undefined;
  gates(): Gates;
}
