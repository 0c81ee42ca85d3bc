/** Which of many are drawn, where all of them would hide each other. Pure. */

/** The places of at most `most` (2 or more) of `count` in equal steps, ascending: the first and the last are among them. */
export function evenly(count: number, most: number): number[] {
  if (count <= most) return Array.from({ length: count }, (_, i) => i);
  const step = (count - 1) / (most - 1);
  return Array.from({ length: most }, (_, i) => Math.round(i * step));
}

/** What a picture's title says of it: ", 2,000 of 30,000 requests drawn"; nothing where all are. */
export function drawnWords(drawn: number, all: number): string {
  if (drawn === all) return "";
  return `, ${drawn.toLocaleString("en-US")} of ${all.toLocaleString("en-US")} requests drawn`;
}
