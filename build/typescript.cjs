// Lets Node load this project's TypeScript: `node -r ./build/typescript.cjs FILE`. Types are checked by `npm run check`; here
// ts-node takes the syntax off, once for each content of a file: loading TypeScript takes a second of each start otherwise.
"use strict";

const { createHash } = require("node:crypto");
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require("node:fs");
const path = require("node:path");

const root = path.join(__dirname, "..");
const read = (...name) => readFileSync(path.join(root, ...name), "utf8");

const project = path.join(root, "tsconfig.json");

/** All that decides what a source becomes, except the source. */
const compiler = [
  ...["typescript", "ts-node"].map((name) => JSON.parse(read("node_modules", name, "package.json")).version),
  ...["tsconfig.base.json", "tsconfig.json"].map((name) => read(name)),
].join("\n");

let service;

/** What ts-node makes of a source, with its source map; it loads TypeScript only now. */
function compile(source, file) {
  service ??= require("ts-node").create({ transpileOnly: true, project });
  return service.compile(source, file);
}

/** The JavaScript of a file, kept below .cache/ with a digest of what it was made of as its last line. */
function javaScriptOf(file) {
  const source = readFileSync(file, "utf8");
  const digest = `\n//${createHash("sha256").update(`${compiler}\n${file}\n${source}`).digest("hex")}`;
  const kept = path.join(root, ".cache", "typescript", `${path.relative(root, file).replaceAll("..", "__")}.js`);
  try {
    const text = readFileSync(kept, "utf8");
    if (text.endsWith(digest)) return text;
  } catch {
    // It was not compiled yet.
  }
  const text = compile(source, file) + digest;
  try {
    // Several processes may do so at once, and none may read half a file.
    mkdirSync(path.dirname(kept), { recursive: true });
    const fresh = `${kept}.${process.pid}`;
    writeFileSync(fresh, text);
    renameSync(fresh, kept);
  } catch {
    // A folder that cannot be written costs the next start the same time.
  }
  return text;
}

process.setSourceMapsEnabled(true);
require.extensions[".ts"] = (module, file) => module._compile(javaScriptOf(file), file);
