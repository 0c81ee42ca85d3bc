/** `npm run calibrate [-- arguments]`: the client against the simulated server, the error of what it measures. */
import { spawn } from "node:child_process";
import { ensureK6 } from "../build/k6";
import { runProgram } from "../build/program";
import { k6Environment } from "./simulator";

void runProgram(async () => {
  const k6 = await ensureK6();
  const args = ["x", "tokenclock", "calibrate", ...process.argv.slice(2)];
  const child = spawn(k6, args, { stdio: "inherit", env: k6Environment() });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
});
