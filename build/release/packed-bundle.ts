/** Stands for build/bundle.ts in a release: the bundles are there, and esbuild is not. */
import { readdirSync } from "node:fs";
import path from "node:path";
import { distDir } from "../paths";

/** Files of dist/ that are no scenarios. */
const library = "tokenclock.js";

export function scenarioNames(): string[] {
  return readdirSync(distDir)
    .filter((file) => file.endsWith(".js") && file !== library)
    .map((file) => path.basename(file, ".js"))
    .sort();
}

export async function bundleScenarios(): Promise<string[]> {
  return scenarioNames();
}
