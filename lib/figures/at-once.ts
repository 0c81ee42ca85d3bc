/** Levels that load the server at the same time, as the classes of a mix do. Pure. */
import type { LevelSummary } from "./level-summary";

type Windowed = Pick<LevelSummary, "windowStartS" | "durationS">;

/** The levels of which another one has a part of its steady window: what the whole server says or costs then is none's own. */
export function atOnce<L extends Windowed>(levels: readonly L[]): readonly L[] {
  return levels.filter((level) => levels.some((other) => other !== level && overlap(other, level)));
}

function overlap(a: Windowed, b: Windowed): boolean {
  const [first, second] = a.windowStartS <= b.windowStartS ? [a, b] : [b, a];
  return second.windowStartS < first.windowStartS + first.durationS - 1e-6;
}
