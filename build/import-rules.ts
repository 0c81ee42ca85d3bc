import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";

/** Files and modules a folder's files may import, as paths from the project's folder without endings. */
interface Rule {
  /** Which files the rule is for. */
  files: RegExp;
  /** What they may import; a module of a package is given by its name. */
  allowed: RegExp;
  why: string;
}

const testFile = /\.test\.ts$/;

/** The two files that stand between the scenarios and a Go module; the second does it for a stock k6 with xk6-sse. */
const boundary = /^lib\/wire\/client(-sse)?\.ts$/;

/**
 * The pure files that name the module's types: what a level came to, and what rows of a file look like, are described once, in
 * extension/index.d.ts. All others have the types from these two.
 */
const contractReaders: readonly string[] = ["lib/figures/level-summary.ts", "lib/workload/formats/like.ts"];
const contract = "k6/x/tokenclock";

/** A rule of lib's rooms: beside these its files may import what is loaded late, and k6's own modules. */
function room(files: RegExp, lib: RegExp, why: string): Rule {
  return { files, allowed: new RegExp(`^lib/(lazy$|${lib.source})|^k6($|/(?!x/))`), why };
}

/** What other rooms of lib ask of the wire's room: the module's client, which imports nothing of lib but its figures. */
const client = "wire/client$";

const rules: Rule[] = [
  {
    files: /^scenarios\//,
    allowed: /^lib$|^k6($|\/(?!x\/))/,
    why: "scenarios import what every test may, lib/index.ts, and k6's own modules",
  },
  {
    files: /^thresholds\//,
    allowed: /^(lib\/figures\/(level-gate|metrics-table|profile|threshold)$|thresholds\/)/,
    why: "thresholds import the metric table, the shapes of a profile, a threshold and a level's own limits, and one another",
  },
  {
    files: boundary,
    allowed: /^(lib\/|k6($|\/))/,
    why: "the boundary imports lib and k6",
  },
  {
    files: /^lib\/(lazy|before-load|after-load)\.ts$/,
    allowed: /^(lib\/|thresholds\/|papaparse$)/,
    why: "what is loaded late comes from every room and from thresholds; none of it needs k6",
  },
  {
    files: /^lib\/[^/]+\.ts$/,
    allowed: /^lib\/|^k6($|\/(?!x\/))/,
    why: "lib/index.ts gives the names of all rooms, lib/open-test.ts puts them together",
  },
  room(
    /^lib\/figures\/capacity-lines\.ts$/,
    /figures\/|load\/capacity-search$/,
    "what a search found is put in words by the search's own types, which are pure",
  ),
  room(
    /^lib\/figures\//,
    /figures\//,
    "figures are pure, the report reads them too: they import nothing but one another",
  ),
  room(
    /^lib\/settings\/config\.ts$/,
    new RegExp(`settings/|${client}|workload/shipped-datasets$`),
    "the reader of settings declares the run to the module, and finds the shipped datasets",
  ),
  room(
    /^lib\/settings\//,
    /settings\/|figures\/|workload\/(distribution|prefix-groups|salt|wait|formats\/(columns|read))$/,
    "settings are pure: they read the notations of the workload, and the gate's profile",
  ),
  room(
    /^lib\/workload\//,
    new RegExp(`workload/|settings/|figures/|${client}`),
    "the workload reads settings, and files through the client; it does not know what sends it",
  ),
  room(
    /^lib\/wire\//,
    /wire\/|settings\/|figures\/|workload\/(prompt|words)$|abort$/,
    "the wire sends prompts; it knows no load shape and not where prompts come from",
  ),
  room(
    /^lib\/load\//,
    /load\/|settings\/|figures\/|workload\/|wire\/(client|llm-client|freed)$|abort$/,
    "the load carries the workload and says when it is sent; how, only the wire knows",
  ),
  room(
    /^lib\/outcome\//,
    new RegExp(`outcome/|settings/|figures/|${client}|load/levels$|workload/load-plan$`),
    "the outcome knows figures and settings, and no request",
  ),
  {
    files: /^build\/release\//,
    allowed: /^(build\/|report\/page\/script$|node:|esbuild$|commander$)/,
    why: "a release is made by build, and carries the report's script ready made",
  },
  {
    files: /^build\/(?!release\/)/,
    allowed: /^(build\/|lib\/|thresholds\/|node:|esbuild$|typescript$|commander$|@jridgewell\/sourcemap-codec$)/,
    why: "build imports build, lib's pure files, the gate profiles and Node",
  },
  {
    files: /^report\//,
    allowed:
      /^(report\/|lib\/|thresholds(\/|$)|build\/folder$|node:|commander$|echarts|esbuild$|@resvg\/resvg-js$|papaparse$)/,
    why: "report imports report, lib's pure files, the gate profiles, how a folder is made, and Node; it runs nothing and needs no build",
  },
  {
    files: /^run\//,
    allowed: /^(run\/|build\/|report\/|lib\/|node:|commander$|papaparse$)/,
    why: "run imports run, build, report, lib's pure files and Node",
  },
];

