/** The stages of an open load, from the settings. Pure. */
import type { Config } from "../settings/parse-config";
import { SettingError } from "../settings/setting-error";
import { patternPoints, type RatePoint, ratePoints } from "./rate-over-time";

/** A stage of arrivals, as the module takes it (StageSpec). */
export interface Stage {
  name: string;
  /** Requests/s at its begin and its end. */
  fromRate: number;
  toRate: number;
  durationMs: number;
  /** The rate in between, where it is no straight line. */
  points?: readonly RatePoint[];
  phase?: "warmup";
}

/**
 * The stages of RATE (each DURATION long), STAGES, PATTERN or RATE_FILE, whose text `read` gives, with a warm-up stage before them
 * where WARMUP is a duration. `read` is undefined but in the first VU, whose schedule is the one that the module reads.
 */
export function stagesOf(config: Config, read: ((file: string) => string) | undefined): Stage[] {
  const stages: Stage[] = [];
  const stageOfPoints = (name: string, points: RatePoint[]): Stage => {
    const [, fromRate] = points[0] ?? [0, 0];
    const [durationMs, toRate] = points.at(-1) ?? [0, 0];
    return { name, fromRate, toRate, durationMs, points };
  };
  if (config.RATE_FILE !== "") stages.push(stageOfPoints("rates", read ? pointsOf(config.RATE_FILE, read) : []));
  else if (config.PATTERN) {
    const { PATTERN: pattern, DURATION: durationMs } = config;
    if (durationMs === undefined)
      throw new SettingError("PATTERN repeats itself as long as DURATION says: set DURATION");
    stages.push(stageOfPoints(pattern.kind, patternPoints(pattern, durationMs)));
  } else if (config.STAGES.length === 0) {
    const durationMs = config.DURATION;
    if (durationMs === undefined) throw new SettingError("an open load is bounded by time: set DURATION (or STAGES)");
    for (const rate of config.RATE) stages.push({ name: `r${rate}`, fromRate: rate, toRate: rate, durationMs });
  } else {
    let rate = 0;
    for (const { durationMs, target } of config.STAGES) {
      // As in k6, a step of no length is a jump.
      if (durationMs > 0) stages.push({ name: `s${stages.length + 1}`, fromRate: rate, toRate: target, durationMs });
      rate = target;
    }
  }
  const { WARMUP: warmup } = config;
  if ("requests" in warmup && warmup.requests > 0) {
    throw new SettingError(`WARMUP=${warmup.requests} counts requests; the warm-up of an open load is a duration`);
  }
  const first = stages[0];
  if (first && "durationMs" in warmup && warmup.durationMs > 0) {
    // It counts to the level that it precedes, so it has that level's name. A load that begins at 0 is warmed up gently: at the
    // rate that it goes to, the warm-up would be a burst that no ramp leads to.
    const rates = (first.points ?? []).map(([, rate]) => rate);
    const highest = rates.reduce((most, rate) => Math.max(most, rate), first.toRate);
    const rate = first.fromRate || highest / 10;
    stages.unshift({ name: first.name, fromRate: rate, toRate: rate, durationMs: warmup.durationMs, phase: "warmup" });
  }
  return stages;
}

function pointsOf(name: string, read: (file: string) => string): RatePoint[] {
  let text: string;
  try {
    text = read(name);
  } catch (error) {
    // Go's errors come with the name of what threw them.
    const reason = (error instanceof Error ? error.message : String(error)).replace(/^(GoError: )?new TextFile: /, "");
    throw new SettingError(`RATE_FILE=${name} cannot be read: ${reason}`);
  }
  return ratePoints(name, text);
}
