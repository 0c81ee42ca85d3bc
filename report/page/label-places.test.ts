import assert from "node:assert/strict";
import { test } from "node:test";
import { type Drawn, labelSides, type Place, roomInRow } from "./label-places";

const drawn = (points: Place[], more: Partial<Drawn> = {}): Drawn => ({
  area: { left: 0, top: 0, right: 400, bottom: 200 },
  labels: points.map((at) => ({ at, width: 20 })),
  ...{ points, lines: [], texts: [] },
  ...more,
});

const rows: [what: string, of: Drawn, sides: (string | undefined)[]][] = [
  ["a lone text stands above its point", drawn([[100, 100]]), ["top"]],
  [
    "a point right above takes that room",
    drawn([
      [100, 100],
      [100, 88],
    ]),
    ["right", "top"],
  ],
  [
    "the second of two that stand close moves aside",
    drawn([
      [100, 100],
      [112, 100],
    ]),
    ["top", "right"],
  ],
  [
    "a line through the room above is avoided",
    drawn([[100, 100]], {
      lines: [
        [
          [90, 90],
          [110, 88],
        ],
      ],
    }),
    ["right"],
  ],
  [
    "a line that only ends below the text does not matter",
    drawn([[100, 100]], {
      lines: [
        [
          [100, 100],
          [200, 180],
        ],
      ],
    }),
    ["top"],
  ],
  ["at the top of the plot there is no room above", drawn([[100, 6]]), ["right"]],
  ["at its right end there is none beside", drawn([[395, 6]]), ["left"]],
  [
    "a text that stands already is not covered",
    drawn([[100, 100]], { texts: [{ left: 80, right: 200, top: 80, bottom: 104 }] }),
    ["bottom"],
  ],
  [
    "without any room it is left out",
    drawn([[100, 100]], { area: { left: 95, top: 95, right: 105, bottom: 105 } }),
    [undefined],
  ],
];
for (const [what, of, sides] of rows) test(what, () => assert.deepEqual(labelSides(of), sides));

test("of many points in a heap no text lies on another or on a point", () => {
  const points = Array.from({ length: 40 }, (_, i): Place => [150 + 7 * (i % 8) + i, 80 + 11 * Math.floor(i / 8)]);
  const found = labelSides(drawn(points));
  const boxes = found.flatMap((side, i) => {
    const [x, y] = points[i] as Place;
    const [left, top] =
      side === "top"
        ? [x - 10, y - 18]
        : side === "bottom"
          ? [x - 10, y + 6]
          : side === "right"
            ? [x + 6, y - 6]
            : [x - 26, y - 6];
    return side ? [{ left, top, right: left + 20, bottom: top + 12 }] : [];
  });
  assert.ok(boxes.length > 3 && boxes.length < 40, `${boxes.length} texts`);
  for (const [i, a] of boxes.entries()) {
    for (const b of boxes.slice(i + 1))
      assert.ok(a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top, "texts apart");
    for (const [x, y] of points) assert.ok(x < a.left || x > a.right || y < a.top || y > a.bottom, "points free");
  }
});

test("in a row a text that would touch the one before is left out, in whatever order they come", () => {
  const texts = [
    { x: 300, width: 40 },
    { x: 100, width: 40 },
    { x: 130, width: 40 },
    { x: 160, width: 40 },
    { x: 310, width: 0 },
  ];
  assert.deepEqual(roomInRow(texts), [true, true, false, true, false]);
});
