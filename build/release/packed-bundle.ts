/** Stands for build/bundle.ts in a release: the bundles are there, and esbuild is not. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { bundle as realBundle } from "../bundle";
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

/** The bundles of scenarios as they are in dist/, in another folder; their datasets stay where they are. */
export const bundle: typeof realBundle = async (entries, outDir, _plugins, sourcemap = true) => {
  mkdirSync(outDir, { recursive: true });
  const paths: readonly string[] = Array.isArray(entries) ? entries : Object.values(entries);
  return paths.map((entry) => {
    const name = `${path.basename(entry, ".ts")}.js`;
    const text = readFileSync(path.join(distDir, name), "utf8");
    const file = path.join(outDir, name);
    writeFileSync(file, sourcemap ? text : text.replace(/\n\/\/# sourceMappingURL=\S+\s*$/, "\n"));
    return file;
  });
};
