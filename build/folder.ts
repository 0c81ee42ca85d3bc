/** Folders that commands write to, and the files in them. */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
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

/** A file or folder of results that cannot be written. Its message names the file and the reason. */
export class Unwritten extends Error {
  private readonly full: boolean;

  /** `namedBy`: the variable that names the file, where the option or setting of the results' folder does not. */
  constructor(
    file: string,
    error: unknown,
    private readonly namedBy?: string,
  ) {
    const { code, message } = error as NodeJS.ErrnoException;
    super(`${file} cannot be written (${message})`);
    this.full = code === "ENOSPC" || code === "EDQUOT";
  }

  /** What the user can do. `option` names the folder of the results: "--output", "RESULTS". */
  advice(option: string): string {
    const another = this.namedBy ? `name another file with ${this.namedBy}` : `name another folder with ${option}`;
    return this.full ? `make room there, or ${another}` : another;
  }
}

/** Makes a folder of results, with those above it. @throws Unwritten where that cannot be. */
export function makeResultFolder(dir: string): void {
  try {
    makeFolders(dir);
  } catch (error) {
    throw new Unwritten(dir, error);
  }
}

/**
 * Writes a file whole.
 * @throws Unwritten where that cannot be. Half a file is none: what was written of it is removed.
 */
export function writeWhole(file: string, contents: string | Uint8Array): void {
  let opened: number | undefined;
  try {
    opened = openSync(file, "w");
    writeFileSync(opened, contents);
  } catch (error) {
    if (opened !== undefined) rmSync(file, { force: true });
    throw new Unwritten(file, error);
  } finally {
    if (opened !== undefined) closeSync(opened);
  }
}
