/** What a load test declares of its settings, found by running its script up to the point where it reads them. */
import path from "node:path";
import vm from "node:vm";
import { build, type Plugin } from "esbuild";
import { exitCodes } from "../lib/outcome/exit-codes";
import type { Declaration } from "../lib/settings/parse-config";
import { libraryFromSource } from "./bundle";
import { root, shown } from "./paths";
import { Problem } from "./program";

const configFile = path.join(root, "lib", "settings", "config");

/** Puts this in the place of lib/settings/config.ts: reading the settings ends the script with what it declares. */
const declare: Plugin = {
  name: "declare",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /(^|\/)config$/ }, ({ path: name, resolveDir }) =>
      path.join(resolveDir, name) === configFile ? { path: "config", namespace: "declare" } : undefined,
    );
    onLoad({ filter: /./, namespace: "declare" }, () => ({
      contents: `
        export function readConfig(declaration) { throw { declaration }; }
        export function readOwn({ value }) { return value; }
        export const digests = undefined;
        export const demand = () => {}, orRefuse = (read) => read(), shownSettings = () => ({});
        export const userPath = (path) => path, shippedPath = (path) => path;
        export const readMix = () => [];`,
      loader: "js",
    }));
  },
};

/** Stands for k6's modules: a function, a class and an object with every property. */
function anything(): unknown {
  const get = (_: object, name: string | symbol): unknown =>
    name === Symbol.toPrimitive ? () => "" : name === "__esModule" ? true : any;
  // A bundle makes of a module with a default export an object that has this one's prototype.
  const prototype = new Proxy({}, { get });
  // No arrow function: of such a one there is no `new`.
  const any: unknown = new Proxy(function any() {}, {
    get,
    getPrototypeOf: () => prototype,
    apply: () => any,
    construct: () => any as object,
  });
  return any;
}

/**
 * The declaration of the test in a script. @throws Problem with exit code 104 where the script opens none, and what the script itself
 * throws.
 */
export async function declarationOf(file: string): Promise<Declaration> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [file],
    ...{ bundle: true, write: false, format: "cjs", platform: "neutral", target: "es2022", logLevel: "silent" },
    mainFields: ["module", "main"],
    external: ["k6", "k6/*", "https://*", "papaparse", "stream"],
    define: { DATASETS_PATH: '""', "import.meta.resolve": "String" },
    plugins: [libraryFromSource, declare],
  });
  const globals = {
    __VU: 0,
    __ITER: 0,
    __ENV: {},
    console,
    open: () => "",
    require: anything,
    module: {},
    exports: {},
  };
  try {
    vm.runInNewContext(outputFiles[0]?.text ?? "", { ...globals, module: { exports: {} } });
  } catch (error) {
    const { declaration } = error as { declaration?: Declaration };
    if (declaration) return declaration;
    throw error;
  }
  throw new Problem(`${shown(file)} opens no test: it exports nothing of openTest()`, exitCodes.settings);
}
