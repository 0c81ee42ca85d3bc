/** A progress bar for reading records: a large run takes a while. */
import { basename } from "node:path";

/** Files that are read faster than this show no bar. */
const silentMs = 1500;
const width = 30;

/**
 * A function for readResults' onProgress that keeps one line of the terminal up to date; undefined where nobody would see it.
 * The line is gone when a folder is read.
 */
export function progressLine(
  out: Pick<NodeJS.WriteStream, "isTTY" | "write"> = process.stderr,
  now: () => number = Date.now,
): ((dir: string, share: number) => void) | undefined {
  if (!out.isTTY) return undefined;
  const begun = new Map<string, number>();
  let shown = "";
  return (dir, share) => {
    const since = begun.get(dir) ?? now();
    begun.set(dir, since);
    if (now() - since < silentMs) return;
    const filled = Math.round(width * Math.min(1, share));
    const line =
      share >= 1
        ? ""
        : `reading ${basename(dir)} [${"#".repeat(filled)}${"-".repeat(width - filled)}] ${Math.floor(100 * share)} %`;
    if (line === shown) return;
    out.write(`\r\x1b[K${line}`);
    shown = line;
  };
}
