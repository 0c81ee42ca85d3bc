import assert from "node:assert/strict";
import { test } from "node:test";
import { draw } from "./chart";
import { latencyAxis, numberAxis, type Panel, panelOptions } from "./chart-option";

const rows: [what: string, values: number[], limits: number[], axis: { scale?: string; min?: number; max?: number }][] =
  [
    ["values that lie close begin at 0", [20, 40, 900], [], { min: 0 }],
    ["values that spread wide begin and end near them", [0.034, 3, 18], [], { scale: "log", min: 0.02, max: 20 }],
    ["a value that is a tick is an end", [0.1, 50], [], { scale: "log", min: 0.1, max: 50 }],
    ["0 has no place on a log axis", [0, 0.7, 80], [], { scale: "log", min: 0.5, max: 100 }],
    ["a limit is on it", [0.5, 80], [300], { scale: "log", min: 0.5, max: 500 }],
    ["values of 0 alone have an axis", [0, 0], [], { min: 0 }],
    ["no value has one, too", [], [5], { min: 0 }],
  ];
for (const [what, values, limits, axis] of rows)
  test(`latencies: ${what}`, () => assert.deepEqual(latencyAxis("ms", values, limits), { title: "ms", ...axis }));

test("what a log axis cannot show breaks the line", () => {
  const panel: Panel = {
    x: { title: "x" },
    y: latencyAxis("ms", [0, 0.1, 40]),
    series: [
      {
        name: "ITL",
        points: [
          [0, 0],
          [1, 0.1],
          [2, 40],
        ],
      },
    ],
  };
  const { series } = panelOptions([panel], { scheme: 0 }, { left: 0, right: 0, tops: [0] });
  assert.deepEqual((series[0] as { data: unknown }).data, [
    [0, null],
    [1, 0.1],
    [2, 40],
  ]);
  const { svg } = draw({ name: "log", title: "ITL", alt: "ITL", panels: [panel] });
  assert.doesNotMatch(svg, /NaN|Infinity/);
  const ticks = [...svg.matchAll(/>([\d.]+)<\/text>/g)].map(([, text]) => text);
  assert.ok(ticks.includes("0.1") && ticks.includes("50") && !ticks.includes("0.01"), ticks.join(" "));
});

const wholeAxes: { what: string; points: [number, number | null][]; x: boolean; y: boolean }[] = [
  {
    what: "turns and a latency",
    points: [
      [1, 10.5],
      [2, 30.25],
    ],
    x: true,
    y: false,
  },
  {
    what: "a time and a count",
    points: [
      [0.5, 1],
      [1.25, 2],
    ],
    x: false,
    y: true,
  },
  {
    what: "counts that a gap parts",
    points: [
      [1, 0],
      [2, null],
      [3, 2],
    ],
    x: true,
    y: true,
  },
  { what: "no value", points: [], x: false, y: false },
];
for (const { what, points, x, y } of wholeAxes) {
  test(`ticks stand at whole numbers alone where all values are whole: ${what}`, () => {
    const right: [number, number][] = points.map(([at]) => [at, 0.5]);
    const panel: Panel = {
      ...{ x: { title: "x" }, y: { title: "y" }, right: { title: "right" } },
      series: [
        { name: "a", points },
        { name: "b", points: right, right: true },
      ],
    };
    const { xAxis, yAxis } = panelOptions([panel], { scheme: 0 }, { left: 0, right: 0, tops: [0] });
    const steps = [...xAxis, ...yAxis].map((axis) => (axis as { minInterval?: number }).minInterval);
    assert.deepEqual(steps, [x ? 1 : undefined, y ? 1 : undefined, undefined]);
  });
}

test("a picture of two turns has ticks at 1 and 2 and none between", () => {
  const points: [number, number][] = [
    [1, 41.5],
    [2, 60.5],
  ];
  const panels: Panel[] = [
    { x: { title: "Turn" }, y: { title: "TTFT (ms)", min: 0 }, series: [{ name: "p50", points }] },
  ];
  const { svg } = draw({ name: "turns", title: "TTFT by turn", alt: "TTFT", panels });
  const axisY = Math.max(...places(svg, /^[\d.]+$/).map(({ y }) => y));
  const ticks = places(svg, /^[\d.]+$/).filter(({ y }) => y === axisY);
  assert.deepEqual(ticks.map(({ text }) => text).sort(), ["1", "2"]);
});

