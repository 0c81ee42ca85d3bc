import assert from "node:assert/strict";
import { test } from "node:test";
import { progressLine } from "./progress";

test("a long read has one line that grows and is gone at its end; a short one and a pipe have none", () => {
  const written: string[] = [];
  let ms = 0;
  const out = { isTTY: true, write: (text: string) => written.push(text) > 0 } as never;
  const tell = progressLine(out, () => ms);
  tell?.("/results/a", 0);
  tell?.("/results/a", 0.9);
  assert.deepEqual(written, []);
  ms = 2000;
  for (const share of [0.5, 0.501, 1]) tell?.("/results/a", share);
  assert.deepEqual(written, [`\r\x1b[Kreading a [${"#".repeat(15)}${"-".repeat(15)}] 50 %`, "\r\x1b[K"]);
  assert.equal(progressLine({ isTTY: false, write: () => true } as never), undefined);
});