/** Every .ts file below the project's folders of code, as paths with forward slashes. */
function sourceFiles(root: string): string[] {
  return ["scenarios", "thresholds", "lib", "build", "report", "run", "test"].flatMap((folder) => {
    let names: string[] = [];
    try {
      names = readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" });
    } catch {
      // A folder without files is no folder in a clone.
    }
    return names
      .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
      .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"));
  });
}

/** What a file imports: paths from the project's folder without endings, or names of modules. */
export function importsOf(file: string, text: string): string[] {
  const { importedFiles } = ts.preProcessFile(text, true, true);
  return importedFiles.map(({ fileName }) => {
    if (!fileName.startsWith(".")) return fileName;
    return path.posix.join(path.posix.dirname(file), fileName).replace(/\.ts$/, "");
  });
}

/** The lines that say which file imports what it may not; `read` gives the text of a file. */
export function findViolations(files: readonly string[], read: (file: string) => string): string[] {
  const imports = new Map(files.map((file) => [file, importsOf(file, read(file))]));
  const lines: string[] = [];
  const resolve = (name: string) => files.find((file) => file === `${name}.ts` || file === `${name}/index.ts`);

  // Type imports vanish when the bundle is made, but preProcessFile does not tell them apart: they count as imports too, except
  // those of the contract in the files that may have them, which must be of types.
  const isContract = (file: string, name: string) =>
    contractReaders.includes(file) &&
    name === contract &&
    !new RegExp(`^(?:import|export) (?!type\\b)[^;]*"${contract}"`, "m").test(read(file));
  const needsK6 = new Map<string, boolean>();
  const usesK6 = (file: string): boolean => {
    const known = needsK6.get(file);
    if (known !== undefined) return known;
    needsK6.set(file, false);
    const found = (imports.get(file) ?? []).some((name) => {
      if (isContract(file, name)) return false;
      if (/^k6($|\/)/.test(name)) return true;
      const target = resolve(name);
      return target !== undefined && usesK6(target);
    });
    needsK6.set(file, found);
    return found;
  };

  for (const file of files) {
    const names = imports.get(file) ?? [];
    const inK6 = /^(scenarios|thresholds|lib)\//.test(file) && !testFile.test(file);
    const rule = rules.find(({ files: which }) => which.test(file));
    for (const name of names.filter((each) => !isContract(file, each))) {
      if (rule && !testFile.test(file) && !rule.allowed.test(name)) lines.push(`${file} imports ${name}: ${rule.why}`);
      const target = resolve(name);
      if (!inK6 && target?.startsWith("lib/") && usesK6(target)) {
        lines.push(`${file} imports ${name}, which needs k6: Node can only load lib's pure files`);
      }
    }
  }
  return lines;
}

/** k6 calls what a script exports, a file that stands in another's place has its exports, and tests hold scripts as texts. */
const calledElsewhere = /^scenarios\/|\/fixtures\/|-sse\.ts$|\/packed-[\w-]+\.ts$|\.test\.ts$/;

/** Functions and values that a file exports and no other file names, a line each. Types may be there for who reads a signature. */
export function unusedExports(files: readonly string[], read: (file: string) => string): string[] {
  const names = new Map(files.map((file) => [file, new Set(read(file).match(/\w+/g))]));
  return files
    .filter((file) => !calledElsewhere.test(file))
    .flatMap((file) =>
      [...read(file).matchAll(/^export (?:async )?(?:function\*?|const|let|class) (\w+)/gm)]
        .map(([, name = ""]) => name)
        .filter((name) => !files.some((other) => other !== file && names.get(other)?.has(name)))
        .map(
          (name) =>
            `${file} exports ${name}, which no other file names: leave export out, or the whole where it is unused`,
        ),
    );
}

/** The violations of the rules of imports and exports in the project at `root`, a line each. */
export function importViolations(root: string): string[] {
  const files = sourceFiles(root);
  const read = (file: string) => readFileSync(path.join(root, file), "utf8");
  return [...findViolations(files, read), ...unusedExports(files, read)];
}
