import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import path from "node:path";
import { type BuildFailure, type BuildOptions, build, type Plugin } from "esbuild";
import { distDir, root, shown } from "./paths";
import { Problem } from "./program";
import { thinned } from "./source-map";
import { tableParserAlone } from "./table-parser";

/**
 * All VUs share what the bundle compiles to; each makes the functions and objects at its top, see bundleRequired. The
 * limit is for what was not meant to be in it: 100 kB are compiled in some 15 ms, once a process. The readers of
 * lib/workload/formats are 35 kB of it. Texts of docs are not in it (withoutDocs), nor is what another load shape reads or shows
 * (lib/lazy.ts).
 */
const maxBundleBytes = 187_000;

/** Scenarios that have more in them: of conversations the readers of their files, of a mix requests and conversations. */
const largerBundles: Readonly<Record<string, number>> = { conversations: 192_000, mixed: 205_000 };

/** The most bytes of a scenario's bundle. */
const maxBytesOf = (name: string): number => largerBundles[name] ?? maxBundleBytes;

/** The most bytes of one for a stock k6 with xk6-sse: what reads responses is in it. */
export const maxSseBytesOf = (): number => 193_000;

const nodeBuiltins = new Set(builtinModules);

/** k6 has none of Node's modules: an import of one would fail in the middle of a run, so it fails here. */
const refuseNodeBuiltins: Plugin = {
  name: "refuse-node-builtins",
  setup({ onResolve }) {
    onResolve({ filter: /^[a-z_:/]+$/ }, ({ path: name }) => {
      if (name.startsWith("node:") || nodeBuiltins.has(name)) {
        return { errors: [{ text: `${name} is a module of Node, which k6 does not have` }] };
      }
      return undefined;
    });
  },
};

/** Leaves k6's modules to k6, and the imports out of which a bundle uses nothing: each costs a VU the module and a function a name. */
const leaveToK6: Plugin = {
  name: "leave-to-k6",
  setup({ onResolve }) {
    onResolve({ filter: /^k6($|\/)/ }, ({ path: name }) => ({ path: name, external: true, sideEffects: false }));
  },
};

/**
 * Puts a file that is loaded by require(), with all that it imports, into one function, which runs where require() is
 * called. Each VU has a JavaScript engine of its own, where a function or object at the top of the bundle takes some
 * 0.7 kB; what stands inside of that function takes nothing until it runs.
 */
const bundleRequired: Plugin = {
  name: "bundle-required",
  setup({ initialOptions, onResolve, onLoad }) {
    const counterparts = (initialOptions.plugins ?? []).filter(({ name }) => name === useSseClient.name);
    const from = requiredFrom();
    onResolve({ filter: /^(\.|\/|[A-Za-z]:)/ }, ({ kind, path: name, resolveDir }) =>
      kind === "require-call" ? { path: `${path.resolve(resolveDir, name)}.ts`, suffix: "?required" } : undefined,
    );
    onLoad({ filter: /\.ts$/ }, async ({ path: file, suffix }) => {
      if (suffix !== "?required") return undefined;
      const resolveDir = path.dirname(file);
      // All that the file exports as one object: what esbuild makes of an entry of its own takes three times as many helpers.
      const entry = `import * as all from ${JSON.stringify(file)}; module.exports = all;`;
      const apart: BuildOptions = {
        ...{ entryPoints: undefined, stdin: { contents: entry, resolveDir, sourcefile: "required.js", loader: "js" } },
        ...{ outdir: resolveDir, format: "cjs", sourcemap: "inline", write: false },
        // It runs once a process, before or after the load; traces have its files and lines by the source map.
        minifyIdentifiers: true,
        plugins: [...counterparts, apartFromBundle(file, from), withoutDocs, refuseNodeBuiltins],
      };
      try {
        const { outputFiles = [] } = await build({ ...initialOptions, ...apart });
        return { contents: outputFiles[0]?.text, loader: "js", resolveDir };
      } catch (error) {
        return { errors: (error as BuildFailure).errors };
      }
    });
  },
};

