/** `npm run report -- DIR [DIR_B]`: renders a results folder, or two that belong together. */
import { join } from "node:path";
import { Command } from "commander";
import { renderReport } from "../page/render";

const program = new Command("report")
  .description("Folds a results folder into report.html, tables and pictures")
  .argument("<dir>", "results folder")
  .argument("[other]", "second folder: the other phase of prefill-decode, or version B of an arrival-rate-ramp")
  .option("-o, --output <dir>", "where the files go (default: the first folder)")
  .action(async (dir: string, other: string | undefined, options: { output?: string }) => {
    const { files } = await renderReport(other === undefined ? dir : [dir, other], options.output);
    console.log(`${join(options.output ?? dir, "report.html")} and ${files.length - 1} tables and pictures`);
  });

program.parseAsync().catch((error: Error) => {
  console.error(`report: ${error.message}`);
  process.exitCode = 1;
});
