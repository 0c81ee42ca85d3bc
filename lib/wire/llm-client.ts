import { abort } from "../abort";
import { aroundLoad, beforeLoad } from "../lazy";
import { joined } from "../settings/address";
import type { BuiltInApi } from "../settings/apis";
import { type Config, shownSettings } from "../settings/config";
import type { Prompt } from "../workload/prompt";
import { everyWord } from "../workload/words";
import { requestBody } from "./body";
import { type BatchResult, type HttpReply, type RequestSpec, type Result, type Slot, tokenclock } from "./client";
import { openWire, type Wire } from "./open-wire";

/** What a request has beside its prompt. */
export interface RequestOptions {
  /** The client that sends it, by the name that test.client() gave it; by default the test's own. */
  readonly client?: string;
  /** Fields of the body. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** Their values may hold placeholders such as {{session}}, see docs/keys.md; the key is for HEADERS alone. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Path below BASE_URL's host, or an address, instead of the API's. Another server is refused where the run has a key or HEADERS and KEY_ORIGINS does not name it; see Test.client. */
  readonly path?: string;
  /** The answer's length; by default OUTPUT_TOKENS. */
  readonly outputTokens?: number;
  /** Give the request up so long after it was sent, ms. */
  readonly abortAfterMs?: number;
  /** Tags of its samples and its record, such as {turn: "first"}. level, phase and failure are not for scripts. */
  readonly tags?: Readonly<Record<string, string | number | boolean>>;
}

/** What setup() learnt of the server; k6 hands it to every VU. */
export interface Server {
  /** "" where the API names no model. */
  readonly model: string;
  /** Tokens that the server's tokenizer makes of one of our words; 1 where it cannot be asked. */
  readonly tokensPerWord: number;
  /** Leading tokens that all prompts share by the server's template; absent where it cannot be asked. */
  readonly templateTokens?: number;
  /** The servers of classes and clients of the script that have one of their own, by their names. */
  readonly parts?: Readonly<Record<string, Server>>;
}

/** Sends the workload's prompts in the wire format of API. One a VU. */
export interface LlmClient {
  /** Asks the server for its model and tokenizer. For setup(): an unreachable server ends the run there. */
  ready(): Server;
  /** Sends one request and returns at once: a VU may carry many clients of a load. `more` is added to what the prompt makes. */
  request(server: Server, prompt: Prompt, slot?: Slot, more?: Partial<RequestSpec>): Promise<Result>;
  /** Releases all prompts behind one barrier and returns when all have ended. */
  batch(server: Server, prompts: readonly Prompt[], slot?: Slot, staggerMs?: number): BatchResult;
}

const paths = {
  chat: "/chat/completions",
  completions: "/completions",
  embeddings: "/embeddings",
  responses: "/responses",
  messages: "/messages",
  json: "",
} as const satisfies Record<BuiltInApi, string>;

