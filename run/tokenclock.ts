/**
 * `tokenclock COMMAND ...`: everything that tokenclock does, as one command. What stands behind a command's name reaches it as it
 * is: no npm and no parser of options takes a `--` or an option out of it.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { Command } from "commander";
import { scenarioNames } from "../build/bundle";
import { root } from "../build/paths";
import { Problem, runProgram } from "../build/program";
import { exitCodes } from "../lib/outcome/exit-codes";
import { settings } from "../lib/settings/settings";
import { codeOf } from "../report/cli/options";
import { type Completed, completionScript, shells } from "./completion";
import { extensionCommand } from "./extension-command";

interface Subcommand {
  readonly summary: string;
  /** Its arguments and options, for help and completion; undefined where the command prints its own. */
  describe?(): Promise<Command>;
  /** Resolves to the exit code. */
  run(argv: readonly string[]): Promise<number>;
}

// Loaded when asked for: the report's charts take longer to load than a short command takes.
const report = () => import("../report/cli/report");
const gate = () => import("../report/cli/gate");
const compare = () => import("../report/cli/compare");
const merge = () => import("../report/cli/merge");
const suite = () => import("./suite");
const k8s = () => import("./k8s");

/** A command of the k6 binary. */
const extension = (name: string, summary: string): Subcommand => ({
  summary,
  run: (argv) => extensionCommand(name, argv),
});

const subcommands: Readonly<Record<string, Subcommand>> = {
  run: {
    summary: "run a scenario and render its report",
    run: async (argv) => (await import("./start")).start(argv, "tokenclock run"),
  },
  report: {
    summary: "render results folders into report.html, tables and pictures",
    describe: async () => (await report()).commandLine(),
    run: (argv) => codeOf("report", async () => (await report()).main(argv)),
  },
  gate: {
    summary: "judge a results folder by SLOs and a profile",
    describe: async () => (await gate()).commandLine(),
    run: (argv) => codeOf("gate", async () => (await gate()).main(argv)),
  },
  compare: {
    summary: "judge whether runs B are worse than runs A",
    describe: async () => (await compare()).commandLine(),
    run: (argv) => codeOf("compare", async () => (await compare()).main(argv)),
  },
  merge: {
    summary: "make one result of the records of all runners of a run, and judge it",
    describe: async () => (await merge()).commandLine(),
    run: (argv) => codeOf("merge", async () => (await merge()).main(argv)),
  },
  suite: {
    summary: "measure prompt ingestion, KV cache and generation speed of a server",
    describe: async () => (await suite()).commandLine(),
    run: async (argv) => (await suite()).main(argv),
  },
  calibrate: extension("calibrate", "measure the client's own error on this machine"),
  simulate: extension("simulate", "serve the simulated LLM server"),
  coordinate: extension("coordinate", "be the meeting point of the runners of one run, and judge it"),
  k8s: {
    summary: "print the manifests of a run of several runners under k6-operator",
    describe: async () => (await k8s()).commandLine(),
    run: async (argv) => (await k8s()).main(argv),
  },
  completion: {
    summary: `print a completion script (${shells.join(", ")})`,
    describe: async () =>
      new Command("completion").description("Prints a completion script").argument("<shell>", shells.join(", ")),
    run: async ([shell = ""]) => {
      console.log(completionScript(shell, await completed()));
      return 0;
    },
  },
};

/** What the shells complete: each command with the words that may follow it. */
async function completed(): Promise<Completed[]> {
  const words: Readonly<Record<string, readonly string[]>> = {
    run: [...scenarioNames(), ...Object.keys(settings).map((name) => `${name}=`)],
    k8s: scenarioNames(),
    completion: shells,
  };
  return Promise.all(
    Object.entries(subcommands).map(async ([name, { summary, describe }]) => ({
      ...{ name, summary },
      options: ((await describe?.())?.options ?? []).flatMap(({ long }) => long ?? []),
      words: words[name] ?? [],
    })),
  );
}

/** The version of this tokenclock. */
function ownVersion(): string {
  const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { version: string };
  return version;
}

/** All commands, or a described one, as help shows them. */
async function helpOf(name?: string): Promise<string> {
  const program = new Command("tokenclock")
    .description("Load-tests LLM serving endpoints, measures where the bytes arrive, and gates releases by exit codes")
    .version(ownVersion())
    .addHelpText("after", "\nExit codes: docs/ci.md. Settings: docs/settings.md.");
  for (const [each, { summary, describe }] of Object.entries(subcommands)) {
    const command = (name === each ? await describe?.() : undefined) ?? new Command(each);
    program.addCommand(command.summary(summary));
    if (each === name) return command.helpInformation();
  }
  let text = "";
  program.configureOutput({ writeOut: (written) => (text += written) }).outputHelp();
  return text;
}

/** Whether the arguments of a command ask for its help. */
const asksForHelp = (argv: readonly string[]): boolean => argv.some((arg) => arg === "--help" || arg === "-h");

/** The whole of the command; resolves to the exit code. @throws Problem with 104 for a command that there is not. */
export async function tokenclock(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === "--version" || name === "-V") {
    console.log(ownVersion());
    return 0;
  }
  if (name === undefined || name === "--help" || name === "-h" || (name === "help" && rest[0] === undefined)) {
    console.log((await helpOf()).trimEnd());
    return name === undefined ? exitCodes.settings : 0;
  }
  if (name === "help") return tokenclock([...rest, "--help"]);
  const command = Object.hasOwn(subcommands, name) ? subcommands[name] : undefined;
  if (!command) {
    const known = Object.keys(subcommands).join(", ");
    throw new Problem(`there is no command ${name}; there are ${known}`, exitCodes.settings);
  }
  if (command.describe && asksForHelp(rest)) {
    console.log((await helpOf(name)).trimEnd());
    return 0;
  }
  return command.run(rest);
}

if (process.argv[1] === __filename) void runProgram(() => tokenclock(process.argv.slice(2)));
