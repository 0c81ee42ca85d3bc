/** `lib/cli.cjs` of a release: run/tokenclock.ts with all that it imports, in one file for Node. */
import path from "node:path";
import { build, type Plugin } from "esbuild";
import { pageScript } from "../../report/page/script";
import { root } from "../paths";
import { type ScenarioSettings, scenarioSettings } from "../scenario-settings";

/** Packages that stay packages beside the file: a native library, and fonts that are read as files. */
export const keptPackages = ["@resvg/resvg-js", "@expo-google-fonts/arimo"] as const;

const inBuild = (name: string) => path.join(root, "build", name);

/** Puts what a release has ready in the place of what a clone makes: bundles, binary, the page's script. */
const packed = (declared: readonly ScenarioSettings[]): Plugin => ({
  name: "packed",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /(^|\/)(bundle|k6|script)$/ }, ({ path: name, resolveDir }) => {
      const file = path.join(resolveDir, name);
      if (resolveDir === inBuild("release")) return undefined;
      return ["bundle", "k6", "script"].map(inBuild).includes(file)
        ? { path: path.join(inBuild("release"), `packed-${path.basename(name)}.ts`) }
        : undefined;
    });
    onLoad({ filter: /[\\/]report[\\/]page[\\/]script\.ts$/ }, () => ({
      contents: `const script = ${JSON.stringify(pageScript())};\nexport const pageScript = () => script;`,
      loader: "js",
    }));
    // What declares settings are the sources of scenarios, and what reads them is the bundler.
    onLoad({ filter: /[\\/]build[\\/]scenario-settings\.ts$/ }, () => ({
      contents: `
        const declared = ${JSON.stringify(declared)};
        export const settingsOfScenario = async (name) => declared.find(({ scenario }) => scenario === name);
        export const settingsOfScript = async () => {
          throw new Error("a release reads the settings of its own scenarios only (docs/own-scenarios.md)");
        };`,
      loader: "js",
    }));
  },
});

/** Writes the file; returns the names of npm's packages that are in it, sorted. */
export async function bundleCli(outfile: string): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: root,
    // Its name is not the running file's, so that no file's own `if (process.argv[1] === __filename)` starts a second command.
    stdin: {
      contents: `
        import { runProgram } from "./build/program";
        import { tokenclock } from "./run/tokenclock";
        void runProgram(() => tokenclock(process.argv.slice(2)));`,
      resolveDir: root,
      loader: "ts",
    },
    define: { __filename: '""' },
    ...{ outfile, bundle: true, platform: "node", target: "node20", format: "cjs", metafile: true, logLevel: "silent" },
    // The same bytes wherever node_modules really is.
    preserveSymlinks: true,
    minify: true,
    keepNames: true,
    // THIRD_PARTY_LICENSES has them.
    legalComments: "none",
    external: [...keptPackages],
    tsconfig: path.join(root, "tsconfig.json"),
    plugins: [packed(await scenarioSettings())],
  });
  const packages = Object.keys(metafile.inputs).flatMap((file) => packageOf(file) ?? []);
  return [...new Set(packages)].sort();
}

/** The package that a file of node_modules is of. */
export function packageOf(file: string): string | undefined {
  return /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!(?:.*\/)?node_modules\/)/.exec(file)?.[1];
}
