/** Stands for build/script.ts in a release, which has no bundler: k6 reads TypeScript by itself, beside the library. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { distDir } from "../paths";
import { Problem } from "../program";
import type { openScript as realOpenScript } from "../script";

export const openScript: typeof realOpenScript = async (file) => {
  const [, imported] = /\bfrom\s*["']([^"']*\btokenclock(?:\.js)?)["']/.exec(readFileSync(file, "utf8")) ?? [];
  if (imported !== undefined && !existsSync(path.resolve(path.dirname(file), imported))) {
    throw new Problem(
      `${file} imports ${imported}, which is not there: copy tokenclock.js and tokenclock.d.ts from ${distDir} beside it, and import "./tokenclock.js"`,
      104,
    );
  }
  return { file, own: undefined };
};
