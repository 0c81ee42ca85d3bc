/** What a pipeline gets of a verdict: JUnit XML for its test view, Markdown for its summary page, JSON for programs. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { makeResultFolder, Unwritten, writeWhole } from "../../build/folder";
import { exitCodes as table } from "../../lib/outcome/exit-codes";

/** What a judgement came to. "refused": what was asked for cannot be judged, as with a setting that is not allowed. */
export type OutcomeState = "passed" | "failed" | "not valid" | "inconclusive" | "refused";

/** The exit code of each state. */
export const exitCodes: Readonly<Record<OutcomeState, number>> = {
  passed: table.passed,
  failed: table.failed,
  "not valid": table.notValid,
  inconclusive: table.inconclusive,
  refused: table.settings,
};

/** One thing that was judged. */
export interface Check {
  level: string;
  /** "llm_ttft p(99)<200", "TTFT p50". */
  name: string;
  verdict: "passed" | "failed" | "inconclusive" | "not judged";
  /** Value, limit and what the verdict rests on, in one line. */
  text: string;
}

/** A verdict with all that led to it. */
export interface Outcome {
  tool: "gate" | "compare" | "start" | "merge";
  /** What was judged: the names of the runs. */
  subject: string;
  state: OutcomeState;
  exitCode: number;
  /** The verdict in one line, as the terminal shows it last. */
  headline: string;
  /** Why there is no verdict: the reasons of "not valid" and "refused". */
  invalid: string[];
  checks: Check[];
  /** What else the JSON holds. */
  details?: Record<string, unknown>;
}

/** A state that needs no more than its own exit code. */
export function outcomeOf(
  tool: Outcome["tool"],
  subject: string,
  state: OutcomeState,
  headline: string,
  rest: Partial<Outcome> = {},
): Outcome {
  return { tool, subject, state, exitCode: exitCodes[state], headline, invalid: [], checks: [], ...rest };
}

const xmlEscapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;" };

/** Text as XML content or attribute value; characters that XML does not allow become a question mark. */
function xml(text: string): string {
  return (
    text
      .replace(/\p{Surrogate}/gu, "?")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what XML does not allow
      .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "?")
      .replace(/[&<>"']/g, (char) => xmlEscapes[char] as string)
      .replace(/[\n\r\t]/g, (char) => `&#${char.charCodeAt(0)};`)
  );
}

/**
 * The outcome in JUnit's XML, as GitLab, Jenkins and GitHub's reporters read it: a case a check. A failed one is a failure,
 * one that cannot be decided an error; a run that may not be judged is one case with an error.
 */
export function junitXml({ tool, subject, state, headline, invalid, checks }: Outcome): string {
  const cases = checks.map(({ level, name, verdict, text }) => {
    const open = `<testcase classname="${xml(`tokenclock.${tool}.${level}`)}" name="${xml(name)}" time="0"`;
    const tag = { passed: "", failed: "failure", inconclusive: "error", "not judged": "skipped" }[verdict];
    if (tag === "") return `    ${open}><system-out>${xml(text)}</system-out></testcase>`;
    return `    ${open}><${tag} type="${verdict}" message="${xml(text)}"/></testcase>`;
  });
  // Whatever the checks say, the suite must not look better than the exit code.
  const explained = checks.some(({ verdict }) => verdict === "failed" || verdict === "inconclusive");
  if (state !== "passed" && !explained) {
    const why = invalid.length > 0 ? invalid.join("; ") : headline;
    cases.unshift(
      `    <testcase classname="${xml(`tokenclock.${tool}`)}" name="verdict" time="0"><error type="${state}" message="${xml(why)}"/></testcase>`,
    );
  } else if (cases.length === 0) {
    cases.push(
      `    <testcase classname="${xml(`tokenclock.${tool}`)}" name="verdict" time="0"><system-out>${xml(headline)}</system-out></testcase>`,
    );
  }
  const count = (tag: string) => cases.filter((each) => each.includes(`<${tag} `)).length;
  const counts = `tests="${cases.length}" failures="${count("failure")}" errors="${count("error")}" skipped="${count("skipped")}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `  <testsuite name="${xml(`tokenclock ${tool}: ${subject}`)}" ${counts} time="0">`,
    ...cases,
    "  </testsuite>",
    "</testsuites>",
    "",
  ].join("\n");
}

/** Text as a cell of a Markdown table or a line of it: what means something there is escaped, HTML with it. */
function markdownText(text: string): string {
  return text
    .replace(/\s+/g, " ")
    .replace(/[\\`*_{}[\]#|~]/g, (char) => `\\${char}`)
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
}

const marks = { passed: "✅", failed: "❌", inconclusive: "❔", "not judged": "–" } as const;

/** The outcome in Markdown: the verdict, then a row a check. */
export function markdown({ tool, subject, headline, state, invalid, checks }: Outcome): string {
  const rows = checks.map(
    ({ level, name, verdict, text }) =>
      `| ${marks[verdict]} ${verdict} | ${markdownText(level)} | ${markdownText(name)} | ${markdownText(text)} |`,
  );
  return [
    `### ${state === "passed" ? "✅" : state === "inconclusive" ? "❔" : "❌"} tokenclock ${tool}: ${markdownText(subject)}`,
    "",
    markdownText(headline),
    "",
    ...(invalid.length > 1 ? [...invalid.map((reason) => `- ${markdownText(reason)}`), ""] : []),
    ...(rows.length > 0 ? ["| | level | metric | |", "|---|---|---|---|", ...rows, ""] : []),
  ].join("\n");
}

/** The outcome in JSON. */
export function outcomeJson({ details, ...outcome }: Outcome): string {
  return `${JSON.stringify({ ...outcome, ...details }, null, 2)}\n`;
}

/**
 * Writes TOOL.junit.xml, TOOL.md and TOOL.json into a folder, which is made where it is missing; the Markdown is also
 * appended to the file that GITHUB_STEP_SUMMARY names.
 * @throws Unwritten where one cannot be written.
 */
export function publish(outcome: Outcome, dir: string, env: NodeJS.ProcessEnv = process.env): void {
  makeResultFolder(dir);
  writeWhole(join(dir, `${outcome.tool}.junit.xml`), junitXml(outcome));
  writeWhole(join(dir, `${outcome.tool}.md`), markdown(outcome));
  writeWhole(join(dir, `${outcome.tool}.json`), outcomeJson(outcome));
  const page = env.GITHUB_STEP_SUMMARY;
  if (!page) return;
  try {
    appendFileSync(page, `${markdown(outcome)}\n`);
  } catch (error) {
    throw new Unwritten(page, error, "GITHUB_STEP_SUMMARY");
  }
}

/**
 * Publishes an outcome and returns the exit code. One that cannot be published whole does not pass: a pipeline would show an
 * older one.
 */
export function published(outcome: Outcome, dir: string | undefined): number {
  if (dir === undefined) return outcome.exitCode;
  try {
    publish(outcome, dir);
    return outcome.exitCode;
  } catch (error) {
    if (!(error instanceof Unwritten)) throw error;
    // What the user typed: `npm start` has no --output.
    const [command, option] = outcome.tool === "start" ? ["tokenclock", "RESULTS"] : [outcome.tool, "--output"];
    console.error(`${command}: the verdict is not written whole: ${error.message}; ${error.advice(option)}`);
    return outcome.exitCode || exitCodes.refused;
  }
}
