/** Pictures of more requests than have room: which are drawn, and that the page says so. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { batches, cache, type RunSpec, requestLine, writeRun } from "../../../test/support/synthetic";
import { readResults } from "../../read/read";
import type { Answer } from "../answer";
import type { ChartSpec } from "../chart-option";
import { burst } from "./burst";
import { kvCacheProfile } from "./kv-cache-profile";
import { promptIngestion } from "./prompt-ingestion";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-thinned-"));
after(() => rmSync(dir, { recursive: true }));
const read = (spec: RunSpec, name: string) => readResults(writeRun(spec, dir, name));

function chart(answer: Answer, name: string): ChartSpec {
  const found = answer.sections.flatMap(({ pictures }) => pictures).find((each) => each.name === name);
  assert.ok(found, `there is a picture ${name}`);
  return found.spec;
}

/** Fails unless places are in equal steps, give or take one, from the first to the last of so many. */
function assertEven(places: readonly number[], all: number, what: string): void {
  assert.deepEqual([places[0], places.at(-1)], [0, all - 1], `${what}: both ends`);
  const steps = places.slice(1).map((at, i) => at - (places[i] as number));
  assert.ok(
    Math.max(...steps) - Math.min(...steps) <= 1,
    `${what}: steps of ${Math.min(...steps)} to ${Math.max(...steps)}`,
  );
}

/** Prompts of ascending lengths, one after the other: a TTFT of its own for each. */
function prompts(count: number): RunSpec {
  const requests = Array.from({ length: count }, (_, index) =>
    requestLine({ level: "i", index, sentMs: 10 * index, ttftMs: 5 + index / 1000, inputTokens: 100 + index }),
  );
  return { scenario: "prompt-ingestion", requests, levels: [{ name: "i", openMs: 0, closeMs: 10 * count }] };
}

test("prompt ingestion: of many points evenly chosen ones are drawn, and how many of how many", async () => {
  const few = chart(promptIngestion([await read(prompts(5000), "few-prompts")]), "prompt-ingestion");
  assert.equal(few.panels[0]?.series[0]?.points.length, 5000);
  assert.doesNotMatch(few.title, /drawn/);
  const many = chart(promptIngestion([await read(prompts(5100), "many-prompts")]), "prompt-ingestion");
  const points = many.panels[0]?.series[0]?.points ?? [];
  assert.equal(points.length, 5000);
  assertEven(
    points.map(([tokens]) => tokens - 100),
    5100,
    "points",
  );
  assert.match(many.title, /, 5,000 of 5,100 requests drawn$/);
});

test("KV cache profile: of many requests evenly chosen ones are drawn at their numbers, and how many of how many", async () => {
  const requests = Array.from({ length: 2500 }, (_, index) =>
    requestLine({ level: "n", index, sentMs: 10 + index, ttftMs: 5, gapsMs: [3] }),
  );
  const spec = cache({ seed: 1, shape: "burst", parallel: [1], cacheTokens: 900, slots: 8 });
  const levels = [{ name: "n", batchSize: 2500, openMs: 0, closeMs: 3000 }];
  const profile = chart(kvCacheProfile([await read({ ...spec, requests, levels }, "profile")]), "kv-cache-profile");
  const lifetimes = profile.panels.at(-1);
  for (const { name, points } of lifetimes?.series ?? []) {
    const begins = points.filter((_, i) => i % 3 === 0);
    assert.equal(begins.length, 2000, name);
    assertEven(
      begins.map(([, number]) => (number ?? 0) - 1),
      2500,
      name,
    );
    // A line stands at the number of its request: one is sent every millisecond.
    for (const [s, number] of begins)
      assert.ok(Math.abs(1000 * s - (number as number) - (name === "decode" ? 14 : 9)) < 0.001, `${name} ${number}`);
  }
  assert.match(profile.title, /, 2,000 of 2,500 requests drawn$/);
});

test("bursts: of many steps the outline is drawn, from the first to the last, and the page says of how many", async () => {
  const size = 2600;
  const spec = batches({ seed: 2, sizes: [2, size], runs: 1, embeddings: true });
  const answer = burst([await read(spec, "large-burst")]);
  const [small, large] = chart(answer, "occupancy").panels[0]?.series ?? [];
  assert.equal(small?.points.length, 1 + 2 * 2, "a begin and an end of each request");
  const points = large?.points ?? [];
  assert.ok(points.length > 2600 && points.length <= 4001, `${points.length} points`);
  const shares = points.map(([, share]) => share ?? 0);
  assert.deepEqual([shares[0], shares[1], shares.at(-1)], [0, 100 / size, 0], "from the first begin to the last end");
  assert.equal(Math.max(...shares), 100, "its peak");
  const ends = spec.requests.filter(({ level }) => level === `b${size}.1`).map(({ endNs = 0 }) => endNs);
  const begins = spec.requests.filter(({ level }) => level === `b${size}.1`).map(({ sentNs = 0 }) => sentNs);
  const lastS = (Math.max(...ends) - Math.min(...begins)) / 1e9;
  assert.ok(Math.abs((points.at(-1)?.[0] ?? 0) - lastS) < 1e-9, "to the last end");
  const text = answer.sections.flatMap((section) => section.text ?? []).join(" ");
  assert.match(text, new RegExp(`${(points.length - 1).toLocaleString("en-US")} of 5,200`));
});
