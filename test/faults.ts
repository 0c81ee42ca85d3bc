/** `npm run faults`: the whole fault matrix, some minutes; prints a table, and ends with 1 where a cell is wrong. */
import { bundleScenarios } from "../build/bundle";
import { ensureK6 } from "../build/k6";
import { runProgram } from "../build/program";
import { faults, runCell, shapes, wires } from "./support/faults";

if (process.argv[1] === __filename) {
  void runProgram(async () => {
    await bundleScenarios();
    await ensureK6();
    let wrong = 0;
    let requests = 0;
    console.log(
      `| fault of every request | class | ${Object.keys(shapes).join(" | ")} |\n|---|---|${"---|".repeat(Object.keys(shapes).length)}`,
    );
    for (const fault of faults) {
      const cells: string[] = [];
      for (const shape of Object.keys(shapes)) {
        const ended: string[] = [];
        for (const wire of wires) {
          const cell = await runCell(fault, wire, shape);
          requests += cell.requests;
          if (cell.wrong !== "") wrong++;
          ended.push(`${wire} ${cell.wrong === "" ? cell.requests : `WRONG (${cell.wrong})`}`);
        }
        cells.push(ended.join(", "));
      }
      console.log(`| \`${fault.fault}\` | ${fault.failure} | ${cells.join(" | ")} |`);
    }
    console.log(`${requests} requests, ${wrong} cells wrong`);
    return wrong > 0 ? 1 : 0;
  });
}
