import exec from "k6/execution";
import { requireAskedLoad } from "../load/load-guard";
import { repetition } from "../load/load-plan";
import { type BuiltInApi, repliesWhole } from "../settings/apis";
import { type Config, shownSettings } from "../settings/config";
import type { WireResponse } from "../settings/wire-description";
import { showFile } from "../workload/file-rows";
import { joined } from "./address";
import { type Prompt, requestBody } from "./body";
import { openCacheWatch } from "./cache-watch";
import {
  type BatchResult,
  Client,
  fetch,
  type HttpReply,
  type RequestSpec,
  type Result,
  type Slot,
  shared,
} from "./client";
import { openWire, type Wire } from "./open-wire";

/** What setup() learnt of the server; k6 hands it to every VU. */
export interface Server {
  /** "" where the API names no model. */
  readonly model: string;
  /** Tokens that the server's tokenizer makes of one of our words; 1 where it cannot be asked. */
  readonly tokensPerWord: number;
  /** Leading tokens that all prompts share by the server's template; absent where it cannot be asked. */
  readonly templateTokens?: number;
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
  const wire = openWire(config);
  const headers = requestHeaders(config, wire);
  const path = pathOf(config, wire);
  const url = requestUrl(config, path);
  openCacheWatch(config, config.METRICS_URL || addressOf(config, "/metrics"), headers);
  const client = new Client({
    url,
    api: wire ? "custom" : (config.API as BuiltInApi),
    method: config.API === "json" ? config.METHOD : (wire?.description.request.method ?? "POST"),
    headers,
    timeoutMs: config.TIMEOUT,
    stream: wire ? undefined : config.STREAM && !repliesWhole(config.API),
    http2: config.HTTP2,
    inputTokensPointer: config.INPUT_TOKENS_POINTER,
    outputTokensPointer: config.OUTPUT_TOKENS_POINTER,
    wire: wire && { name: wire.description.name, response: responseOf(config, wire) },
  });
  const forced = config.IGNORE_EOS && (wire ? wire.forces : !repliesWhole(config.API));
  const bodyless = config.API === "json" && config.METHOD === "GET";
  const specOf = (server: Server, prompt: Prompt): RequestSpec => {
    const spec: RequestSpec = {
      body: wire ? wire.body(server.model, prompt) : bodyless ? "" : requestBody(config, server.model, prompt),
    };
    if (prompt.inputTokens > 0) spec.inputTokens = prompt.inputTokens;
    if (server.templateTokens !== undefined) spec.templateTokens = server.templateTokens;
    if (forced && !prompt.ceiling) spec.outputTokens = prompt.outputTokens;
    if (prompt.url !== undefined) spec.url = addressOf(config, prompt.url);
    else if (path.includes("{{model}}")) spec.url = requestUrl(config, withModel(path, server.model));
    return spec;
  };
  return {
    ready() {
      requireAskedLoad();
      showFile();
      const short = config.CACHE === "cold" ? repetition() : undefined;
      if (short !== undefined) {
        const remedy = "give the file more rows, send fewer requests, or set CACHE=warm";
        console.warn(`tokenclock: ${short}; a prefix cache answers what it has seen before: ${remedy}`);
      }
      const model = findModel(config, headers, wire);
      const { findTemplateTokens, findTokensPerWord } = require("./tokenizer") as typeof import("./tokenizer");
      const ask = (path: string, body: object): HttpReply =>
        fetch(addressOf(config, path), { method: "POST", headers, body: JSON.stringify(body), timeoutMs: 5000 });
      return {
        model,
        tokensPerWord: findTokensPerWord(config, ask),
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

/** Where requests go, below BASE_URL; of a described API as its file says, {{model}} included. */
function pathOf(config: Config, wire: Wire | undefined): string {
  if (!wire) return paths[config.API as BuiltInApi];
  const { request, reply } = wire.description;
  return (config.STREAM ? undefined : reply?.path) ?? request.path;
}

function withModel(path: string, model: string): string {
  return path.replace(/\{\{\s*model\s*\}\}/g, encodeURIComponent(model));
}

/** How a described API's response is read: a stream, or with STREAM=false a whole reply. */
function responseOf(config: Config, { description: { response, reply } }: Wire): WireResponse {
  if (config.STREAM) return response;
  return reply?.response ?? { ...response, format: "json", cumulative: false };
}

/** Headers of every request, see headers.ts. Made once for all VUs: what makes them would take 10 kB of each. */
export function requestHeaders(config: Config, wire?: Wire): Record<string, string> {
  const make = () => (require("./headers") as typeof import("./headers")).requestHeaders(config, wire);
  return { ...shared("request headers", make) };
}

/** `path` below the host of BASE_URL; a whole address stays as it is. */
export function addressOf(config: Config, path: string): string {
  return /^https?:/.test(path) ? path : originOf(config.BASE_URL) + path;
}

/** Scheme and host of an address (of a unix: address the socket). */
function originOf(url: string): string {
  return /^(https?:\/\/[^/?]+|unix:[^:]+:)/.exec(url)?.[0] ?? url;
}

function requestUrl(config: Config, path: string): string {
  return config.ENDPOINT === "" ? joined(config.BASE_URL, path) : addressOf(config, config.ENDPOINT);
}

/** Ends the run: no request is sent, and no figure of a server that was not there is shown. */
function giveUp(line: string): never {
  exec.test.abort(`tokenclock: ${line}`);
  throw new Error(line);
}

function findModel(config: Config, headers: Record<string, string>, wire: Wire | undefined): string {
  const models = wire?.description.request.models ?? (wire ? undefined : openAiModels);
  const url = joined(config.BASE_URL, models?.path ?? "/");
  const reply = fetch(url, { headers, timeoutMs: Math.min(config.TIMEOUT, 10_000) });
  const shownUrl = shownSettings(config).BASE_URL; // without a user's password
  if (reply.status === 0) giveUp(`BASE_URL=${shownUrl} cannot be reached: ${reply.error}`);
  if (config.MODEL !== "" || config.API === "json" || (wire && !wire.namesModel)) return config.MODEL;
  if (!models) giveUp(`API=${config.API} names the model and has no list of models; set MODEL`);
  const model = reply.status === 200 ? firstModel(reply.body, models.at) : undefined;
  if (model === undefined) {
    const list = joined(String(shownUrl), models.path);
    giveUp(`${list} lists no model (HTTP ${reply.status}); set MODEL, or check BASE_URL and API_KEY`);
  }
  return model;
}

/** OpenAI's list of models. */
const openAiModels = { path: "/models", at: "/data/0/id" };

function firstModel(body: string, at: string): string | undefined {
  try {
    let value: unknown = JSON.parse(body);
    for (const token of at.split("/").slice(1)) {
      value = (value as Record<string, unknown>)[token.replaceAll("~1", "/").replaceAll("~0", "~")];
    }
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
