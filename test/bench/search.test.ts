import assert from "node:assert/strict";
import { test } from "node:test";
import { largestValid } from "./search";

const search = { from: 100, least: 10, most: 10_000, precision: 0.05, attempts: 1 };

test("the largest valid load is found from below and from above, to the precision", async () => {
  for (const truth of [10, 37, 100, 130, 999, 9999]) {
    const tried: number[] = [];
    const found = await largestValid(async (load) => {
      tried.push(load);
      return load <= truth;
    }, search);
    assert.ok(found <= truth && found >= truth / 1.05, `${found} of ${truth}`);
    assert.ok(tried.length < 16, `${tried}`);
  }
});

test("no load is valid, or none is not", async () => {
  assert.equal(await largestValid(async () => false, search), 0);
  assert.equal(await largestValid(async () => true, search), 10_000);
});

test("a load that fails once is tried again as often as is allowed", async () => {
  let trials = 0;
  const moody = async (load: number) => load <= 400 && trials++ % 2 === 1;
  assert.ok((await largestValid(moody, { ...search, attempts: 2 })) > 380);
});
