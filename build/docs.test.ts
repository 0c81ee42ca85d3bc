import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { generatedDocs } from "./docs";
import { root } from "./paths";

for (const [file, text] of Object.entries(generatedDocs())) {
  test(`${file} is what the code says (node build/bootstrap.cjs build/docs.ts writes it)`, () => {
    assert.equal(readFileSync(path.join(root, file), "utf8").replaceAll("\r\n", "\n"), text);
  });
}