/** Tables with texts that only docs, --help and reports show: what begins an entry, how many such texts it has, and their places. */
const documented = [
  // The last argument of setting(): a sentence.
  {
    file: "lib/settings/settings.ts",
    entry: /: setting\(/g,
    texts: 1,
    place: /(?<=^(?: {4}| {2}\w+: setting\(.*, ))"(?:[^"\\\n]|\\.)*[.)]"(?=,?\s*\),\n),?/gm,
  },
  // Two fields of an entry.
  {
    file: "lib/figures/metrics-table.ts",
    entry: /^ {2}llm_\w+: \{/gm,
    texts: 2,
    place: /^ {4}(?:definition|sameAs):\s+(?:"(?:[^"\\\n]|\\.)*"|`[^`\n]*`),$/gm,
  },
];

/** Leaves the texts out that nothing in k6 shows: 20 kB. Every line stays where it is. */
const withoutDocs: Plugin = {
  name: "without-docs",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/](settings|metrics-table)\.ts$/ }, ({ path: file, suffix }) => {
      const table = documented.find((each) => path.join(root, each.file) === file);
      if (!table || suffix !== "") return undefined;
      const source = readFileSync(file, "utf8").replaceAll("\r\n", "\n");
      const [entries, found] = [table.entry, table.place].map((each) => [...source.matchAll(each)].length);
      // A text of another form would stay, or something else would go.
      if (found !== (entries ?? 0) * table.texts)
        return { errors: [{ text: `${table.file} has ${entries} entries, of whose texts ${found} were found` }] };
      const lines = (text: string) => text.replace(/[^\n]+/g, "");
      return { contents: source.replace(table.place, lines), loader: "ts" };
    });
  },
};

/**
 * Where a required file finds what it imports: in the required file that it is, or in the one that exports all of it (export *). Others
 * would each have a copy. Required are the files that lib/lazy.ts names, and one that these alone require.
 */
function requiredFrom(): ReadonlyMap<string, string> {
  const lib = path.join(root, "lib");
  const lazy = readFileSync(path.join(lib, "lazy.ts"), "utf8");
  const names = [...lazy.matchAll(/require\("\.\/([^"]+)"\)/g)].map(([, name = ""]) => name);
  const from = new Map<string, string>();
  for (const file of [...names, "figures/tables"].map((name) => path.join(lib, name))) {
    from.set(file, file);
    const whole = readFileSync(`${file}.ts`, "utf8").matchAll(/^export \* from "(\.[^"]+)";$/gm);
    for (const [, name = ""] of whole) from.set(path.join(path.dirname(file), name), file);
  }
  return from;
}

/** How such a file is bundled: what it requires in turn, and what it imports of requiredFrom, stays one for all; else it gets copies. */
function apartFromBundle(entry: string, from: ReadonlyMap<string, string>): Plugin {
  return {
    name: "apart-from-bundle",
    setup({ onResolve }) {
      onResolve({ filter: /./ }, ({ kind, path: name, resolveDir }) =>
        kind === "require-call"
          ? { path: name.startsWith(".") ? path.join(resolveDir, name) : name, external: true }
          : undefined,
      );
      onResolve({ filter: /^\.{1,2}\// }, ({ path: name, resolveDir }) => {
        const file = from.get(path.join(resolveDir, name));
        return file !== undefined && `${file}.ts` !== entry ? { path: file, external: true } : undefined;
      });
      onResolve({ filter: /^k6($|\/)/ }, ({ path: name }) => {
        const text = `${name} is imported by a file that is loaded by require(), and may have state that a copy lacks`;
        return { errors: [{ text }] };
      });
    },
  };
}

