#!/bin/sh
# Fetches the release for this runner from RELEASE_URL, checks it, and puts its tokenclock on the PATH of later steps.
set -eu

case "$(uname -s)" in
  Linux) system=linux ;;
  Darwin) system=darwin ;;
  *) echo "tokenclock: the action runs on Linux and macOS" >&2 && exit 104 ;;
esac
case "$(uname -m)" in
  x86_64) architecture=amd64 ;;
  aarch64 | arm64) architecture=arm64 ;;
  *) echo "tokenclock: there is no release for $(uname -m)" >&2 && exit 104 ;;
esac

home=$RUNNER_TEMP/tokenclock
rm -rf "$home"
mkdir -p "$home"
cd "$home"
fetch() { curl --fail --silent --show-error --location --retry 3 --output "$2" "$1"; }
fetch "$RELEASE_URL/SHA256SUMS" SHA256SUMS
line=$(grep "  tokenclock-.*-$system-$architecture\\.tar\\.gz\$" SHA256SUMS) || {
  echo "tokenclock: $RELEASE_URL has no archive for $system/$architecture" >&2
  exit 104
}
archive=${line#*  }
fetch "$RELEASE_URL/$archive" "$archive"
if command -v sha256sum > /dev/null; then echo "$line" | sha256sum -c -; else echo "$line" | shasum -a 256 -c -; fi
tar -xzf "$archive" --strip-components=1
rm "$archive"
echo "$home" >> "$GITHUB_PATH"
echo "CI_TOKENCLOCK_HOME=$home" >> "$GITHUB_ENV"
"$home/tokenclock" --version
