/** The shell commands that a page of documentation shows. */
import { execFileSync } from "node:child_process";

/** A command as the page has it, on one line and without its comment. */
export interface ShownCommand {
  readonly command: string;
  /** It stands behind a "#": what to start first, such as a server. */
  readonly commented: boolean;
}

/** The fenced blocks of some languages. */
function blocksOf(markdown: string, languages: RegExp): string[] {
  return [...markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```/gm)]
    .filter(([, language = ""]) => languages.test(language))
    .map(([, , block = ""]) => block);
}

/** The commands of the blocks marked sh, bash, shell or console (there, of the lines behind a prompt). */
export function commandsOf(markdown: string): ShownCommand[] {
  return blocksOf(markdown, /^(sh|bash|shell|console)$/).flatMap((block) => {
    const lines = block.replace(/\\\n\s*/g, " ").split("\n");
    const prompted = lines.some((line) => line.startsWith("$ "));
    return lines.flatMap((line) => {
      const text = prompted ? (/^\$ (.*)$/.exec(line)?.[1] ?? "") : line;
      const commented = /^# *((?:bin\/k6|npm) .*)$/.exec(text)?.[1];
      const command = (commented ?? text).replace(/(^|\s)#.*$/, "").trim();
      return command === "" ? [] : [{ command, commented: commented !== undefined }];
    });
  });
}

/** The words of a command as a shell splits them. Placeholders such as <run> have to be filled in before. */
export function wordsOf(command: string): string[] {
  return execFileSync("sh", ["-c", `set -f; printf '%s\\0' ${command}`], { encoding: "utf8" })
    .split("\0")
    .slice(0, -1);
}
