/** The source map of a bundle as k6 reads it: at each start, twice, for the files and lines of stack traces alone. */
import { decode, encode } from "@jridgewell/sourcemap-codec";

/**
 * A source map without what places do not follow from: a segment stays where a line of the bundle begins, and where the file or the
 * line changes. esbuild writes one for each token, five times as many. Any place of the bundle has the same file and line as before;
 * its column is that at which this line's code begins.
 */
export function thinned(map: string): string {
  const { version, sources, mappings } = JSON.parse(map) as { version: number; sources: string[]; mappings: string };
  const lines = decode(mappings).map((segments) => {
    let [file, line] = [-1, -1];
    return segments.flatMap(([column, ofFile, ofLine, ofColumn]) => {
      if (ofFile === undefined || ofLine === undefined || (ofFile === file && ofLine === line)) return [];
      [file, line] = [ofFile, ofLine];
      return [[column, ofFile, ofLine, ofColumn ?? 0] as [number, number, number, number]];
    });
  });
  return JSON.stringify({ version, sources, names: [], mappings: encode(lines) });
}
