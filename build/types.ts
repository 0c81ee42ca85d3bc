/** dist/tokenclock.d.ts: all types that the library's exports need, in one file that imports nothing. */
import path from "node:path";
import ts from "typescript";
import { root } from "./paths";
import { Problem } from "./program";

const entry = path.join(root, "lib", "index.ts");
const ambient = [path.join(root, "lib", "k6.d.ts"), path.join(root, "extension", "index.d.ts")];

/** The text of the file. @throws Problem for a type that would need another file, such as one of @types/k6. */
export function rolledUpTypes(): string {
  const config = path.join(root, "tsconfig.k6.json");
  const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(config, ts.sys.readFile).config, ts.sys, root);
  return rollUp(declarationsOf(entry, options), entry.replace(/\.ts$/, ".d.ts"), options);
}

/** The declarations of a file and of those that it imports, by path: each beside its source, where nothing is written. */
function declarationsOf(file: string, options: ts.CompilerOptions): Map<string, string> {
  const emitted = new Map<string, string>();
  const emit = { ...options, noEmit: false, declaration: true, emitDeclarationOnly: true, removeComments: false };
  ts.createProgram([file, ...ambient], emit).emit(undefined, (name, text) => emitted.set(path.resolve(name), text));
  return emitted;
}

/** Puts what the exports of `file` need into one text, each declaration once. `files` has their texts by path. */
function rollUp(files: ReadonlyMap<string, string>, file: string, options: ts.CompilerOptions): string {
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  // A source has the name of its declarations; only these are to be found.
  const isSource = (name: string) => files.has(path.resolve(name).replace(/(?<!\.d)\.ts$/, ".d.ts"));
  host.readFile = (name) => files.get(path.resolve(name)) ?? readFile(name);
  host.fileExists = (name) =>
    files.has(path.resolve(name)) || (!(name.endsWith(".ts") && isSource(name)) && fileExists(name));
  host.getSourceFile = (name, target, ...more) => {
    const text = files.get(path.resolve(name));
    return text === undefined ? getSourceFile(name, target, ...more) : ts.createSourceFile(name, text, target, true);
  };
  const program = ts.createProgram([file, ...ambient], options, host);
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(file);
  const module = source && checker.getSymbolAtLocation(source);
  if (!module) throw new Problem(`${file} is no module`);
  const ours = new Set([...files.keys(), ...ambient].map((name) => path.resolve(name)));

  const resolved = (symbol: ts.Symbol) =>
    symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const exported = checker.getExportsOfModule(module).map((symbol) => ({ name: symbol.name, of: resolved(symbol) }));
  const names = new Map<ts.Symbol, string>();
  const taken = new Set<string>();
  const queue: ts.Symbol[] = [];
  const nameOf = (symbol: ts.Symbol, wanted = symbol.name): string => {
    const known = names.get(symbol);
    if (known !== undefined) return known;
    let name = wanted;
    for (let k = 2; taken.has(name); k++) name = `${wanted}_${k}`;
    taken.add(name);
    names.set(symbol, name);
    queue.push(symbol);
    return name;
  };
  for (const { name, of } of exported) nameOf(of, name);

  /** Whether a symbol stands at the top of a file of ours. A name that is imported from elsewhere is a problem. */
  const isTop = (symbol: ts.Symbol): boolean => {
    const [first] = symbol.declarations ?? [];
    if (!first) return false; // a property of a mapped type
    const of = path.resolve(first.getSourceFile().fileName);
    const statement = ts.isVariableDeclaration(first) ? first.parent.parent : first;
    const atTop = ts.isSourceFile(statement.parent) || ts.isModuleBlock(statement.parent);
    if (!atTop) return false;
    if (ours.has(of)) return true;
    if (program.isSourceFileDefaultLibrary(first.getSourceFile())) return false;
    throw new Problem(`tokenclock.d.ts would need ${symbol.name} of ${path.relative(root, of)}; describe it in lib/`);
  };

  const blocks: string[] = [];
  for (let symbol = queue.shift(); symbol; symbol = queue.shift()) {
    for (const declaration of symbol.declarations ?? []) {
      const node = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
      blocks.push(textOf(node, symbol));
    }
  }

  /** A declaration with the names that things have here, without `export`. */
  function textOf(node: ts.Node, symbol: ts.Symbol): string {
    const file = node.getSourceFile();
    const begin = node.getStart(file, true);
    const edits: { from: number; to: number; text: string }[] = [];
    let declared = ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node);
    for (const modifier of (ts.canHaveModifiers(node) && ts.getModifiers(node)) || []) {
      if (modifier.kind === ts.SyntaxKind.DeclareKeyword) declared = true;
      if (modifier.kind !== ts.SyntaxKind.ExportKeyword && modifier.kind !== ts.SyntaxKind.DefaultKeyword) continue;
      edits.push({ from: modifier.getStart(file), to: modifier.end + 1, text: "" });
    }
    if (!declared) edits.push({ from: node.getStart(file), to: node.getStart(file), text: "declare " });
    const visit = (child: ts.Node): void => {
      if (ts.isImportTypeNode(child)) {
        const of = child.qualifier && checker.getSymbolAtLocation(child.qualifier);
        if (!of || !child.qualifier || child.isTypeOf) throw new Problem(`${file.fileName}: ${child.getText()}`);
        isTop(resolved(of));
        edits.push({ from: child.getStart(file), to: child.qualifier.end, text: nameOf(resolved(of)) });
        child.typeArguments?.forEach(visit);
        return;
      }
      if (ts.isIdentifier(child)) {
        const of = checker.getSymbolAtLocation(child);
        const to = of && resolved(of);
        if (to && (to === symbol || isTop(to)))
          edits.push({ from: child.getStart(file), to: child.end, text: nameOf(to) });
        return;
      }
      ts.forEachChild(child, visit);
    };
    visit(node);
    let text = file.text.slice(begin, node.end);
    for (const { from, to, text: by } of edits.sort((a, b) => b.from - a.from || b.to - a.to))
      text = text.slice(0, from - begin) + by + text.slice(to - begin);
    // In its file it may have stood further in.
    const indent = /[ \t]*$/.exec(file.text.slice(0, begin))?.[0] ?? "";
    return indent === "" ? text : text.replaceAll(`\n${indent}`, "\n");
  }

  const list = exported.map(({ name, of }) => (names.get(of) === name ? name : `${names.get(of)} as ${name}`));
  const head =
    "/** The types of tokenclock.js, in one file that needs no other. docs/own-scenarios.md shows how to use them. */";
  return `${[head, ...blocks, `export { ${list.sort().join(", ")} };`].join("\n\n")}\n`;
}
