/**
 * `npm run kills [-- --kills 40 --seed 1]`: kill -9 of a runner or of the coordinator at a random time of a run, again and again.
 * Prints what survived and what the merge made of it, and ends with 1 where a kill led to a pass, to a loss of what had
 * arrived, or to a process that did not end.
 */
import { Command } from "commander";
import { bundleScenarios } from "../build/bundle";
import { ensureK6 } from "../build/k6";
import { runProgram } from "../build/program";
import { seededRng } from "../lib/workload/rng";
import { type Killed, nthKill, victims } from "./support/kills";
import { startServer } from "./support/simulated";

async function main(argv: readonly string[]): Promise<number> {
  const program = new Command("kills")
    .option("--kills <n>", "how many", Number, 40)
    .option("--seed <n>", "of victims, loads and moments", Number, 1)
    .parse([...argv], { from: "user" });
  const { kills, seed } = program.opts<{ kills: number; seed: number }>();
  await bundleScenarios();
  await ensureK6();
  const random = seededRng(seed);
  const server = await startServer("--ttft", "20ms", "--itl", "4ms");
  const all: Killed[] = [];
  console.log(
    "| killed | load | after ms | ended with | merge or gate | requests kept, served | |\n|---|---|---|---|---|---|---|",
  );
  try {
    for (let i = 0; i < kills; i++) {
      const one = await nthKill(server, i, random);
      all.push(one);
      const codes = Object.entries(one.codes).map(([name, code]) => `${name} ${code}`);
      const cells = [one.victim, one.scenario, one.atMs, codes.join(", "), one.verdict, `${one.kept}, ${one.served}`];
      console.log(`| ${cells.join(" | ")} | ${one.wrong.join("; ") || (one.tooLate ? "had ended" : "ok")} |`);
    }
  } finally {
    await server.stop();
  }
  for (const victim of victims) {
    const own = all.filter((one) => one.victim === victim);
    const hit = own.filter(({ tooLate }) => !tooLate);
    const verdicts = [...new Set(hit.map(({ verdict }) => verdict))].sort();
    const share = hit.reduce((sum, { kept }) => sum + kept, 0) / hit.reduce((sum, { served }) => sum + served, 1e-9);
    console.log(
      `${victim}: ${own.length} kills, ${own.length - hit.length} after its end; of the others the verdicts ${verdicts.join(", ")}, ${Math.round(share * 100)} % of the requests kept`,
    );
  }
  const wrong = all.filter((one) => one.wrong.length > 0).length;
  console.log(`${all.length} kills, seed ${seed}: ${wrong} wrong`);
  return wrong > 0 ? 1 : 0;
}

if (process.argv[1] === __filename) void runProgram(() => main(process.argv.slice(2)));
