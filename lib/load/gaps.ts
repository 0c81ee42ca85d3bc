/** Times between the arrivals of an open load that is planned request by request. Pure. */
import type { Settings } from "../settings/settings";
import type { Rng } from "../workload/rng";

/** Draws gaps in ms of a mean of 1000 / `rate`: all equal, exponential (Poisson arrivals), or gamma with that coefficient of variation. */
export function gapsOf(arrival: Settings["ARRIVAL"], rate: number, rng: Rng): () => number {
  const meanMs = 1000 / rate;
  if (arrival.kind === "constant") return () => meanMs;
  if (arrival.kind === "poisson") return () => -Math.log(1 - rng()) * meanMs;
  const shape = 1 / arrival.cv ** 2;
  return () => (gamma(shape, rng) / shape) * meanMs;
}

/** A gamma value of that shape and scale 1 (Marsaglia and Tsang, *A Simple Method for Generating Gamma Variables*, 2000). */
function gamma(shape: number, rng: Rng): number {
  if (shape < 1) return gamma(shape + 1, rng) * (1 - rng()) ** (1 / shape);
  const d = shape - 1 / 3;
  for (;;) {
    const x = Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());
    const v = (1 + x / Math.sqrt(9 * d)) ** 3;
    if (v > 0 && Math.log(1 - rng()) < x * x * 0.5 + d - d * v + d * Math.log(v)) return d * v;
  }
}
