/**
 * What makes two runs the same work: what was to be sent (lengths, order, arrivals, contents of files), and nothing of where it
 * was sent, how it was judged, or which words stood for which length. Pure.
 */
import type { SettingName } from "../settings/settings";

/** Settings that say nothing of what was to be sent: address, judgement, results, limits of time, and the client's own ways. */
const noWork: ReadonlySet<string> = new Set<SettingName | "profile">([
  ...(["BASE_URL", "MODEL", "API_KEY", "HEADERS", "SIMULATE"] as const),
  ...(["RESULTS", "DESCRIPTION", "THRESHOLDS", "SPEED_THRESHOLD"] as const),
  ...(["SLO_TTFT", "SLO_TPOT", "SLO_E2E", "SLO_PERCENTILE"] as const),
  ...(["METRICS_URL", "METRICS", "METRICS_INTERVAL", "POWER_METRIC", "STAMPS", "LIVE", "RUNNERS"] as const),
  ...(["KEY_ORIGINS", "CLIENTS_PER_VU"] as const),
  ...(["COORDINATOR", "COORDINATOR_TOKEN", "COORDINATOR_TOKEN_FILE"] as const),
  ...(["TIMEOUT", "MAX_DURATION", "MAX_STOLEN", "BETWEEN_TIMEOUT"] as const),
  // The words of synthetic texts; and the profile, which config.json holds whole.
  ...(["SALT", "profile"] as const),
  // What it stands for is in the settings that it gives.
  ...(["PRESET", "SLICES", "DRIFT_LIMIT", "CLIENT_MEMORY_LIMIT"] as const),
]);

/** Families of such settings: how the run is let in, and what tokens cost. */
const noWorkNames = /^(API_KEY|OAUTH|AWS|TLS|PRICE)_|^TRACEPARENT$/;

/** Settings that name a file: its content counts, not its path. */
const files = ["DATASET", "TRACE", "TARGETS", "RATE_FILE", "WIRE", "MIX"];

/** The sets that ship: their names stand for their contents. */
const shipped = ["prompts", "chats", "token-ids"];

/** What a run says of its work. */
export interface WorkloadSource {
  readonly scenario: string;
  /** The settings as the run echoed them. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Digests of the files' contents by the setting that names them. */
  readonly digests?: Readonly<Record<string, string>>;
}

/** What a file's content is taken for where the run has no digest of it; no two such are the same. */
export const unknownContent = "content unknown";

/**
 * The identity of a run's work: what counts, by name. SEED counts only where something but words is drawn by it: a random
 * length, random arrivals, an order. Two runs did the same work when their identities have the same digest.
 */
export function workloadIdentity({ scenario, config, digests = {} }: WorkloadSource): Record<string, unknown> {
  const identity: Record<string, unknown> = { scenario };
  for (const name of Object.keys(config).sort()) {
    if (noWork.has(name) || noWorkNames.test(name) || (name === "SEED" && !isDrawn(config))) continue;
    const value = config[name];
    if (!files.includes(name) || value === "" || value === undefined || value === null) identity[name] = value;
    else if (digests[name]) identity[name] = `digest ${digests[name]}`;
    else identity[name] = shipped.includes(String(value)) ? value : unknownContent;
  }
  // Files of a class, which the settings of the run do not name.
  for (const [name, digest] of Object.entries(digests)) if (name.includes(".")) identity[name] = `digest ${digest}`;
  return identity;
}

/** Whether SEED decides more than which words are sent. */
function isDrawn(config: Readonly<Record<string, unknown>>): boolean {
  const drawn = (name: string, fixed: RegExp) => config[name] !== undefined && !fixed.test(String(config[name]));
  return (
    drawn("INPUT_TOKENS", /^\d+$/) ||
    drawn("OUTPUT_TOKENS", /^\d+$/) ||
    drawn("ARRIVAL", /^constant$/) ||
    String(config.LENGTHS ?? "").includes("mixed")
  );
}

/** The digest of an identity: 16 hexadecimal digits of FNV-1a over its JSON, whatever the order of its names. */
export function workloadDigest(identity: Readonly<Record<string, unknown>>): string {
  const text = JSON.stringify(Object.entries(identity).sort(([a], [b]) => (a < b ? -1 : 1)));
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    for (const byte of [unit & 0xff, unit >> 8]) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  }
  return hash.toString(16).padStart(16, "0");
}
