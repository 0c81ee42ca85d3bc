/** What a load shape is to the test that uses it. */
import type { OwnResults, RunReport } from "../figures/level-summary";
import type { Gates } from "../figures/profile";
import type { Config } from "../settings/config";
import type { MixClass } from "../settings/parse-config";
import type { Defaults } from "../settings/settings";
import type { Use } from "../settings/used-settings";
import type { Slot } from "../wire/client";
import type { LlmClient, Server } from "../wire/llm-client";
import type { PromptSource } from "../workload/prompts";
import type { User } from "./users";

/** How a test loads the server: the settings that say it, and the load that they make. */
export interface Shape {
  /** The settings, or groups of them, that the load and its prompts follow from. */
  readonly uses: readonly Use[];
  /** Defaults of settings that fit the load; those of the test come over them. */
  readonly defaults?: Defaults;
  /** The classes that it is made of, which have settings of their own. Init context only. */
  classes?(config: Config): readonly MixClass[];
  /** Makes the load. Init context only. */
  open(config: Config): Load;
  /** What a run shows and writes beside the table of levels and summary.json. */
  shows?(report: RunReport, config: Config): OwnResults;
}

/** k6's options of a run, for `export const options`. They are those of k6's own type Options. */
export interface RunOptions {
  scenarios?: Record<string, object>;
  thresholds?: Record<string, (string | object)[]>;
  summaryTrendStats?: string[];
}

/** A level as far as gates need it. */
export interface GatedLevel {
  readonly name: string;
  readonly batchSize?: number;
  /** Output length of all its requests, where it is 1. */
  readonly outputTokens?: number;
  /** They may hold limits of the level's own (lib/figures/level-gate.ts). */
  readonly labels?: Readonly<Record<string, string | number>>;
}

/** Where requests go: a client, with what setup() learnt of its server. */
export interface Route {
  readonly config: Config;
  readonly client: LlmClient;
  readonly server: Server;
}

/** The route of a client that the script has declared by name; without a name, that of the load. */
export type Routes = (name?: string) => Route;

/**
 * Sends what a slot stands for: the next of `prompts`, or where `batchSize` is given so many of them at once. `route` is that of a
 * load that has several.
 */
export type Send = (slot: Slot, prompts: PromptSource, batchSize?: number, route?: Route) => unknown;

/** A load as the test runs it. */
export interface Load {
  /** The levels that gates judge. */
  readonly levels: readonly GatedLevel[];
  /** The gates of a load that is not judged by its levels. */
  gates?(): Gates;
  /** k6's options for this load with these gates; undefined in the VUs, of which k6 asks none. */
  options(gates: () => Gates): RunOptions | undefined;
  /** For setup(): ends the run where the load could not be sent as it should be. */
  check?(): void;
  /** For setup(): asks the servers that the load has beside the test's, by the names of its parts. */
  ready?(): Readonly<Record<string, Server>>;
  /**
   * Has this VU's clients send until they have no more to send. A slot ends with the promise that `send` returns, or where it
   * returns none, with `send`. Conversations, whose turns follow from one another, are sent by way of `routes`.
   */
  each(send: Send, routes: Routes): void;
  /** The user who holds this session, in a load of users. */
  user?(slot: Slot, routes: Routes): User;
  /** For teardown(): hands the levels' values to k6's thresholds, with those that are computed from others, by level and metric. */
  report(computed?: Record<string, Record<string, number>>): void;
  /** For teardown(): waits until the server is done with what the load left. */
  settle?(): void;
}
