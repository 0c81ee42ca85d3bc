/** `npm run calibrate [-- arguments]`: the client against the simulated server, the error of what it measures. */
import { runProgram } from "../build/program";
import { extensionCommand } from "./extension-command";

if (process.argv[1] === __filename) void runProgram(() => extensionCommand("calibrate", process.argv.slice(2)));
