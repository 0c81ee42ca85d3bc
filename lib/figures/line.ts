/** A straight line through points. Pure. */

export interface Line {
  slope: number;
  intercept: number;
  /** Share of y's variance that the line explains, 0..1. */
  r2: number;
  /** Points fitted. */
  count: number;
}

/** The least-squares line through points; undefined for fewer than two different x. */
export function fitLine(points: readonly (readonly [number, number])[]): Line | undefined {
  const { length: count } = points;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / count;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / count;
  let sxx = 0;
  let sxy = 0;
  let syy = 0;
  for (const [x, y] of points) {
    sxx += (x - meanX) ** 2;
    sxy += (x - meanX) * (y - meanY);
    syy += (y - meanY) ** 2;
  }
  if (!(sxx > 0)) return undefined;
  const slope = sxy / sxx;
  const r2 = syy === 0 ? 1 : (sxy * sxy) / (sxx * syy);
  return { slope, intercept: meanY - slope * meanX, r2, count };
}
