/** Stands in for open-wire.ts in the bundles of dist/xk6-sse/: described APIs are read by the module alone. */
import { isDescribed } from "../settings/apis";
import type { Config } from "../settings/config";
import { refuse } from "./client-sse";
import type { Wire } from "./open-wire";

export function openWire({ API: api }: Config): Wire | undefined {
  if (isDescribed(api)) refuse(`tokenclock: API=${api} needs k6/x/tokenclock; with xk6-sse set one that is built in`);
  return undefined;
}
