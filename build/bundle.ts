import { mkdirSync, readdirSync, statSync } from "node:fs";
import { builtinModules } from "node:module";
import path from "node:path";
import { build, type Plugin } from "esbuild";
import { distDir, root } from "./paths";
import { Problem } from "./program";

/** Every VU compiles the bundle into its own JavaScript runtime, so its size is paid once a VU. */
const maxBundleBytes = 100 * 1024;

const nodeBuiltins = new Set(builtinModules);

/** k6 has none of Node's modules: an import of one would fail in the middle of a run, so it fails here. */
const refuseNodeBuiltins: Plugin = {
  name: "refuse-node-builtins",
  setup({ onResolve }) {
    onResolve({ filter: /^[a-z_:/]+$/ }, ({ path: name, importer }) => {
      // papaparse mentions Node's streams in a branch that k6 never takes.
      if (importer.includes("papaparse")) return { path: name, external: true };
      if (name.startsWith("node:") || nodeBuiltins.has(name)) {
        return { errors: [{ text: `${name} is a module of Node, which k6 does not have` }] };
      }
      return undefined;
    });
  },
};

const client = path.join(root, "lib", "client");
const sseClient = `${client}-sse.ts`;

/** Puts lib/client-sse.ts, which needs nothing but k6/x/sse, in the place of lib/client.ts. */
export const useSseClient: Plugin = {
  name: "use-sse-client",
  setup({ onResolve }) {
    onResolve({ filter: /(^|\/)client$/ }, ({ path: name, resolveDir }) =>
      path.join(resolveDir, name) === client ? { path: sseClient } : undefined,
    );
  },
};

/** The names of all scenarios: the files of scenarios/ without their endings. */
export function scenarioNames(): string[] {
  return readdirSync(path.join(root, "scenarios"))
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .map((file) => path.basename(file, ".ts"))
    .sort();
}

/** Bundles entry files (paths) into `outDir`, one ES module each; returns the paths of the bundles. */
export async function bundle(entries: string[], outDir: string, plugins: Plugin[] = []): Promise<string[]> {
  const datasetsPath = `${path.relative(outDir, path.join(root, "datasets")).replaceAll("\\", "/")}/`;
  mkdirSync(outDir, { recursive: true });
  try {
    await build({
      absWorkingDir: root,
      entryPoints: entries,
      outdir: outDir,
      bundle: true,
      format: "esm",
      // What k6's engine understands without the slower path of its own transpiler.
      target: "es2020",
      platform: "neutral",
      mainFields: ["module", "main"],
      external: ["k6", "k6/*"],
      sourcemap: true,
      // The same library with short names, a third of the size.
      alias: { papaparse: "papaparse/papaparse.min.js" },
      define: { DATASETS_PATH: JSON.stringify(datasetsPath) },
      // Names stay readable in k6's stack traces; syntax and white space alone bring most of the saving.
      minifySyntax: true,
      minifyWhitespace: true,
      tsconfig: path.join(root, "tsconfig.k6.json"),
      logLevel: "silent",
      plugins: [...plugins, refuseNodeBuiltins],
    });
  } catch (error) {
    const { errors } = error as { errors?: { text: string; location?: { file: string; line: number } | null }[] };
    if (!errors) throw error;
    const lines = errors.map(({ text, location }) => (location ? `${location.file}:${location.line}: ${text}` : text));
    throw new Problem(`bundling failed:\n${lines.join("\n")}`);
  }
  return entries.map((entry) => {
    const file = path.join(outDir, `${path.basename(entry, ".ts")}.js`);
    const bytes = statSync(file).size;
    if (bytes > maxBundleBytes) {
      throw new Problem(`${path.relative(root, file)} has ${bytes} bytes, the limit is ${maxBundleBytes}`);
    }
    return file;
  });
}

/** Bundles every scenario, for the built k6 and for a stock k6 with xk6-sse; returns the names. */
export async function bundleScenarios(): Promise<string[]> {
  const names = scenarioNames();
  const entries = names.map((name) => path.join(root, "scenarios", `${name}.ts`));
  await bundle(entries, distDir);
  await bundle(entries, path.join(distDir, "xk6-sse"), [useSseClient]);
  return names;
}
