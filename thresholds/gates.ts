import { gateOf, type LevelGate } from "../lib/figures/level-gate";
import { betweenTokens, countsItsSamples, isLevelGauge, type MetricName } from "../lib/figures/metrics-table";
import type { Gates, Profile, ProfileName } from "../lib/figures/profile";
import { parseThreshold } from "../lib/figures/threshold";
import { batch } from "./batch";
import { interactive } from "./interactive";
import { smoke } from "./smoke";

/** The profiles that ship, by the name THRESHOLDS knows them under. */
const profiles: Readonly<Record<ProfileName, Profile | undefined>> = { smoke, interactive, batch, none: undefined };

/** k6's thresholds option. */
export type Thresholds = Record<string, string[]>;

/** What the gates of a run follow from. */
export interface GateConfig {
  /** The profile's name, or the user's own; "none" leaves only the gates of the SLOs. */
  readonly profile: ProfileName | Profile;
  readonly SLO_TTFT?: number;
  readonly SLO_TPOT?: number;
  readonly SLO_E2E?: number;
  readonly SLO_PERCENTILE: number;
  /** A smoke run: only failures are judged. */
  readonly SMOKE?: boolean;
}

/** A level as far as its gates need it. */
export interface Gated {
  readonly name: string;
  /** A batch cannot have more requests than its size. */
  readonly batchSize?: number;
  /** They may hold limits of the level's own (lib/figures/level-gate.ts). */
  readonly labels?: Readonly<Record<string, string | number>>;
  /** 1: no figure between tokens exists here, so that its limits are those of the other levels. */
  readonly outputTokens?: number;
}

/** The whole of the profile that THRESHOLDS names; undefined of "none". */
export function profileOf({ profile }: Pick<GateConfig, "profile">): Profile | undefined {
  return typeof profile === "string" ? profiles[profile] : profile;
}

/** The thresholds of a run with the profile that they follow from. */
export function gates(config: GateConfig, levels: readonly Gated[]): Gates {
  return { thresholds: thresholds(config, levels), profile: profileOf(config) };
}

/**
 * The thresholds of a run: each of the profile's limits and each SLO, for each level's steady requests. To k6 a Trend, a
 * Gauge or a Rate without samples is 0 or nothing, and keeps every limit from above; it cannot count a Trend's samples
 * either. So each limit travels with one on llm_samples, which counts what that very metric was measured on.
 * @throws Error for a limit whose aggregate the metric does not have.
 */
export function thresholds(config: GateConfig, levels: readonly Gated[]): Thresholds {
  const profile = profileOf(config);
  const run: LevelGate = { sloMs: { ttft: config.SLO_TTFT, tpot: config.SLO_TPOT, e2e: config.SLO_E2E }, limits: {} };
  const ofLevels = levels.map(({ labels }) => limitsOf(config, profile, gateOf(labels) ?? run));
  const gated = profile !== undefined || ofLevels.some((limits) => Object.keys(limits).length > 0);
  if (!gated) return {};
  const minRequests = profile?.minRequests ?? 1;

  // An arrival that found no VU was not sent, and so is not among the latencies.
  const thresholds: Thresholds = {
    // How well a client measured matters to who judges a measurement: a smoke run has none.
    ...(!config.SMOKE && { llm_client_bound: ["value<1"], llm_cache_bound: ["value<1"] }),
    dropped_iterations: ["count<1"],
  };
  const longOutputs = levels.some(({ outputTokens }) => outputTokens !== 1);
  for (const [k, { name: level, batchSize = minRequests, outputTokens }] of levels.entries()) {
    const least = Math.min(minRequests, batchSize);
    const own = ofLevels[k] ?? {};
    const mayFail = `rate<=${profile?.maxFailureShare ?? 0}`;
    const limits = { ...own, llm_request_failed: [...(own.llm_request_failed ?? []), mayFail] };
    thresholds[`llm_requests{level:${level},phase:steady}`] = [`count>=${least}`];
    for (const [name, expressions] of Object.entries(limits) as [MetricName, string[]][]) {
      // Where no level has the figure its limit stays, and fails for want of samples.
      if (outputTokens === 1 && longOutputs && betweenTokens(name)) continue;
      const tags = isLevelGauge(name) ? `level:${level}` : `level:${level},phase:steady`;
      const key = `${name}{${tags}}`;
      thresholds[key] = [...(thresholds[key] ?? []), ...expressions];
      if (countsItsSamples(name)) thresholds[`llm_samples{level:${level},metric:${name}}`] = [`value>=${least}`];
    }
  }
  return thresholds;
}

/**
 * The thresholds of a search for capacity: its result, and no level's latency, for a search loads the server beyond what it
 * carries. Only a profile's limits of llm_capacity apply.
 */
export function capacityGates(config: GateConfig): Gates {
  const profile = profileOf(config);
  const limits = profile?.limits.llm_capacity ?? [];
  for (const expression of limits) parseThreshold("llm_capacity", expression);
  // A search that showed no capacity leaves 0.
  const thresholds = {
    llm_client_bound: ["value<1"],
    llm_cache_bound: ["value<1"],
    llm_capacity: ["value>0", ...limits],
  };
  return { thresholds, profile };
}

/** The limits of one level: its SLOs, the profile's, and those of its own. @throws Error for a limit that makes no sense. */
function limitsOf(
  { SLO_PERCENTILE }: GateConfig,
  profile: Profile | undefined,
  { sloMs, limits: own }: LevelGate,
): Partial<Record<MetricName, string[]>> {
  const limits: Partial<Record<MetricName, string[]>> = {};
  const limit = (name: MetricName, expressions: readonly string[]) => {
    for (const expression of expressions) parseThreshold(name, expression);
    limits[name] = [...(limits[name] ?? []), ...expressions];
  };
  const percentile = `p(${SLO_PERCENTILE})`;
  const slo = (name: MetricName, ms: number | undefined) => {
    // The SLO of a class may say its percentile itself.
    const isOwn = own[name]?.some((each) => /^p\([\d.]+\)<=?(.+)$/.exec(each)?.[1] === String(ms));
    if (ms !== undefined && !isOwn) limit(name, [`${percentile}<${ms}`]);
  };
  slo("llm_ttft", sloMs.ttft);
  slo("llm_tpot", sloMs.tpot);
  slo("llm_e2e_latency", sloMs.e2e);
  for (const [name, expressions] of Object.entries({ ...profile?.limits })) limit(name as MetricName, expressions);
  for (const [name, expressions] of Object.entries(own)) limit(name as MetricName, expressions);
  return limits;
}
