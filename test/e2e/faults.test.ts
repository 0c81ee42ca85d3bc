/** A diagonal of the fault matrix: each fault once, wires and load shapes in turn. `npm run faults` runs all of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { faults, runCell, shapes, wires } from "../support/faults";

for (const [i, fault] of faults.entries()) {
  const wire = wires[i % wires.length] ?? "chat";
  const shape = Object.keys(shapes)[i % 3] ?? "";
  test(`${fault.fault} on ${wire} under ${shape}: every request is ${fault.failure}`, { timeout: 60_000 }, async () => {
    const { wrong, requests } = await runCell(fault, wire, shape);
    assert.equal(wrong, "");
    assert.ok(requests > 0);
  });
}
