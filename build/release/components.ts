/** What a release is made of beside this project's own code: names, versions, licences and their texts. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { runCommand } from "../command";
import { root } from "../paths";
import { Problem } from "../program";
import { licenceOf } from "./licence";

export interface Component {
  /** Of a package URL: golang, npm or generic. */
  readonly type: "golang" | "npm" | "generic";
  readonly name: string;
  readonly version: string;
  /** SPDX identifier. */
  readonly licence: string;
  /** The licence files, whole. */
  readonly texts: readonly string[];
  /** As Go's checksum database or npm says it; "" where neither does. */
  readonly integrity: string;
}

const extensionDir = path.join(root, "extension");
const licenceFile = /^(licen[cs]e|copying|notice|unlicense)([._-].*)?$/i;

/** The texts of the licence files in a folder. */
function textsIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && licenceFile.test(entry.name))
    .map(({ name }) => name)
    .sort()
    .map((name) => readFileSync(path.join(folder, name), "utf8").replaceAll("\r\n", "\n").trim());
}

/** Packages without a licence file, whose own metadata names the licence. */
const withoutFile: Readonly<Record<string, { licence: string; why: string }>> = {
  "buf.build/gen/go/gogo/protobuf/protocolbuffers/go": {
    licence: "BSD-3-Clause",
    why: "Code that protoc-gen-go made of gogo/protobuf's descriptions (BSD-3-Clause, https://github.com/gogo/protobuf).",
  },
  "buf.build/gen/go/prometheus/prometheus/protocolbuffers/go": {
    licence: "Apache-2.0",
    why: "Code that protoc-gen-go made of Prometheus's descriptions (Apache-2.0, https://github.com/prometheus/prometheus).",
  },
};

/** @throws Problem where there is no text, or none of a licence that may be shipped. */
function component(rest: Omit<Component, "licence" | "texts">, folder: string, declared?: string): Component {
  const known = withoutFile[rest.name];
  const texts = textsIn(folder);
  const licence = licenceOf(texts) ?? known?.licence ?? declared;
  if (licence === undefined) throw new Problem(`${rest.name} ${rest.version} has no licence that is known (${folder})`);
  return { ...rest, licence, texts: texts.length > 0 ? texts : [known?.why ?? `Its package.json says: ${licence}.`] };
}

/** A module in the words of `go version -m`: name, version and checksum, those of its replacement where it has one. */
export function modulesIn(buildInfo: string): { name: string; version: string; integrity: string }[] {
  const modules: { name: string; version: string; integrity: string }[] = [];
  for (const line of buildInfo.split("\n")) {
    const [kind, name = "", version = "", integrity = ""] = line.trim().split("\t");
    if (kind === "dep") modules.push({ name, version, integrity });
    if (kind === "=>") modules[modules.length - 1] = { name, version, integrity };
  }
  return modules;
}

/** The Go modules in a binary, and Go's own library. */
export async function goComponents(binary: string): Promise<Component[]> {
  const go = async (...args: string[]) => {
    const { code, stdout, stderr } = await runCommand("go", args, { cwd: extensionDir });
    if (code !== 0) throw new Problem(`go ${args.join(" ")} failed: ${stderr.trim()}`);
    return stdout;
  };
  const info = await go("version", "-m", binary);
  const [goroot = "", goVersion = "", cache = ""] = (await go("env", "GOROOT", "GOVERSION", "GOMODCACHE")).split("\n");
  // As the module cache spells names: an upper-case letter is ! and the lower-case one.
  const escaped = (text: string) => text.replace(/[A-Z]/g, (letter) => `!${letter.toLowerCase()}`);
  const modules = modulesIn(info).map((each) =>
    component({ type: "golang", ...each }, path.join(cache, `${escaped(each.name)}@${escaped(each.version)}`)),
  );
  const library = { type: "golang" as const, name: "std", version: goVersion.replace(/^go/, ""), integrity: "" };
  // Distributions of Go may keep the licence elsewhere than its own archive does.
  const folder = [goroot, path.dirname(goroot)].find((each) => textsIn(each).length > 0);
  return [
    folder ? component(library, folder) : { ...library, licence: "BSD-3-Clause", texts: [goLicence] },
    ...modules,
  ];
}

const goLicence = "Go's standard library, Copyright The Go Authors: https://go.dev/LICENSE (BSD-3-Clause).";

/** A package of npm that lies in a folder. */
export function npmComponent(folder: string, integrity: string): Component {
  const { name, version, license } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as {
    name: string;
    version: string;
    license?: string;
  };
  return component({ type: "npm", name, version, integrity }, folder, license);
}

/** Node's runtime, of the package that has its binary; its LICENSE has those of all that is in it. */
export function nodeComponent(folder: string, version: string): Component {
  return { type: "generic", name: "node", version, integrity: "", licence: "MIT", texts: textsIn(folder) };
}

/** THIRD_PARTY_LICENSES: each licence's text once, under the components that have it. */
export function noticesOf(components: readonly Component[], own: string): string {
  const byText = new Map<string, Component[]>();
  for (const each of components) {
    const text = each.texts.join("\n\n");
    byText.set(text, [...(byText.get(text) ?? []), each]);
  }
  const blocks = [...byText].map(([text, of]) => {
    const names = of.map(({ name, version, licence }) => `${name} ${version} (${licence})`);
    return `${"=".repeat(80)}\n${names.join("\n")}\n${"-".repeat(80)}\n${text}\n`;
  });
  return `${own}\n${blocks.join("\n")}`;
}
