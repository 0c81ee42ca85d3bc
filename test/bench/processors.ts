import { readFileSync } from "node:fs";
import os from "node:os";

/** Clock ticks a second in /proc: 100 on every Linux that Node runs on. */
const ticksPerS = 100;

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // not Linux, or the process is gone
  }
}

/** The processors that this process may use, e.g. [0, 1]; empty where nobody says. */
export function processors(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(read("/proc/self/status"))?.[1] ?? "";
  if (list === "") return [];
  return list.split(",").flatMap((part) => {
    const [from = 0, to = from] = part.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/** Processor time of a process so far, s; undefined where nobody says. */
function processCpuS(pid: number): number | undefined {
  // The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it.
  const fields = read(`/proc/${pid}/stat`).split(") ").at(-1)?.split(" ") ?? [];
  const ticks = Number(fields[11]) + Number(fields[12]);
  return Number.isFinite(ticks) ? ticks / ticksPerS : undefined;
}

/** Processor time of the whole machine so far in which it was not idle, s; undefined where nobody says. */
function machineCpuS(): number | undefined {
  const line = /^cpu +(.*)$/m.exec(read("/proc/stat"))?.[1];
  if (line === undefined) return undefined;
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(" ").map(Number);
  return (user + nice + system + irq + softirq + steal) / ticksPerS;
}

/** Reads now, and when called again what server and others used since. */
export function watchProcessors(
  server: number,
): (clientCpuS: number, wallS: number) => { serverCpuS?: number; othersShare?: number } {
  const serverBefore = processCpuS(server);
  const machineBefore = machineCpuS();
  return (clientCpuS, wallS) => {
    const serverAfter = processCpuS(server);
    const machineAfter = machineCpuS();
    if (serverBefore === undefined || serverAfter === undefined) return {};
    const serverCpuS = serverAfter - serverBefore;
    if (machineBefore === undefined || machineAfter === undefined) return { serverCpuS };
    const othersS = machineAfter - machineBefore - serverCpuS - clientCpuS;
    return { serverCpuS, othersShare: Math.max(0, othersS / wallS / os.availableParallelism()) };
  };
}
