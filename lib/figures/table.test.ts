import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { besideLimit, shortNumber } from "./table";

test("a value beside its limit is written short, with more digits where it would lie on another side of the limit", () => {
  assert.equal(besideLimit(812.4, 200), "812");
  assert.equal(besideLimit(200.4, 200), "200.4");
  assert.equal(besideLimit(200.4, 200.3), "200.4");
  assert.equal(besideLimit(199.96, 200), "199.96");
  assert.equal(besideLimit(200, 200), "200");
  assert.equal(besideLimit(0.5049, 0.5), "0.505");
  assert.equal(
    besideLimit(1234.4, 1234, (value) => Math.round(value).toLocaleString("en-US")),
    "1234.4",
  );
  assert.equal(besideLimit(Number.NaN, 1), "-");
});

test("no value is shown on another side of its limit than it lies, and where the short form will do it is taken", () => {
  const number = fc.double({ min: 1e-6, max: 1e9, noNaN: true });
  const near = fc.tuple(number, fc.double({ min: -1e-3, max: 1e-3, noNaN: true }));
  fc.assert(
    fc.property(near, ([limit, off]) => {
      const value = limit * (1 + off);
      const shown = besideLimit(value, limit);
      assert.equal(Math.sign(Number(shown) - limit), Math.sign(value - limit));
      const short = shortNumber(value);
      if (Math.sign(Number(short) - limit) === Math.sign(value - limit)) assert.equal(shown, short);
    }),
  );
});
