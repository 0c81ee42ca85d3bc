import { brokenRules, defaultConcurrencies, pointDurationMs } from "../figures/curve";
import { curve as curveFigures } from "../lazy";
import { type Config, demand } from "../settings/config";
import { type Level, levelsOf } from "./levels";
import type { Shape } from "./shape";

/** The points of MLPerf Endpoints' curve: levels of constant concurrency, each for as long as CURVE_PROFILE says. */
export const curve: Shape = /* @__PURE__ */ levelsOf(["curve", "prompts", "generation"], pointsOf, {
  // One request a level makes no curve.
  shows: ({ levels }, { SMOKE: smoke }) => (smoke ? {} : { text: curveFigures().curveText(levels) }),
});

function pointsOf(config: Config): Level[] {
  const { CONCURRENCY: given, CURVE_PROFILE: profile, CURVE_MIN: min, CURVE_MAX: max } = config;
  const own = given.length > 0;
  const points = own ? given : defaultConcurrencies(min, max);
  const broken = brokenRules(points);
  const setting = own ? `CONCURRENCY=${given.join(",")}` : `CURVE_MIN=${min}, CURVE_MAX=${max}`;
  const remedy = own ? "list other points, or leave CURVE_PROFILE=full out" : "set a higher CURVE_MAX";
  // A full run takes hours: what breaks the rules is reported before it. A short one reports it.
  demand(broken.length === 0 || (own && profile === "short"), `${setting}: ${broken.join("; ")}: ${remedy}`);
  const lowest = Math.min(...points);
  return points.map((concurrency) => ({
    name: `c${concurrency}`,
    concurrency,
    ...(!config.SMOKE && { durationMs: config.DURATION ?? pointDurationMs(concurrency, lowest, profile) }),
  }));
}
