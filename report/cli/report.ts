/** `npm run report -- DIR [MORE...]`: renders a results folder, or several beside each other. */
import { join } from "node:path";
import { Command } from "commander";
import { makeOutput, Unwritten } from "../../build/folder";
import { renderReport } from "../page/render";
import { parseCommandLine, runCommandLine } from "./options";
import { progressLine } from "./progress";

export function commandLine(): Command {
  return new Command("report")
    .description("Folds results folders of one scenario into report.html, tables and pictures")
    .argument("<dir>", "results folder")
    .argument(
      "[more...]",
      "further folders: shown beside the first; the other phase of a prefill-decode, or version B of a ramp",
    )
    .option("-o, --output <dir>", "where the files go (default: the first folder)");
}

/** The whole of the command; resolves to its exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const program = commandLine();
  parseCommandLine(program, argv);
  const [dir = "", more = []] = program.processedArgs as [string?, string[]?];
  const { output } = program.opts<{ output?: string }>();
  if (output !== undefined) makeOutput(output);
  const { files } = await rendered([dir, ...more], output);
  console.log(`${join(output ?? dir, "report.html")} and ${files.length - 1} tables and pictures`);
  return 0;
}

async function rendered(dirs: readonly string[], outputDir: string | undefined): Promise<{ files: string[] }> {
  try {
    return await renderReport(dirs, { outputDir, onProgress: progressLine() });
  } catch (error) {
    throw error instanceof Unwritten ? new Error(`${error.message}; ${error.advice("--output")}`) : error;
  }
}

if (process.argv[1] === __filename) runCommandLine("report", () => main(process.argv.slice(2)));
