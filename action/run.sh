#!/bin/sh
# Runs and gates the scenario, and compares it with the baseline where there is one. Always ends with 0: its outputs say how it
# ended (code), where the results are (results), what to tell the pull request (comment), and whether there is a new baseline
# (baseline).
set -eu

# true_or_false INPUT VALUE: what is misspelt is no "false".
true_or_false() {
  case "$2" in true | false) ;; *) echo "tokenclock: $1 is \"$2\"; it must be true or false" >&2 && exit 104 ;; esac
}
true_or_false baseline "$MAKE_BASELINE"
true_or_false comment "$COMMENT"

folder=$PWD/.tokenclock
export CI_BASELINE="$folder/baseline" CI_OUT="$folder/results" CI_TOKENCLOCK="$CI_TOKENCLOCK_HOME/tokenclock"
mkdir -p "$folder"

set --
old=$IFS
IFS='
'
for line in $SETTINGS; do
  case "$line" in
    *=*) set -- "$@" -e "$line" ;;
    *) echo "tokenclock: settings has $line, which is not NAME=value" >&2 && exit 104 ;;
  esac
done
IFS=$old

# Without a baseline the runs are gated alone. That is no pass: what was to be compared was not.
mode=check
if [ "$MAKE_BASELINE" = true ] || [ ! -d "$CI_BASELINE/run-1" ]; then mode=baseline; fi
code=0
sh "$CI_TOKENCLOCK_HOME/examples/ci.sh" "$mode" "$@" || code=$?

results=$CI_OUT
made=none
missing=
if [ "$mode" = baseline ] && [ "$code" = 0 ]; then
  results=$CI_BASELINE
  if [ "$MAKE_BASELINE" = true ]; then made=made; else missing=true code=96; fi
fi

comment=$folder/comment.md
{
  if [ "$code" = 0 ]; then echo "### tokenclock: passed"; else echo "### tokenclock: did not pass (exit code $code)"; fi
  if [ -n "$missing" ]; then
    echo
    echo "Every run passed its gate, but there is no baseline to compare with: run this job on the default branch, or with baseline: true."
  fi
  # The last verdicts: the comparison, and the gate of the last run that there is.
  if [ -f "$results/compare.md" ]; then echo && cat "$results/compare.md"; fi
  last=
  for each in "$results"/run-*; do
    if [ -f "$each/gate.md" ] && { [ -z "$last" ] || [ "$each/gate.md" -nt "$last" ]; }; then last=$each/gate.md; fi
  done
  if [ -n "$last" ]; then echo && cat "$last"; fi
} > "$comment"

{
  echo "code=$code"
  echo "results=$results"
  echo "comment=$comment"
  echo "baseline=$made"
} >> "$GITHUB_OUTPUT"