/** Opens the client that BASE_URL, API and the other settings of the connection describe. Init context only. */
export function openClient(config: Config): LlmClient {
  const whole = config.API === "embeddings" || config.API === "json";
  const wire = Object.hasOwn(paths, config.API) ? undefined : openWire(config);
  const headers = requestHeaders(config, wire);
  const path = wire ? wire.path : paths[config.API as BuiltInApi];
  const urlOf = (path: string): string =>
    config.ENDPOINT === "" ? joined(config.BASE_URL, path) : addressOf(config, config.ENDPOINT);
  const client = new tokenclock.Client({
    url: urlOf(path),
    api: wire ? "custom" : (config.API as BuiltInApi),
    method: config.API === "json" ? config.METHOD : (wire?.description.request.method ?? "POST"),
    headers,
    timeoutMs: config.TIMEOUT,
    stream: wire ? undefined : config.STREAM && !whole,
    http2: config.HTTP2,
    inputTokensPointer: config.INPUT_TOKENS_POINTER,
    outputTokensPointer: config.OUTPUT_TOKENS_POINTER,
    keyOrigins: tokenclock.shared(`key origins ${config.part ?? ""}`, () => ({
      of: beforeLoad().privateSettings(config).length > 0 ? config.KEY_ORIGINS : undefined,
    })).of,
    wire: wire && { name: wire.description.name, response: wire.response },
  });
  const forced = config.IGNORE_EOS && (wire ? wire.forces : !whole);
  const bodyless = config.API === "json" && config.METHOD === "GET";
  const specOf = (server: Server, prompt: Prompt): RequestSpec => {
    const spec: RequestSpec = {
      body: wire ? wire.body(server.model, prompt) : bodyless ? "" : requestBody(config, server.model, prompt),
    };
    if (prompt.inputTokens > 0) spec.inputTokens = prompt.inputTokens;
    if (server.templateTokens !== undefined) spec.templateTokens = server.templateTokens;
    if (forced && !prompt.ceiling) spec.outputTokens = prompt.outputTokens;
    if (prompt.url !== undefined) spec.url = addressOf(config, prompt.url);
    else if (wire?.pathOf) spec.url = urlOf(wire.pathOf(server.model));
    return spec;
  };
  return {
    ready() {
      const { findModel, findTemplateTokens, findTokensPerWord } = aroundLoad();
      const address = shownSettings(config).BASE_URL; // without a user's password
      const timeoutMs = Math.min(config.TIMEOUT, 10_000);
      const model = findModel(
        config,
        wire,
        String(address),
        (url) => tokenclock.fetch(url, { headers, timeoutMs }),
        giveUp,
      );
      const ask = (path: string, body: object): HttpReply =>
        tokenclock.fetch(addressOf(config, path), {
          method: "POST",
          headers,
          body: JSON.stringify(body),
          timeoutMs: 5000,
        });
      return {
        model,
        tokensPerWord: findTokensPerWord(config, everyWord, ask),
        templateTokens: config.CACHE === "cold" ? findTemplateTokens(config, model, ask) : undefined,
      };
    },
    request: (server, prompt, slot, more) => client.start({ ...specOf(server, prompt), ...more }, slot),
    batch: (server, prompts, slot, staggerMs) =>
      client.batch(
        prompts.map((prompt) => specOf(server, prompt)),
        slot,
        staggerMs,
      ),
  };
}

/** Headers of every request, see headers.ts. Made once for all VUs: what makes them would take 10 kB of each. */
export function requestHeaders(config: Config, wire?: Wire): Record<string, string> {
  const make = () => beforeLoad().requestHeaders(config, wire);
  return { ...tokenclock.shared(`${wire ? "headers of the wire" : "request headers"} ${config.part ?? ""}`, make) };
}

/** `path` below the host of BASE_URL (of a unix: address the socket); a whole address stays as it is. */
export function addressOf(config: Config, path: string): string {
  if (/^https?:/.test(path)) return path;
  const base = config.BASE_URL;
  return (/^(https?:\/\/[^/?]+|unix:[^:]+:)/.exec(base)?.[0] ?? base) + path;
}

/** Ends the run: no request is sent, and no figure of a server that was not there is shown. */
function giveUp(line: string): never {
  abort(line);
  throw new Error(line);
}

/** What the options of a request are to the module. */
export function specOf(
  config: Config,
  { client, headers, path, abortAfterMs, tags }: RequestOptions,
): Partial<RequestSpec> {
  const spec: Partial<RequestSpec> = {};
  if (headers) spec.headers = { ...headers };
  if (path !== undefined) {
    // Behind the host, ".evil.com" or "@evil.com" would make another one of it.
    if (!/^(\/|https?:\/\/)/.test(path))
      throw new Error(`path ${JSON.stringify(path)} is no path that begins with / and no address`);
    spec.url = addressOf(config, path);
  }
  if (abortAfterMs !== undefined) spec.abortAfterMs = abortAfterMs;
  if (tags || client !== undefined) spec.tags = { ...(client === undefined ? {} : { client }), ...tags };
  return spec;
}
