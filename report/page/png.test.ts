import assert from "node:assert/strict";
import { test } from "node:test";
import { Resvg } from "@resvg/resvg-js";
import { draw } from "./chart";
import { picturePng } from "./png";

/** The pixels that another decoder sees in a PNG: resvg's, through an SVG that shows it at its own size. */
function decoded(png: Buffer, width: number, height: number): Uint8Array {
  const image = `<image width="${width}" height="${height}" image-rendering="pixelated" href="data:image/png;base64,${png.toString("base64")}"/>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${image}</svg>`;
  return new Resvg(svg).render().pixels;
}

test("a chart is a PNG of twice its size", () => {
  const picture = draw({
    name: "line",
    title: "A line",
    alt: "a line",
    panels: [
      {
        x: { title: "x (s)" },
        y: { title: "y (ms)" },
        series: [
          {
            name: "y",
            points: [
              [1, 2],
              [3, 4],
            ],
          },
        ],
      },
    ],
  });
  const png = picturePng(picture);
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [2 * picture.width, 2 * picture.height]);
  const seen = decoded(png, 2 * picture.width, 2 * picture.height);
  assert.deepEqual([...seen.subarray(0, 4)], [255, 255, 254, 255], "paper, opaque");
});
