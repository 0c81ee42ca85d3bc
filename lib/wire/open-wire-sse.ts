/** Stands in for open-wire.ts in the bundles of dist/xk6-sse/: described APIs are read by the module alone. */
import type { Config } from "../settings/config";
import { refuse } from "./client-sse";
import type { Wire } from "./wire";

export type { Wire };

export function openWire({ API: api }: Config): Wire {
  return refuse(`tokenclock: API=${api} needs k6/x/tokenclock; with xk6-sse set one that is built in`);
}
