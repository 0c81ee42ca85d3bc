/** Folders that commands write to. */
import { accessSync, constants, existsSync, mkdirSync, statSync } from "node:fs";
import path from "node:path";
import { exitCodes } from "../lib/outcome/exit-codes";
import { Problem } from "./program";

/**
 * Makes a folder with those above it; returns the folders that it made, the lowest first.
 * @throws Error of Node's where that cannot be.
 */
export function makeFolders(dir: string): string[] {
  if (isFolder(dir)) return [];
  const above = path.dirname(dir);
  // One by one: Node's recursive mkdir never ends below a folder such as /proc, where none can be made.
  const made = above === dir || existsSync(above) ? [] : makeFolders(above);
  try {
    mkdirSync(dir);
    return [dir, ...made];
  } catch (error) {
    // Another process may have made it meanwhile.
    if (isFolder(dir)) return made;
    throw error;
  }
}

function isFolder(dir: string): boolean {
  return existsSync(dir) && statSync(dir).isDirectory();
}

/**
 * Makes the folder that a command's --output names. Called before anything is read or made, so that no work is lost.
 * @throws Problem with exit code 104 where it cannot be made or written to.
 */
export function makeOutput(dir: string): void {
  try {
    makeFolders(path.resolve(dir));
    accessSync(dir, constants.W_OK);
  } catch (error) {
    throw new Problem(
      `--output ${dir} cannot be used (${(error as Error).message}); name another folder`,
      exitCodes.settings,
    );
  }
}