/** The texts of a picture with their places, by the words that they have. */
function places(svg: string, words: RegExp): { text: string; x: number; y: number }[] {
  return [...svg.matchAll(/<text[^>]*transform="translate\(([-\d.]+) ([-\d.]+)\)"[^>]*>([^<]*)</g)]
    .map(([, x, y, text = ""]) => ({ text, x: Number(x), y: Number(y) }))
    .filter(({ text }) => words.test(text));
}

test("names of points and marks that would lie on one another move aside or are left out", () => {
  const points = Array.from({ length: 12 }, (_, i): [number, number] => [800 + 4 * i, 100 + 3 * i]);
  const { svg } = draw({
    ...{ name: "knee", title: "Knee", alt: "knee" },
    panels: [
      {
        x: { title: "x", min: 0 },
        y: { title: "y", min: 0 },
        series: [{ name: "p99", points, labels: points.map((_, i) => `c${i + 8}`) }],
        marks: [
          [800, "knee A"],
          [806, "knee B"],
          [300, "knee C"],
        ],
      },
    ],
  });
  const found = places(svg, /^c\d+$/);
  assert.ok(found.length > 1 && found.length < points.length, `${found.length} names`);
  for (const [i, a] of found.entries())
    for (const b of found.slice(i + 1))
      assert.ok(Math.abs(a.x - b.x) > 14 || Math.abs(a.y - b.y) > 10, `${a.text} and ${b.text} are apart`);
  assert.deepEqual(
    places(svg, /^knee/)
      .map(({ text }) => text)
      .sort(),
    ["knee A", "knee C"],
  );
});

test("the name of a point beside an axis stands on none of its numbers", () => {
  // The point at the axis has neighbours above, below and to the right: left of it are the numbers.
  const at = (x: number, y: number): [number, number] => [x, y];
  const around = [at(0, 54), at(0, 46), at(2, 52), at(2, 48), at(2, 50), at(4, 50), at(100, 100)];
  const series = (right: boolean) => ({
    ...{ name: "p99", kind: "scatter" as const, right },
    points: [at(right ? 100 : 0, 50), ...around.map(([x, y]) => at(right ? 100 - x : x, y))],
    labels: ["b16.1", ...around.map(() => "")],
  });
  for (const right of [false, true]) {
    const { svg } = draw({
      ...{ name: "beside", title: "Beside", alt: "beside" },
      panels: [
        {
          ...{ x: { title: "x", min: 0, max: 100 }, y: { title: "y", min: 0, max: 100 } },
          ...(right ? { right: { title: "right", min: 0, max: 100 } } : {}),
          series: [series(right)],
        },
      ],
    });
    const numbers = places(svg, /^\d+$/);
    const [name] = places(svg, /^b16/);
    assert.ok(numbers.length > 8, "there are numbers");
    assert.equal(name, undefined, `right: ${right}: no room for the name but on the numbers`);
  }
  // One with room stands.
  const { svg } = draw({
    ...{ name: "free", title: "Free", alt: "free" },
    panels: [
      {
        ...{ x: { title: "x", min: 0, max: 100 }, y: { title: "y", min: 0, max: 100 } },
        series: [{ name: "p99", kind: "scatter", points: [at(0, 50), at(100, 80)], labels: ["b16.1", ""] }],
      },
    ],
  });
  const [free] = places(svg, /^b16/);
  assert.ok(free && free.x > 88, `at ${free?.x}`);
});

for (const [count, ticks] of [
  [1, [1]],
  [4, [1, 2, 3, 4]],
  [10, [1, 2, 4, 6, 8, 10]],
  [40, [1, 10, 20, 30, 40]],
  [2500, [1, 500, 1000, 1500, 2000, 2500]],
] as const)
  test(`an axis of ${count} numbered things has ticks at things that there are`, () =>
    assert.deepEqual(numberAxis("Request", count), { title: "Request", min: 0, max: count + 1, ticks }));
