import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { seededRng } from "./rng";
import { drawRing, wordSource } from "./words";

const source = wordSource(drawRing(seededRng(1)));

test("a text has exactly as many words as were asked for", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9000 }), fc.nat(), (count, seed) => {
      const text = source.text(count, seededRng(seed));
      assert.equal(text.length, 5 * count);
      assert.equal(text.split(" ").filter((word) => word.length === 4).length, count);
    }),
    { numRuns: 50 },
  );
});

test("token ids: exactly as many, none a control token", () => {
  for (const count of [0, 1, 16, 17, 5000]) {
    const ids = source.tokenIds(count, seededRng(9, count));
    assert.equal(ids.length, count);
    assert.ok(ids.every((id) => Number.isInteger(id) && id >= 20 && id <= 220));
  }
});

test("no two texts begin alike, however many there are", () => {
  const beginnings = new Set(Array.from({ length: 20_000 }, (_, i) => source.text(32, seededRng(1, i)).slice(0, 40)));
  assert.equal(beginnings.size, 20_000);
});

test("equal seeds give equal texts", () => {
  assert.equal(source.text(500, seededRng(3, 4)), wordSource(drawRing(seededRng(1))).text(500, seededRng(3, 4)));
});

test("a seed gives the texts that it gave in earlier releases, so that runs can be compared", () => {
  assert.equal(source.text(6, seededRng(1)), " name five gold ever earn file");
  assert.equal(source.text(40, seededRng(1)).slice(-15), " miss gain edge");
  assert.deepEqual(source.tokenIds(20, seededRng(1)).slice(-2), [109, 133]);
});
