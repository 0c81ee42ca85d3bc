/** How much memory a run takes, as the system counts it. Linux only. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Child } from "./child";

/** Why a test of memory is left out here; false = it is not. */
export const noPeakMemory = process.platform === "linux" ? false : "the memory of a process is read from /proc";

/** The largest memory of a process that ends by itself, bytes. */
export async function peakMemory(child: Child): Promise<number> {
  let peak = 0;
  let over = false;
  const end = () => {
    over = true;
  };
  void child.ended.then(end, end);
  while (!over) {
    peak = peakSoFar(child.pid) ?? peak;
    await sleep(20);
  }
  return peak;
}

function peakSoFar(pid: number): number | undefined {
  try {
    const [, kB] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return kB === undefined ? undefined : Number(kB) * 1024;
  } catch {
    return undefined; // it is gone
  }
}
