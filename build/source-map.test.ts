import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { decode, type SourceMapSegment } from "@jridgewell/sourcemap-codec";
import { build } from "esbuild";
import { root } from "./paths";
import { thinned } from "./source-map";

/** From which column on a line of the bundle is of which file and line: all that k6 looks up, which takes the last segment before a place. */
function placesOf(segments: readonly SourceMapSegment[]): string[] {
  const places = segments.map(([column, file, line]) => ({ column, place: `${file}:${line}` }));
  return places
    .filter(({ place }, k) => place !== places[k - 1]?.place)
    .map(({ column, place }) => `${column} ${place}`);
}

test("a thinned map has less than a quarter of the segments, and each place has the file and the line that it had", async () => {
  const { outputFiles } = await build({
    entryPoints: [path.join(root, "lib", "index.ts")],
    outdir: root,
    ...{ bundle: true, minify: true, write: false, sourcemap: "external", format: "esm", platform: "neutral" },
    external: ["k6", "k6/*"],
    packages: "external",
  });
  const map = outputFiles.find(({ path: file }) => file.endsWith(".map"))?.text ?? "";
  const thin = thinned(map);
  const [before, after] = [map, thin].map((each) => decode(JSON.parse(each).mappings));
  assert.deepEqual(after?.map(placesOf), before?.map(placesOf));
  assert.deepEqual(JSON.parse(thin).sources, JSON.parse(map).sources);
  const count = (lines: readonly SourceMapSegment[][] = []) => lines.reduce((sum, line) => sum + line.length, 0);
  assert.ok(count(after) < count(before) / 4, `${count(after)} of ${count(before)} segments`);
});

test("a part without a source is of the one before it, as k6 takes it, and names go", () => {
  const map = { version: 3, sources: ["a.ts"], names: ["f"], mappings: "AAAAA,CAAC,C,CACC;C;AADA" };
  assert.deepEqual(JSON.parse(thinned(JSON.stringify(map))), {
    version: 3,
    sources: ["a.ts"],
    names: [],
    mappings: "AAAA,GACE;;AADA",
  });
});
