/** Completion scripts for shells: static text, because a shell that starts Node at each key is slow. */
import { Problem } from "../build/program";
import { exitCodes } from "../lib/outcome/exit-codes";

export const shells = ["bash", "zsh", "fish"] as const;

/** A command with the words that a shell offers behind it; beside them come files. */
export interface Completed {
  readonly name: string;
  readonly summary: string;
  /** With their dashes. */
  readonly options: readonly string[];
  /** Those that end in = take a value right behind it. */
  readonly words: readonly string[];
}

/** The script for a shell. @throws Problem with 104 for one that has none. */
export function completionScript(shell: string, commands: readonly Completed[]): string {
  switch (shell) {
    case "bash":
      return bash(commands);
    case "zsh":
      return zsh(commands);
    case "fish":
      return fish(commands);
    default:
      throw new Problem(`completion is for ${shells.join(", ")}, not for ${shell || "no shell"}`, exitCodes.settings);
  }
}

const names = (commands: readonly Completed[]) => commands.map(({ name }) => name).join(" ");
const wordsOf = ({ options, words }: Completed) => [...words, ...options].join(" ");

function bash(commands: readonly Completed[]): string {
  const cases = commands.map((each) => `    ${each.name}) words="${wordsOf(each)}" ;;`);
  return `# bash: source <(tokenclock completion bash)
_tokenclock() {
  local current words=""
  # Up to the cursor, and not from the last = or :, where bash breaks a word.
  current="\${COMP_LINE:0:COMP_POINT}"
  current="\${current##*[[:space:]]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${names(commands)}" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ "\${#COMPREPLY[@]}" -eq 1 ] && [[ "\${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
complete -o default -F _tokenclock tokenclock`;
}

function zsh(commands: readonly Completed[]): string {
  const shown = commands.map(({ name, summary }) => `    '${name}:${summary.replaceAll("'", "")}'`);
  const cases = commands.map((each) => {
    const plain = [...each.words.filter((word) => !word.endsWith("=")), ...each.options].join(" ");
    const settings = each.words.filter((word) => word.endsWith("=")).join(" ");
    return `    ${each.name}) compadd -- ${plain}; compadd -S '' -- ${settings}; _files ;;`;
  });
  return `#compdef tokenclock
# zsh: source <(tokenclock completion zsh)
_tokenclock() {
  local -a commands=(
${shown.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case "\${words[2]}" in
${cases.join("\n")}
  esac
}
compdef _tokenclock tokenclock`;
}

function fish(commands: readonly Completed[]): string {
  const lines = commands.flatMap(({ name, summary, options, words }) => [
    `complete -c tokenclock -n __fish_use_subcommand -f -a ${name} -d '${summary.replaceAll("'", "")}'`,
    ...options.map(
      (option) => `complete -c tokenclock -n '__fish_seen_subcommand_from ${name}' -l ${option.replace(/^--/, "")}`,
    ),
    ...(words.length > 0
      ? [`complete -c tokenclock -n '__fish_seen_subcommand_from ${name}' -a '${words.join(" ")}'`]
      : []),
  ]);
  return `# fish: tokenclock completion fish | source\n${lines.join("\n")}`;
}