/** Files of lib in whose place one that needs nothing but k6/x/sse stands: client-sse.ts for client.ts. */
const sseCounterparts = ["wire/client", "wire/open-wire", "settings/part-config"].map((name) =>
  path.join(root, "lib", name),
);

/** How files of lib import the module that client.ts gives them as one object. */
const moduleImport = /^import \{ (.*, )?tokenclock \} from ("[^"]*\/client");$/m;

/**
 * Puts lib/wire/client-sse.ts in the place of lib/wire/client.ts, and the like. What stands there for the module is no object that
 * every VU would make whole: its members are the file's exports, of which a bundle has what it uses.
 */
export const useSseClient: Plugin = {
  name: "use-sse-client",
  setup({ onResolve, onLoad }) {
    onLoad({ filter: /[\\/]lib[\\/].*\.ts$/ }, ({ path: file, suffix }) => {
      const source = readFileSync(file, "utf8");
      if (suffix !== "" || !moduleImport.test(source)) return undefined;
      const apart = (_: string, others: string | undefined, from: string) =>
        `import { ${others ?? ""} } from ${from}; import * as tokenclock from ${from};`;
      return { contents: source.replace(moduleImport, apart), loader: "ts" };
    });
    onResolve({ filter: /(^|\/)(client|open-wire|part-config)$/ }, ({ path: name, resolveDir }) => {
      const file = path.join(resolveDir, name);
      return sseCounterparts.includes(file) ? { path: `${file}-sse.ts` } : undefined;
    });
  },
};

/** The library by the names that scripts import it under, in the place of its bundle: tokenclock, or ./tokenclock.js beside them. */
export const libraryFromSource: Plugin = {
  name: "library-from-source",
  setup({ onResolve }) {
    onResolve({ filter: /^tokenclock$|(^|\/)tokenclock\.js$/ }, () => ({ path: path.join(root, "lib", "index.ts") }));
  },
};

/** The names of all scenarios: the files of scenarios/ without their endings. */
export function scenarioNames(): string[] {
  return readdirSync(path.join(root, "scenarios"))
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .map((file) => path.basename(file, ".ts"))
    .sort();
}

/**
 * Scenarios that need the module: k6 with xk6-sse has no place for a conversation between two requests, no levels that are opened in
 * mid-run, keeps no parts of a window, and sends nothing at a trace's times.
 */
const moduleOnly = new Set(["conversations", "capacity", "mixed", "soak", "trace-replay"]);

/** The scenarios that also run on a stock k6 with xk6-sse. */
export function sseScenarioNames(): string[] {
  return scenarioNames().filter((name) => !moduleOnly.has(name));
}

/**
 * Puts a file in its place whole: a k6 that starts beside this process reads the old one or the new one. One that is the same stays.
 * @throws Problem where it cannot be written, as on a full disk; nothing of it is left then.
 */
function replaceFile(file: string, contents: Uint8Array): void {
  if (existsSync(file) && Buffer.compare(readFileSync(file), contents) === 0) return;
  const fresh = `${file}.${process.pid}`;
  try {
    writeFileSync(fresh, contents);
    renameSync(fresh, file);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw new Problem(`${shown(file)} cannot be written: ${(error as Error).message}`);
  }
}

/**
 * Bundles entry files into `outDir`, one ES module each, by default with source maps ("external": which the bundle does not name);
 * returns the paths of the bundles. `entries` are paths, or paths by the names of their bundles. They find the datasets that ship in
 * `datasetsDir`.
 * @throws Problem for one that has more bytes than `mostBytesOf` its name, and for what cannot be bundled.
 */
