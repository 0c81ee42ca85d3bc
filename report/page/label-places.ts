/** Where the texts at points of a chart stand: none lies on another, on a point, or where that can be helped on a line. Pure. */

/** A place in a picture, px. */
export type Place = readonly [x: number, y: number];

/** Where a text stands beside its point. */
export type Side = "top" | "right" | "left" | "bottom";

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** What of a panel takes room, px. */
export interface Drawn {
  /** Where texts may stand. */
  readonly area: Box;
  /** A text a labelled point; the earlier ones choose first. */
  readonly labels: readonly { readonly at: Place; readonly width: number }[];
  /** Every point that is marked by a symbol. */
  readonly points: readonly Place[];
  /** The lines between points, and marks. */
  readonly lines: readonly (readonly [Place, Place])[];
  /** Texts that stand already. */
  readonly texts: readonly Box[];
}

/** Height of a text, and its distance from the point. */
const [textHeight, gap] = [12, 6];
/** Half of the size of a symbol. */
const symbol = 4;

const sides: readonly Side[] = ["top", "right", "left", "bottom"];

function boxAt([x, y]: Place, width: number, side: Side): Box {
  const [left, top] = {
    top: [x - width / 2, y - gap - textHeight],
    bottom: [x - width / 2, y + gap],
    right: [x + gap, y - textHeight / 2],
    left: [x - gap - width, y - textHeight / 2],
  }[side] as [number, number];
  return { left, top, right: left + width, bottom: top + textHeight };
}

const overlap = (a: Box, b: Box): boolean =>
  a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** Whether a line passes through a box: Liang and Barsky's clipping leaves something of it. */
function crosses([[fromX, fromY], [toX, toY]]: readonly [Place, Place], box: Box): boolean {
  let [from, to] = [0, 1];
  for (const [step, room] of [
    [fromX - toX, fromX - box.left],
    [toX - fromX, box.right - fromX],
    [fromY - toY, fromY - box.top],
    [toY - fromY, box.bottom - fromY],
  ] as const) {
    if (step === 0) {
      if (room < 0) return false;
    } else if (step < 0) from = Math.max(from, room / step);
    else to = Math.min(to, room / step);
  }
  return from < to;
}

/** The side of each label; undefined where it has no room. */
export function labelSides({ area, labels, points, lines, texts }: Drawn): (Side | undefined)[] {
  const taken = [...texts, ...points.map(([x, y]) => boxAround(x, y))];
  return labels.map(({ at, width }) => {
    const free = sides
      .map((side) => ({ side, box: boxAt(at, width, side) }))
      .filter(
        ({ box }) =>
          box.left >= area.left &&
          box.right <= area.right &&
          box.top >= area.top &&
          box.bottom <= area.bottom &&
          !taken.some((other) => overlap(box, other)),
      )
      .map((each) => ({ ...each, crossed: lines.filter((line) => crosses(line, each.box)).length }));
    const [first, ...others] = free;
    if (!first) return undefined;
    const best = others.reduce((a, b) => (b.crossed < a.crossed ? b : a), first);
    taken.push(best.box);
    return best.side;
  });
}

const boxAround = (x: number, y: number): Box => ({
  ...{ left: x - symbol, right: x + symbol, top: y - symbol, bottom: y + symbol },
});

/** Which texts in a row have room, each in the middle of its place: the first, and each that does not touch the one kept before. */
export function roomInRow(texts: readonly { readonly x: number; readonly width: number }[]): boolean[] {
  const order = texts.map((text, i) => ({ ...text, i })).sort((a, b) => a.x - b.x);
  const kept = texts.map(() => false);
  let until = Number.NEGATIVE_INFINITY;
  for (const { x, width, i } of order) {
    if (width === 0 || x - width / 2 < until + gap) continue;
    kept[i] = true;
    until = x + width / 2;
  }
  return kept;
}
