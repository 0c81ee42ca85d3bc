/** Histograms that several runners wrote add up to the one that one process would have written. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { countsOf, sumOfHistograms } from "./histogram-sum";

/** Of hdrhistogram-go 1.x as the extension makes them (1 ns to an hour, 3 digits): some values, others, and both together. */
const some = "HISTFAAAAC542pJpmSzMwMDAzgABzFCakYGB2c1gxwIG+w8Qgeu3GNle8zABAgAA//97UwcD"; // 3 of 7 ms, 1 of 12.345678 ms
const others = "HISTFAAAADN42pJpmSzMwMDAwwABzFCakYGB2c1gxwIG+w8Qgdd8TC9PM05g3rueiQkQAAD//6aRCQo="; // 200 of 7 ms, 1 of 950 ns, 1 of 1 h
const both = "HISTFAAAADZ42pJpmSzMwMDAzwABzFCakYGB2c1gxwIG+w8Qgdd8TC9PM05jfs3DdH4RExMgAAD//8UFChE=";

const filled = (text: string) =>
  countsOf(text).flatMap((count, bucket) => (count > 0n ? [[bucket, Number(count)]] : []));

test("the sum has in each bucket what all have there, in whatever order they come", () => {
  assert.deepEqual(
    filled(some).map(([, count]) => count),
    [3, 1],
  );
  assert.deepEqual(
    filled(others).map(([, count]) => count),
    [1, 200, 1],
  );
  const wanted = filled(both);
  assert.deepEqual(
    wanted.map(([, count]) => count),
    [1, 203, 1, 1],
  );
  for (const texts of [[some, others], [others, some], [both]]) {
    assert.deepEqual(filled(sumOfHistograms(texts)), wanted);
  }
  assert.deepEqual(
    filled(sumOfHistograms([both, both])).map(([, count]) => count),
    [2, 406, 2, 2],
  );
});

test("what was encoded here has the bytes of the format: but for zlib's they are those of the library", () => {
  const head = (text: string) => Buffer.from(text, "base64").subarray(0, 4).toString("hex");
  assert.equal(head(sumOfHistograms([some, others])), head(both));
});

test("what is no histogram, cut, or of another range is refused", () => {
  const other = Buffer.from(some, "base64");
  for (const [texts, reason] of [
    [[], /there is no histogram/],
    [["HISTEwAA"], /no histogram/],
    [[""], /no histogram/],
    [[other.subarray(0, 30).toString("base64")], /unexpected end of file|incorrect/],
  ] as const) {
    assert.throws(() => sumOfHistograms(texts), reason);
  }
});
