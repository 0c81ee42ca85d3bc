import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { parseProfile } from "../../lib/figures/profile";
import { sweep, writeRun } from "../../test/support/synthetic";
import { main as compare } from "../cli/compare";
import { gate } from "../cli/gate";
import { readResults } from "../read/read";
import { compareCapacities, judgeCapacity } from "./capacity";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-capacity-"));
after(() => rmSync(dir, { recursive: true }));

const bounds = (low: number, high: number) => ({ low, high, unit: "req/s" });

for (const [low, high, expression, verdict] of [
  [40, 50, "value>=40", "passed"],
  [40, 50, "value>40", "inconclusive"],
  [40, 50, "value>=45", "inconclusive"],
  [40, 50, "value>=50", "failed"],
  [40, 50, "value<50", "passed"],
  [40, 51, "value<50", "inconclusive"],
  [0, 50, "value>0", "inconclusive"],
  [40, Number.POSITIVE_INFINITY, "value>=60", "inconclusive"],
] as const) {
  test(`a capacity of ${low} to ${high} against ${expression}: ${verdict}`, () => {
    assert.equal(judgeCapacity(bounds(low, high), expression).verdict, verdict);
  });
}

test("interval against interval", () => {
  assert.equal(compareCapacities(bounds(40, 50), bounds(30, 40), 0.05).verdict, "regression");
  assert.equal(compareCapacities(bounds(40, 50), bounds(30, 41), 0.05).verdict, "unclear");
  assert.equal(compareCapacities(bounds(40, 50), bounds(48, 60), 0.05).verdict, "pass");
  assert.equal(compareCapacities(bounds(40, Number.POSITIVE_INFINITY), bounds(90, 99), 0.05).verdict, "unclear");
  assert.throws(() => compareCapacities(bounds(40, 50), { ...bounds(4, 5), unit: "clients" }, 0.05), /LOOP/);
});

/** A folder of a search that probed these clients and found that interval. */
function searched(name: string, concurrencies: number[], interval: object, state = "found"): string {
  const spec = { ...sweep({ seed: concurrencies.length, concurrencies }), scenario: "capacity" };
  const run = writeRun({ ...spec, config: { ...spec.config, CONCURRENCY: [1], LOOP: "open" } }, dir, name);
  writeFileSync(join(run, "capacity.json"), JSON.stringify({ unit: "req/s", state, interval }));
  return run;
}

test("gate judges the interval, and no level that was loaded beyond what the server carries", async () => {
  const run = await readResults(searched("gated", [1, 2], { low: 40, high: 50 }), { itl: true });
  const judge = (expression: string) => {
    const profile = parseProfile(JSON.stringify({ llm_capacity: expression, llm_ttft: "p(95)<1" }));
    return gate(run, { profile, SLO_TTFT: 1, SLO_PERCENTILE: 95 });
  };
  assert.equal(judge("value>=40").state, "passed");
  assert.equal(judge("value>=45").state, "inconclusive");
  assert.equal(judge("value>=60").state, "failed");
  const nothing = await readResults(searched("nothing", [1], {}, "drifted"), { itl: true });
  assert.throws(() => gate(nothing, { profile: "none", SLO_PERCENTILE: 95 }), /found no capacity \(drifted\)/);
});

test("compare sets one interval against the other, whatever levels were probed", async () => {
  const a = searched("a", [1, 2], { low: 40, high: 50 });
  const b = searched("b", [1, 2, 3], { low: 30, high: 38 });
  const c = searched("c", [1, 2, 3, 4], { low: 50, high: 55 });
  const lines: string[] = [];
  assert.equal(await compare([a, b], (text) => lines.push(text)), 99);
  assert.match(lines.join(""), /capacity: A 40 to 50 req\/s, B 30 to 38 req\/s: regression/);
  assert.equal(await compare([a, c], () => undefined), 0);
  // The page has both intervals; a side that no probe showed has no number.
  const page = readFileSync(join(c, "compare.html"), "utf8");
  assert.match(page, /id="verdict"><strong>capacity<\/strong>A 40 to 50 req\/s, B 50 to 55 req\/s: pass/);
  const charts = JSON.parse(/id="charts">([^<]*)</.exec(page)?.[1] ?? "{}");
  const series = (of: { series: { name: string; points: unknown }[] }) =>
    of.series.map(({ name, points }) => [name, points]);
  assert.deepEqual(series(charts.capacities.panels[0]), [
    [
      "at least",
      [
        [0, 40],
        [1, 50],
      ],
    ],
    [
      "below",
      [
        [0, 50],
        [1, 55],
      ],
    ],
  ]);
  const open = searched("open", [1, 2, 3, 4, 5], { low: 60 });
  await compare([a, open], () => undefined);
  const html = readFileSync(join(open, "compare.html"), "utf8");
  assert.match(html, /<td class="text">B<\/td><td>60<\/td><td>–<\/td>/);
});
