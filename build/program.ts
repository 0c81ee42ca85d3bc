import { endWithNpm } from "./parent";

/** What went wrong and what to do about it, in words for the user: shown without a stack trace. */
export class Problem extends Error {
  constructor(
    message: string,
    readonly exitCode = 1,
  ) {
    super(message);
  }
}

/** Runs a program's `main` and ends the process with the code it returns, or with a problem's line and code. */
export async function runProgram(main: () => Promise<number>): Promise<void> {
  endWithNpm();
  try {
    process.exitCode = await main();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    console.error(`tokenclock: ${error.message}`);
    process.exitCode = error.exitCode;
  }
}
