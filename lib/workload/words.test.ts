import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { drawRing } from "./ring";
import { saltedRngs, seededRng } from "./rng";
import { everyWord, wordSource } from "./words";

const source = wordSource(drawRing(seededRng(1), everyWord));

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

test("beginnings of 600,000 texts of many levels and salts are all different: a state of 32 bits would repeat 40 of them", () => {
  const beginnings = new Set<string>();
  for (let scope = 0; scope < 1200; scope++) {
    const rngs = saltedRngs(`salt ${scope % 7}`);
    for (let stream = 0; stream < 500; stream++) {
      const rng = rngs(`level ${scope}`, stream);
      beginnings.add([rng(), rng(), rng(), rng()].join());
    }
  }
  assert.equal(beginnings.size, 600_000);
});

test("salted numbers are uniform, and so are neighbours of a stream", () => {
  const rngs = saltedRngs("salt");
  const firsts = Array.from({ length: 20_000 }, (_, stream) => rngs("level c1", stream)());
  const rng = rngs("level c1");
  for (const numbers of [firsts, Array.from({ length: 20_000 }, () => rng())]) {
    const tenths = Array.from({ length: 10 }, () => 0);
    for (const number of numbers) tenths[Math.floor(number * 10)] = (tenths[Math.floor(number * 10)] ?? 0) + 1;
    // Six standard deviations around 2,000.
    assert.ok(
      tenths.every((count) => Math.abs(count - 2000) < 6 * Math.sqrt(1800)),
      tenths.join(),
    );
  }
});

test("equal seeds give equal texts", () => {
  assert.equal(
    source.text(500, seededRng(3, 4)),
    wordSource(drawRing(seededRng(1), everyWord)).text(500, seededRng(3, 4)),
  );
});

test("a salt gives the texts that it gave in earlier releases, so that a run can be repeated", () => {
  const rngs = saltedRngs("1f0c3a5e9b7d2468");
  assert.deepEqual(
    [rngs("level c1", 0)(), rngs("level c1", 1)(), rngs("block", 7)()].map((number) => number.toFixed(9)),
    ["0.783525980", "0.523511024", "0.985873824"],
  );
  assert.equal(source.text(6, seededRng(1)), " name five gold ever earn file");
  assert.equal(source.text(40, seededRng(1)).slice(-15), " miss gain edge");
  assert.deepEqual(source.tokenIds(20, seededRng(1)).slice(-2), [109, 133]);
});
