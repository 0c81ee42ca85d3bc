import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pattern } from "../settings/settings";
import { patternPoints, type RatePoint, ratePoints } from "./rate-over-time";

/** The rate at a time; of a jump the rate behind it. */
function rateAt(points: readonly RatePoint[], ms: number): number {
  const next = points.findIndex(([atMs]) => atMs > ms);
  const [to, from] = [points[next], points[next - 1]];
  if (!to || !from) return Number.NaN;
  return from[1] + ((to[1] - from[1]) * (ms - from[0])) / (to[0] - from[0]);
}

/** The arrivals of the whole. */
const areaOf = (points: readonly RatePoint[]) =>
  points.reduce((sum, [atMs, rate], k) => {
    const [beforeMs, before] = points[k - 1] ?? [atMs, rate];
    return sum + ((atMs - beforeMs) / 1000) * ((rate + before) / 2);
  }, 0);

test("a sine is what the formula says, to 0.03 % of its amplitude, also where DURATION cuts a period", () => {
  const sine: Pattern = { kind: "sine", low: 5, high: 45, periodMs: 60_000 };
  const points = patternPoints(sine, 150_000);
  assert.deepEqual([points[0], points.at(-1)?.[0]], [[0, 25], 150_000]);
  for (let ms = 0; ms < 150_000; ms += 333) {
    const truth = 25 + 20 * Math.sin((2 * Math.PI * ms) / 60_000);
    assert.ok(Math.abs(rateAt(points, ms) - truth) < 20 * 3.1e-4, `${ms} ms: ${rateAt(points, ms)} for ${truth}`);
  }
  assert.ok(Math.abs(areaOf(points) - (25 * 150 + (20 * 60) / Math.PI)) < 0.5, "2.5 periods have half a wave too many");
});

test("spikes end each period; one that DURATION cuts is cut", () => {
  const spikes: Pattern = { kind: "spikes", low: 5, high: 50, periodMs: 10_000, lengthMs: 2000 };
  const points = patternPoints(spikes, 29_000);
  for (const [ms, rate] of [
    [0, 5],
    [7999, 5],
    [8000, 50],
    [9999, 50],
    [10_000, 5],
    [18_500, 50],
    [28_999, 50],
  ] as const)
    assert.equal(rateAt(points, ms), rate, `${ms} ms`);
  assert.equal(points.at(-1)?.[0], 29_000);
  assert.equal(areaOf(points), 24 * 5 + 5 * 50);
  assert.equal(patternPoints(spikes, 5000).at(-1)?.[0], 5000);
});

test("a pattern of too many periods is refused", () => {
  assert.throws(
    () => patternPoints({ kind: "sine", low: 1, high: 2, periodMs: 1 }, 3_600_000),
    /PATTERN has 3600000 periods/,
  );
});

test("a file of rates: columns in either order, CRLF, a byte order mark, times since 1970, jumps", () => {
  const wanted = [
    [0, 5],
    [30_000, 10],
    [30_000, 50],
    [60_500, 0.5],
  ];
  assert.deepEqual(ratePoints("f", "time,rate\n0,5\n30,10\n30,50\n60.5,.5\n"), wanted);
  assert.deepEqual(
    ratePoints("f", "\uFEFFRate, Time\r\n5,1753780607\r\n10,1753780637\r\n50,1753780637\r\n0.5,1753780667.5\r\n\r\n"),
    wanted,
  );
});

const refused: { text: string; says: RegExp }[] = [
  { text: "", says: /begins with the line ""/ },
  { text: "0,5\n1,6\n", says: /begins with the line "0,5"/ },
  { text: "time,rate,note\n0,5,a\n1,6,b\n", says: /begins with the line "time,rate,note"/ },
  { text: "time,rate\n0,5,\n1,6\n", says: /3 cells in line 2/ },
  { text: "time,rate\n0,5\n\n1,6\n", says: /1 cells in line 3/ },
  { text: "time,rate\n0,5\n1m,6\n", says: /the time "1m" in line 3/ },
  { text: "time,rate\n0,5\n1,-6\n", says: /the rate "-6" in line 3/ },
  { text: "time,rate\n0,5\n1,\n", says: /the rate "" in line 3/ },
  { text: "time,rate\n0,5\n1,NaN\n", says: /the rate "NaN" in line 3/ },
  { text: "time,rate\n0,5\n1,2000000\n", says: /the rate "2000000" in line 3/ },
  { text: "time,rate\n5,5\n4,5\n", says: /goes back in time in line 3/ },
  { text: "time,rate\n0,5\n", says: /has 1 rows, and two are needed/ },
  { text: "time,rate\n0,5\n0,6\n", says: /has one time only/ },
  { text: "time,rate\n0,0\n9,0\n", says: /has no rate above 0/ },
];
for (const { text, says } of refused) {
  test(`a file of rates is refused: ${JSON.stringify(text)}`, () => {
    assert.throws(() => ratePoints("rates.csv", text), says);
    assert.throws(() => ratePoints("rates.csv", text), /^SettingError: RATE_FILE=rates.csv .*columns time/);
  });
}