export async function bundle(
  entries: readonly string[] | Readonly<Record<string, string>>,
  outDir: string,
  plugins: Plugin[] = [],
  sourcemap: boolean | "external" = true,
  mostBytesOf: (name: string) => number = maxBytesOf,
  datasetsDir = path.join(root, "datasets"),
): Promise<string[]> {
  const named: Record<string, string> = Array.isArray(entries)
    ? Object.fromEntries(entries.map((entry: string) => [path.basename(entry).replace(/\.[jt]s$/, ""), entry]))
    : { ...(entries as Readonly<Record<string, string>>) };
  const datasetsPath = `${path.relative(outDir, datasetsDir).replaceAll("\\", "/")}/`;
  mkdirSync(outDir, { recursive: true });
  try {
    const { outputFiles } = await build({
      absWorkingDir: root,
      entryPoints: { ...named },
      outdir: outDir,
      write: false,
      bundle: true,
      format: "esm",
      // What k6's engine understands without the slower path of its own transpiler.
      target: "es2022",
      platform: "neutral",
      mainFields: ["module", "main"],
      external: ["https://*"],
      sourcemap,
      // k6 reads the map at every start, and needs only places from it: with the sources in it that takes twice as long.
      sourcesContent: false,
      define: { DATASETS_PATH: JSON.stringify(datasetsPath) },
      minifySyntax: true,
      minifyWhitespace: true,
      // Names are longer than all else in a bundle. k6's stack traces have files and lines by the map, which the library goes without.
      minifyIdentifiers: sourcemap !== "external",
      tsconfig: path.join(root, "tsconfig.k6.json"),
      logLevel: "silent",
      plugins: [...plugins, bundleRequired, withoutDocs, tableParserAlone, leaveToK6, refuseNodeBuiltins],
    });
    for (const { path: file, contents, text } of outputFiles) {
      replaceFile(file, sourcemap === true && file.endsWith(".map") ? Buffer.from(thinned(text)) : contents);
    }
  } catch (error) {
    const { errors } = error as Partial<BuildFailure>;
    if (!errors) throw error;
    const lines = errors.map(({ text, location }) => (location ? `${location.file}:${location.line}: ${text}` : text));
    throw new Problem(`bundling failed:\n${lines.join("\n")}`);
  }
  return Object.keys(named).map((name) => {
    const file = path.join(outDir, `${name}.js`);
    const bytes = statSync(file).size;
    const most = mostBytesOf(name);
    if (bytes > most) {
      throw new Problem(`${path.relative(root, file)} has ${bytes} bytes, the limit is ${most}`);
    }
    return file;
  });
}

/**
 * Bundles the library of load tests: dist/tokenclock.js, which a script imports, with its types beside it (tokenclock.d.ts). k6
 * itself leaves types out of a script, so that one beside these two files needs nothing else.
 */
export async function bundleLibrary(outDir = distDir, datasetsDir?: string): Promise<string> {
  const [library = ""] = await bundle(
    { tokenclock: path.join(root, "lib", "index.ts") },
    outDir,
    [],
    // k6 warns of a map that is not there, and a user copies the two files.
    "external",
    () => maxLibraryBytes,
    datasetsDir,
  );
  // TypeScript itself, which is slow to load.
  const { rolledUpTypes } = await import("./types");
  replaceFile(path.join(outDir, "tokenclock.d.ts"), Buffer.from(rolledUpTypes()));
  // For scripts that import the module itself, which only a file of its own can describe.
  replaceFile(path.join(outDir, "k6-x-tokenclock.d.ts"), readFileSync(path.join(root, "extension", "index.d.ts")));
  return library;
}

/** The library has every load shape. */
const maxLibraryBytes = 284 * 1024;

/** Bundles every scenario, for the built k6 and for a stock k6 with xk6-sse; returns the names. */
export async function bundleScenarios(): Promise<string[]> {
  const names = scenarioNames();
  const entriesOf = (of: string[]) => of.map((name) => path.join(root, "scenarios", `${name}.ts`));
  await bundle(entriesOf(names), distDir);
  await bundle(entriesOf(sseScenarioNames()), path.join(distDir, "xk6-sse"), [useSseClient], true, maxSseBytesOf);
  return names;
}
