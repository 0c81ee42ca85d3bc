import assert from "node:assert/strict";
import { test } from "node:test";
import { Column } from "./column";

test("a column has what was added to it, in that order", () => {
  const column = new Column();
  assert.deepEqual([...column.values], []);
  for (const count of [1, 15, 1, 4096, 5000, 1]) {
    const before = column.length;
    for (let i = 0; i < count; i++) column.push(before + i);
    assert.equal(column.length, before + count);
    assert.deepEqual(
      column.values,
      Float64Array.from({ length: before + count }, (_, i) => i),
    );
  }
});
