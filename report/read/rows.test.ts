import assert from "node:assert/strict";
import { test } from "node:test";
import type { RequestLine } from "./records";
import { RequestTable } from "./rows";

const line = (i: number, more: Partial<RequestLine>): RequestLine =>
  ({
    ...{ type: "request", level: "c1", phase: "steady", index: i, outcome: "completed", finishReason: "stop" },
    ...{ scheduledNs: i, startedNs: i, sentNs: i, endNs: i + 1 },
    ...more,
  }) as RequestLine;

const figures = { maxStallNs: 0, medianGapNs: 0, pausesNs: 0 };

test("a server with a finish reason of its own for every reply costs no other name", () => {
  const table = new RequestTable();
  const count = 70_000;
  for (let i = 0; i < count; i++) table.add(line(i, { finishReason: `done ${i}` }), figures);
  table.add(line(count, { level: "c2", finishReason: "done 7" }), figures);
  const reasons = table.rows.map(({ finishReason }) => finishReason);
  assert.deepEqual(
    [reasons[0], reasons[999], reasons[1000], reasons[count - 1]],
    ["done 0", "done 999", "other", "other"],
  );
  assert.deepEqual([table.row(count).level, table.row(count).finishReason], ["c2", "done 7"]);
  assert.equal(table.row(count - 1).level, "c1");
});

test("more levels than have a number are refused, and not taken for others", () => {
  const table = new RequestTable();
  assert.throws(() => {
    for (let i = 0; i < 70_000; i++) table.add(line(i, { level: `c${i}` }), figures);
  }, /more than 65535 names of levels/);
});
