#!/usr/bin/env bash
# CPU seconds of what `make demo` builds before it trains (configuring and compiling, without ccache; earlier commits
# build their tests too), of each commit, and their ratio to the first. In one run, since machines differ.
#   scripts/measure_build.sh [COMMIT ...]       default: HEAD
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
commits=("$@")
((${#commits[@]})) || commits=(HEAD)
first=''
for commit in "${commits[@]}"; do
  id=$(git -C "$root" rev-parse --short "$commit^{commit}")
  git clone -q --shared "$root" "$scratch/$id"
  git -C "$scratch/$id" checkout -q "$id"
  TIMEFORMAT='%U %S'
  took=$({ time CCACHE_DISABLE=1 make -C "$scratch/$id" all > "$scratch/log" 2>&1; } 2>&1) ||
    { tail -20 "$scratch/log" >&2 && exit 1; }
  seconds=$(awk '{printf "%.0f", $1 + $2}' <<< "$took")
  first=${first:-$seconds}
  awk -v id="$id" -v s="$seconds" -v f="$first" 'BEGIN {printf "%s: %d CPU seconds, %.2f of the first\n", id, s, s / f}'
  rm -rf "${scratch:?}/$id"
done
