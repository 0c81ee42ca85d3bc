/** Stands for build/k6.ts in a release: the binary is there, and Go is not. */
import { existsSync } from "node:fs";
import path from "node:path";
import { checkForeign } from "../k6";
import { builtK6 } from "../paths";
import { Problem } from "../program";

export async function ensureK6(): Promise<string> {
  const foreign = process.env.K6_BINARY;
  if (foreign) return checkForeign(path.resolve(foreign));
  if (!existsSync(builtK6)) throw new Problem(`${builtK6} is missing; unpack the release again`);
  return builtK6;
}
