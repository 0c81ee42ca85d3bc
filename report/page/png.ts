/** PNG files of pictures. The font comes from a package: a machine that runs load tests may have none of its own. */
import { deflateSync } from "node:zlib";
import { Resvg } from "@resvg/resvg-js";
import type { Picture } from "./chart";

const fontFiles = ["400Regular/Arimo_400Regular.ttf", "700Bold/Arimo_700Bold.ttf"].map((file) =>
  require.resolve(`@expo-google-fonts/arimo/${file}`),
);

/** The picture at twice its size, so that it is sharp on dense displays. */
export function picturePng(picture: Picture): Buffer {
  const resvg = new Resvg(picture.svg, {
    font: { fontFiles, loadSystemFonts: false, defaultFontFamily: "Arimo", sansSerifFamily: "Arimo" },
    fitTo: { mode: "zoom", value: 2 },
  });
  const { pixels, width, height } = resvg.render();
  return opaquePng(pixels, width, height);
}

/**
 * A PNG of opaque pixels (four bytes each: red, green, blue and an alpha that is left out), without loss. Pictures with few
 * colours get a palette; with unfiltered rows, flat areas take a third to two thirds of what resvg's own encoder writes.
 */
export function opaquePng(pixels: Uint8Array, width: number, height: number): Buffer {
  const palette = new Map<number, number>();
  for (let i = 0; i < pixels.length && palette.size <= 256; i += 4) {
    const color = colorAt(pixels, i);
    if (!palette.has(color)) palette.set(color, palette.size);
  }
  const indexed = palette.size <= 256;
  const bytes = indexed ? 1 : 3;
  const rows = Buffer.alloc((1 + width * bytes) * height);
  let at = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    if (i % (4 * width) === 0) at++; // the row's filter, 0: none
    const color = colorAt(pixels, i);
    rows.writeUIntBE(indexed ? (palette.get(color) as number) : color, at, bytes);
    at += bytes;
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 8; // bits a sample
  header[9] = indexed ? 3 : 2; // palette or RGB
  const colors = Buffer.alloc(3 * palette.size);
  for (const [color, index] of palette) if (indexed) colors.writeUIntBE(color, 3 * index, 3);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    ...(indexed ? [chunk("PLTE", colors)] : []),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

const colorAt = (pixels: Uint8Array, i: number): number =>
  ((pixels[i] as number) << 16) | ((pixels[i + 1] as number) << 8) | (pixels[i + 2] as number);

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

/** CRC-32 as PNG wants it (ISO 3309); node:zlib has one only from Node 20.15 on. */
function crc32(data: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
