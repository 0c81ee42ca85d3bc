// Runs a TypeScript program of this project from a fresh clone: `node build/bootstrap.cjs run/start.ts ARGS...`.
// Plain JavaScript without dependencies, because it is what fetches them.
"use strict";

const { spawnSync } = require("node:child_process");
const { existsSync, readFileSync } = require("node:fs");
const path = require("node:path");

const root = path.join(__dirname, "..");

/** Why the installed packages are not those of package-lock.json, or "" when they are. */
function staleReason() {
  const installedPath = path.join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installedPath)) return "they are not installed yet";
  const wanted = JSON.parse(readFileSync(path.join(root, "package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(readFileSync(installedPath, "utf8")).packages;
  for (const [name, { version, optional }] of Object.entries(wanted)) {
    // Optional packages are binaries of other systems; npm leaves those out.
    if (name === "" || optional) continue;
    if (installed[name]?.version !== version) return `${path.posix.basename(name)} ${version} is missing`;
  }
  return "";
}

/** Installs the packages of package-lock.json if need be; ends the process where that fails. */
function installPackages() {
  const reason = staleReason();
  if (reason === "") return;
  console.log(`tokenclock: installing npm packages (${reason})`);
  // Through the npm that runs us where there is one: on Windows `npm` alone is a script that spawn cannot start.
  const npmCli = process.env.npm_execpath;
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  const options = { cwd: root, stdio: ["ignore", "inherit", "inherit"] };
  const done = npmCli?.endsWith(".js")
    ? spawnSync(process.execPath, [npmCli, ...args], options)
    : spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
  if (done.status !== 0) {
    console.error("tokenclock: `npm ci` failed; run it by hand in the project's folder to see why");
    process.exit(1);
  }
}

// util.parseEnv came with 20.12.
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 12)) {
  console.error(`tokenclock: needs Node 20.12 or later, this is ${process.version}`);
  process.exit(1);
}

installPackages();

require("./typescript.cjs");

const program = path.resolve(root, process.argv[2] ?? "");
if (!existsSync(program)) {
  console.error(`tokenclock: there is no ${path.relative(root, program)}`);
  process.exit(1);
}
process.argv.splice(1, 2, program);
require(program);
