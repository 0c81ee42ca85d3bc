/** Which model the requests name: MODEL, or what the server lists first. Asked once, before the load. Pure: llm-client.ts hands in how to ask. */

import { joined } from "../settings/address";
import type { Settings } from "../settings/settings";
import type { Wire } from "./wire";

/** The answer to a GET; status 0: there is none. */
interface Reply {
  readonly status: number;
  readonly body: string;
  readonly error: string;
}

/** OpenAI's list of models. */
const openAiModels = { path: "/models", at: "/data/0/id" };

/**
 * The model's name, "" where requests name none. `shown` is BASE_URL as it may be shown. A server that cannot be reached, and a
 * name that is needed and not found, end in `giveUp`.
 */
export function findModel(
  config: Pick<Settings, "BASE_URL" | "API" | "MODEL">,
  wire: Pick<Wire, "description" | "namesModel"> | undefined,
  shown: string,
  get: (url: string) => Reply,
  giveUp: (line: string) => never,
): string {
  const models = wire?.description.request.models ?? (wire ? undefined : openAiModels);
  const reply = get(joined(config.BASE_URL, models?.path ?? "/"));
  // The key is fetched first: without one nothing was sent.
  if (reply.status === 0 && /^no key: /.test(reply.error)) giveUp(reply.error);
  if (reply.status === 0) giveUp(`BASE_URL=${shown} cannot be reached: ${reply.error}; ${adviceOn(reply.error)}`);
  if (config.MODEL !== "" || config.API === "json" || (wire && !wire.namesModel)) return config.MODEL;
  if (!models) return giveUp(`API=${config.API} names the model and has no list of models; set MODEL`);
  const model = reply.status === 200 ? textAt(reply.body, models.at) : undefined;
  if (model !== undefined) return model;
  const list = `${joined(shown, models.path)} lists no model (HTTP ${reply.status})`;
  if (reply.status === 401 || reply.status === 403)
    return giveUp(`${list}: the key is missing or refused; set API_KEY in the environment`);
  const path =
    !wire && reply.status === 404 && !/\/v\d+\/?$/.test(config.BASE_URL) ? ", which ends in /v1 as a rule," : "";
  return giveUp(`${list}; set MODEL, or check BASE_URL${path} and API_KEY`);
}

/** What to do about a connection's error. */
function adviceOn(error: string): string {
  if (/first record does not look like a TLS handshake/.test(error)) return "the server speaks http://, not https://";
  if (/deadline exceeded/.test(error)) return "no answer came in time: check host and port, and http:// or https://";
  if (/x509/.test(error)) return "TLS_CA names a file with the authority of its certificate";
  return "check host and port, and that the server is running";
}

function textAt(body: string, pointer: string): string | undefined {
  try {
    let value: unknown = JSON.parse(body);
    for (const token of pointer.split("/").slice(1)) {
      value = (value as Record<string, unknown>)[token.replaceAll("~1", "/").replaceAll("~0", "~")];
    }
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
