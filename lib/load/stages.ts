/** The stages of an open load, from the settings. Pure. */
import type { Config } from "../settings/parse-config";
import { SettingError } from "../settings/setting-error";
import type { StageSpec } from "../wire/client";

/** The stages of RATE (each DURATION long) or STAGES, with a warm-up stage before them where WARMUP is a duration. */
export function stagesOf(config: Config): StageSpec[] {
  const stages: StageSpec[] = [];
  if (config.STAGES.length === 0) {
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
    // It counts to the level that it precedes, so it has that level's name.
    const rate = first.fromRate || first.toRate;
    stages.unshift({ name: first.name, fromRate: rate, toRate: rate, durationMs: warmup.durationMs, phase: "warmup" });
  }
  return stages;
}
