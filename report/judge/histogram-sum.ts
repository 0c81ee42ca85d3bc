/**
 * Adds up histograms in HdrHistogram's compressed V2 encoding: of one quantity, by several runners. The format is that of
 * https://github.com/HdrHistogram/HdrHistogram (AbstractHistogram, encodeIntoCompressedByteBuffer): a cookie, a length, and
 * zlib's bytes of a header with the geometry and the counts. Pure.
 */
import { deflateSync, inflateSync } from "node:zlib";

/** Cookies of the V2 encoding, plain and compressed. The low nibbles say how wide a count may be, which no reader of V2 asks. */
const plainCookie = 0x1c849303;
const compressedCookie = 0x1c849304;
const widthBits = 0xf0;
const headerBytes = 40;

/** No histogram of 63 bits and five digits has more. */
const mostBuckets = 1 << 24;

/** The geometry (significant digits, lowest and highest value, factor), and the counts by bucket from the lowest on. */
interface Histogram {
  readonly geometry: Buffer;
  readonly counts: readonly bigint[];
}

/**
 * The histogram of all values together, as base64. @throws Error for a text that is no such histogram, and for histograms of
 * different geometry, whose buckets are not the same.
 */
export function sumOfHistograms(encoded: readonly string[]): string {
  const [first, ...others] = encoded.map(decoded);
  if (!first) throw new Error("there is no histogram");
  if (others.some(({ geometry }) => !geometry.equals(first.geometry))) {
    throw new Error("the histograms have different ranges or digits");
  }
  const counts = [...first.counts];
  for (const other of others) {
    other.counts.forEach((count, k) => {
      counts[k] = (counts[k] ?? 0n) + count;
    });
  }
  return encode({ geometry: first.geometry, counts });
}

/** The counts of a histogram by bucket, from the lowest on. @throws Error for a text that is none. */
export const countsOf = (text: string): readonly bigint[] => decoded(text).counts;

function decoded(text: string): Histogram {
  const outer = Buffer.from(text, "base64");
  if (outer.length < 8 || (outer.readInt32BE(0) & ~widthBits) !== compressedCookie) {
    throw new Error("no histogram in HdrHistogram's compressed V2 encoding");
  }
  const inner = inflateSync(outer.subarray(8, 8 + outer.readInt32BE(4)));
  if (inner.length < headerBytes || (inner.readInt32BE(0) & ~widthBits) !== plainCookie) {
    throw new Error("no histogram in HdrHistogram's V2 encoding");
  }
  const payload = inner.subarray(headerBytes, headerBytes + inner.readInt32BE(4));
  return { geometry: inner.subarray(12, headerBytes), counts: countsIn(payload) };
}

/** The counts of a payload: ZigZag LEB128 numbers, of which a negative one is a run of so many zeros. */
function countsIn(payload: Buffer): bigint[] {
  const counts: bigint[] = [];
  for (let at = 0; at < payload.length; ) {
    let value = 0n;
    // The ninth byte, if there is one, has all of its 8 bits.
    for (let k = 0; ; k++) {
      const byte = payload[at++];
      if (byte === undefined) throw new Error("the histogram's counts break off");
      value |= BigInt(k < 8 ? byte & 0x7f : byte) << BigInt(7 * k);
      if (k === 8 || byte < 0x80) break;
    }
    const count = (value >> 1n) ^ -(value & 1n);
    if (counts.length - Math.min(0, Number(count)) > mostBuckets)
      throw new Error("the histogram has more buckets than any has");
    if (count >= 0n) counts.push(count);
    else for (let k = 0n; k < -count; k++) counts.push(0n);
  }
  return counts;
}

function encode({ geometry, counts }: Histogram): string {
  const payload: number[] = [];
  const put = (count: bigint) => {
    let value = count >= 0n ? count << 1n : (-count << 1n) - 1n;
    for (let k = 0; k < 8 && value >= 0x80n; k++, value >>= 7n) payload.push(Number(value & 0x7fn) | 0x80);
    payload.push(Number(value));
  };
  for (let k = 0; k < counts.length; ) {
    const from = k;
    while (k < counts.length && counts[k] === 0n) k++;
    const zeros = k - from;
    if (zeros > 0) put(zeros > 1 ? BigInt(-zeros) : 0n);
    else put(counts[k++] ?? 0n);
  }
  const header = Buffer.alloc(12);
  header.writeInt32BE(plainCookie | 0x10, 0);
  header.writeInt32BE(payload.length, 4);
  const compressed = deflateSync(Buffer.concat([header, geometry, Buffer.from(payload)]), { level: 9 });
  const outer = Buffer.alloc(8);
  outer.writeInt32BE(compressedCookie | 0x10, 0);
  outer.writeInt32BE(compressed.length, 4);
  return Buffer.concat([outer, compressed]).toString("base64");
}
