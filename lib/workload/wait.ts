/** Waits between the turns of a session. Pure. */
import { formatDurationMs, parseDurationMs } from "../settings/duration";
import { type Distribution, formatDistribution, parseDistribution } from "./distribution";

/** As the file has it, always the same, or drawn in ms. */
export type Wait =
  | { readonly kind: "recorded" }
  | { readonly kind: "fixed"; readonly ms: number }
  | { readonly kind: "drawn"; readonly of: Distribution };

/** The wait that a text writes down; undefined where it writes none. */
export function parseWait(text: string): Wait | undefined {
  if (text === "recorded") return { kind: "recorded" };
  const ms = text === "0" ? 0 : parseDurationMs(text);
  if (ms !== undefined) return { kind: "fixed", ms };
  const of = text.includes(":") ? parseDistribution(text) : undefined;
  return of && { kind: "drawn", of };
}

/** The text that parses to this wait. */
export function formatWait(wait: Wait): string {
  if (wait.kind === "recorded") return "recorded";
  return wait.kind === "fixed" ? formatDurationMs(wait.ms) : formatDistribution(wait.of);
}

/** Users who leave before their answer is there: at a share of the turns, after a time or a number of tokens. */
export interface Abandon {
  readonly share: number;
  readonly afterMs?: number;
  readonly afterTokens?: number;
}

/** The abandonment that "0.1:2s" or "0.1:20tokens" writes down. */
export function parseAbandon(text: string): Abandon | undefined {
  const [, share = "", after = ""] = /^(0?\.\d+|[01](?:\.0+)?):(\S+)$/.exec(text) ?? [];
  const of = Number(share);
  if (share === "" || !(of > 0 && of <= 1)) return undefined;
  const tokens = /^([1-9]\d{0,6})tokens?$/.exec(after)?.[1];
  if (tokens !== undefined) return { share: of, afterTokens: Number(tokens) };
  const ms = parseDurationMs(after);
  return ms ? { share: of, afterMs: ms } : undefined;
}

/** The text that parses to this abandonment. */
export function formatAbandon({ share, afterMs, afterTokens }: Abandon): string {
  return `${share}:${afterTokens === undefined ? formatDurationMs(afterMs ?? 0) : `${afterTokens}tokens`}`;
}
