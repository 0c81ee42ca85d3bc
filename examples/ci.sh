#!/bin/sh
# Gates each version of an LLM server: by limits, and against a baseline of several runs. docs/ci.md explains it.
#
#   BASE_URL=http://server:8000/v1 examples/ci.sh baseline -e CONCURRENCY=8 -e REQUESTS=300
#   BASE_URL=http://server:8000/v1 examples/ci.sh check    -e CONCURRENCY=8 -e REQUESTS=300
#
# baseline measures the server CI_RUNS times, judges each run, and keeps the runs in CI_BASELINE when all of them pass.
# check does the same with the version to be released, and compares its runs with those of the baseline.
#
# The exit code is the first that is not 0 (docs/ci.md has the table). Every run and the comparison leave JUnit XML, Markdown
# and JSON below CI_OUT; where GITHUB_STEP_SUMMARY is set, the Markdown is appended to it.
set -eu

usage() {
  echo "usage: BASE_URL=http://host:8000/v1 $0 baseline|check [-e SETTING=value ...]" >&2
  exit 104
}

# The commands: those of an unpacked release where CI_TOKENCLOCK names its tokenclock, else npm's scripts of this clone.
command=${CI_TOKENCLOCK:-}
case "$command" in "" | /*) ;; *) command=$PWD/$command ;; esac
tokenclock() {
  if [ -n "$command" ]; then
    "$command" "$@"
    return
  fi
  name=$1
  shift
  case "$name" in
    run)
      name=$1
      shift
      npm start "$name" -- "$@"
      ;;
    *) npm run -s "$name" -- "$@" ;;
  esac
}

[ $# -gt 0 ] || usage
mode=$1
shift
case "$mode" in baseline | check) ;; *) usage ;; esac
[ -n "${BASE_URL:-}" ] || usage
export BASE_URL

# The scenario, how many runs a side, and where they are kept. Paths are those of the caller.
scenario=${CI_SCENARIO:-concurrency-sweep}
runs=${CI_RUNS:-16}
case "${CI_BASELINE:-baseline}" in /*) baseline=$CI_BASELINE ;; *) baseline=$PWD/${CI_BASELINE:-baseline} ;; esac
case "${CI_OUT:-results/ci}" in /*) out=$CI_OUT ;; *) out=$PWD/${CI_OUT:-results/ci} ;; esac
# What gate and compare are to judge by beside the runs' own thresholds, such as CI_GATE="--slo-ttft 500 --percentile 95".
gate=${CI_GATE:-}
compare=${CI_COMPARE:-}

# No run at all would be one that nothing speaks against.
case "$runs" in
  "" | 0* | *[!0-9]*)
    echo "$0: CI_RUNS=$runs is not a whole number from 1" >&2
    exit 104
    ;;
esac

if [ "$mode" = check ] && [ ! -d "$baseline/run-1" ]; then
  echo "$0: there is no baseline in $baseline; make one with: $0 baseline" >&2
  exit 104
fi

# Removes a folder of an earlier run of this script, and no other.
remove() {
  if [ -e "$1" ] && [ ! -e "$1/run-1" ] && [ -n "$(ls -A "$1")" ]; then
    echo "$0: $1 holds something else than runs; name another folder" >&2
    exit 104
  fi
  rm -rf "$1"
}

cd "$(dirname "$0")/.."
remove "$out"
mkdir -p "$out"

# Measure. The first run that does not pass ends it, with its exit code.
i=1
while [ "$i" -le "$runs" ]; do
  echo "== $mode, run $i of $runs"
  tokenclock run "$scenario" -e BASE_URL="$BASE_URL" -e RESULTS="$out/run-$i" "$@"
  # shellcheck disable=SC2086 # the options are words
  tokenclock gate "$out/run-$i" $gate
  i=$((i + 1))
done

if [ "$mode" = check ]; then
  echo "== comparison with the baseline"
  # shellcheck disable=SC2086
  tokenclock compare --baseline "$baseline"/run-* --candidate "$out"/run-* --output "$out" $compare
  exit
fi

# All of them passed: they are the baseline now.
remove "$baseline"
mkdir -p "$(dirname "$baseline")"
mv "$out" "$baseline"
echo "== $runs runs are the baseline in $baseline"
