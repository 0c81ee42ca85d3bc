/** What the command lines of gate and compare share: per cents in one unit, and nothing that gets lost on the way. */
import { type Command, CommanderError, InvalidArgumentError } from "commander";
import { exitCodes } from "../../lib/outcome/exit-codes";
import { UnreadableResults } from "../read/read";

/**
 * A parser of per cents, such as "99" or "0.5%", to a share. A bare number between 0 and 1 is refused: it is likely a share,
 * and would mean a hundredth of it.
 */
export function percentage(least: number, most: number): (text: string) => number {
  const allowed = `it is per cent, from ${least} to ${most}`;
  return (text) => {
    const [, number, sign] = /^\s*(\d+(?:\.\d+)?)\s*(%?)\s*$/.exec(text) ?? [];
    const value = Number(number ?? Number.NaN);
    if (sign === "" && value > 0 && value < 1) {
      const hint = 100 * value >= least && 100 * value <= most ? `${Number((100 * value).toPrecision(12))} or ` : "";
      throw new InvalidArgumentError(`${allowed}: write ${hint}${value}%`);
    }
    if (!(value >= least && value <= most)) throw new InvalidArgumentError(allowed);
    return value / 100;
  };
}

/** A parser of numbers above 0. */
export function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value > 0 && Number.isFinite(value)))
    throw new InvalidArgumentError("a number above 0 is needed");
  return value;
}

/** A parser of numbers from 0. */
export function numberFromZero(text: string): number {
  return Number(text) === 0 && text.trim() !== "" ? 0 : positiveNumber(text);
}

/**
 * Reads the command line. Without `--` npm takes options for its own, and the command would do what was not meant.
 * @throws Error where npm did so; CommanderError for what the command line does not allow.
 */
export function parseCommandLine(
  program: Command,
  argv: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): void {
  for (const { long } of program.options) {
    const name = long?.replace(/^--(no-)?/, "") ?? "";
    if (env[`npm_config_${name.replaceAll("-", "_")}`] === undefined) continue;
    throw new Error(`npm took --${name} for its own: write npm run ${program.name()} -- ... before the options`);
  }
  program.exitOverride().parse([...argv], { from: "user" });
}

/** The exit code of an error: 0 of --help, 98 of results that are missing or cannot be read, 104 of everything that was asked wrongly. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UnreadableResults) return exitCodes.notValid;
  return error instanceof CommanderError && error.exitCode === 0 ? exitCodes.passed : exitCodes.settings;
}

/** The exit code of a command's main; an error is printed in one line and ends with exitCodeOf. */
export async function codeOf(name: string, main: () => Promise<number>): Promise<number> {
  try {
    return await main();
  } catch (error) {
    // Commander has printed its own.
    if (!(error instanceof CommanderError)) console.error(`${name}: ${(error as Error).message}`);
    return exitCodeOf(error);
  }
}

/** Runs a command's main and ends the process with its exit code. */
export function runCommandLine(name: string, main: () => Promise<number>): void {
  void codeOf(name, main).then((code) => {
    process.exitCode = code;
  });
}
