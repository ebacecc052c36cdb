#!/usr/bin/env bash
# Puts the generated tables into README.md, or with --check says whether they are up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
effllm=${EFFLLM:-build/release/effllm}
new=$(mktemp)
trap 'rm -f "$new"' EXIT
awk -v effllm="$effllm" '
  /^<!-- list / { print; split($0, w, " "); system(effllm " list " w[3] " --markdown"); skip = 1; next }
  /^<!-- end -->/ { skip = 0 }
  !skip { print; fflush() }' README.md > "$new"
if [ "${1:-}" = --check ]; then
  diff -u README.md "$new" || { echo "README.md: run scripts/update_readme.sh" >&2; exit 1; }
else
  cat "$new" > README.md
fi
