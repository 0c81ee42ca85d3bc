#!/bin/sh
# Unpacks a release into a folder, as the image has it: install.sh ARCHIVE FOLDER [BIN]
#
# k6 may take CAP_NET_RAW where the container has it, without being root. The capability is permitted and not effective: an
# effective one would keep k6 from starting at all where the container lacks it, as it does under Kubernetes' Restricted policy.
set -eu

archive=$1
folder=$2
bin=${3:-}

# Where SHA256SUMS lies beside the archive, it is the one that was released.
if [ -f "$(dirname "$archive")/SHA256SUMS" ]; then
  (cd "$(dirname "$archive")" && grep "  $(basename "$archive")\$" SHA256SUMS | sha256sum -c -)
fi
mkdir -p "$folder"
tar -xzf "$archive" -C "$folder" --strip-components=1
setcap cap_net_raw=p "$folder/bin/k6"
# Any user may read it.
chmod -R go+rX "$folder"
if [ -n "$bin" ]; then
  mkdir -p "$bin"
  ln -sf "$folder/bin/k6" "$folder/tokenclock" "$bin/"
fi
