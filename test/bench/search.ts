/** The largest load that a client carries, found by trying. Pure: what a trial is is the caller's. */

/** A trial of a load: whether the client was sound under it. */
export type Try = (load: number) => Promise<boolean>;

/**
 * The largest load for which `isValid` holds: doubled from `from` until it fails (halved, where the first one fails), then the
 * interval between is halved until its ends are within `precision` of each other. A load counts once it was valid in one of
 * `attempts`: other work on the machine makes a trial fail, never pass. 0 where not even `least` is.
 */
export async function largestValid(
  isValid: Try,
  {
    from,
    least,
    most,
    precision,
    attempts,
  }: { from: number; least: number; most: number; precision: number; attempts: number },
): Promise<number> {
  const holds = async (load: number) => {
    for (let k = 0; k < attempts; k++) if (await isValid(load)) return true;
    return false;
  };
  let valid = 0;
  let failed = Number.POSITIVE_INFINITY;
  let load = from;
  while (valid === 0 || failed === Number.POSITIVE_INFINITY) {
    if (await holds(load)) valid = load;
    else failed = load;
    if (valid >= most) return valid;
    if (failed <= least) return 0;
    load = valid > 0 ? Math.min(most, valid * 2) : Math.max(least, failed / 2);
  }
  while (failed / valid > 1 + precision) {
    const middle = (valid + failed) / 2;
    if (await holds(middle)) valid = middle;
    else failed = middle;
  }
  return valid;
}
