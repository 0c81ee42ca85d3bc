/**
 * Evidence on a share that may be looked at after every request. A binomial bound for a fixed number of samples errs more
 * often the more often it is looked at; a mixture of likelihood ratios does not (Ville's inequality): H. Robbins,
 * *Statistical Methods Related to the Law of the Iterated Logarithm* (1970); Howard, Ramdas, McAuliffe and Sekhon,
 * *Time-uniform, Nonparametric, Nonasymptotic Confidence Sequences* (2021).
 */
import { incompleteBeta, logGamma } from "./beta";
import { sampleVariance } from "./percentile";

/** Which side of the target the true share is claimed to be on. */
export type Side = "above" | "below";

/**
 * The natural logarithm of the evidence that the true share lies on `side` of `target` (0..1, exclusive), from `met` samples
 * within the limit and `missed` beyond it; neither need be whole. If the share is not on that side, the evidence ever exceeds
 * log(1 / alpha) with a chance of at most alpha, however often it is looked at: for each alternative of that side the likelihood
 * ratio against the target has an expectation of at most 1, and so has their mean (a uniform mixture).
 */
export function logEvidence(side: Side, met: number, missed: number, target: number): number {
  if (!(target > 0 && target < 1)) throw new RangeError(`a target between 0 and 1 is needed, not ${target}`);
  if (!(met >= 0 && missed >= 0)) throw new RangeError(`counts of at least 0 are needed, not ${met}, ${missed}`);
  if (side === "below") return logEvidence("above", missed, met, 1 - target);
  const logBeta = logGamma(met + 1) + logGamma(missed + 1) - logGamma(met + missed + 2);
  // The part of the mixture above the target, by the tail that keeps its digits.
  const tail = incompleteBeta(1 - target, missed + 1, met + 1);
  return logBeta + Math.log(tail) - Math.log1p(-target) - met * Math.log(target) - missed * Math.log1p(-target);
}

/**
 * How many requests in a row carry the weight of one independent request: n times the variance of the mean over the variance
 * of the values. Requests of one queue resemble their neighbours, so that a thousand of them may tell as much as twenty. Taken
 * from means of blocks of 1, 2, 4, ... values (Flyvbjerg and Petersen, *Error Estimates on Averages of Correlated Data*, 1989):
 * the largest over all block lengths that leave at least `fewestBlocks` blocks, and at least 1.
 */
export function designEffect(values: readonly number[], from = 0, fewestBlocks = 10): number {
  let blocks = values.slice(from);
  const variance = sampleVariance(blocks);
  if (!(variance > 0)) return 1;
  let effect = 1;
  for (let size = 1; blocks.length >= fewestBlocks; size *= 2) {
    effect = Math.max(effect, (size * sampleVariance(blocks)) / variance);
    const pairs: number[] = [];
    for (let i = 0; i + 1 < blocks.length; i += 2) pairs.push(((blocks[i] ?? 0) + (blocks[i + 1] ?? 0)) / 2);
    blocks = pairs;
  }
  return effect;
}
