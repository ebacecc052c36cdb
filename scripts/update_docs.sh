#!/usr/bin/env bash
# Fills in the generated parts of the documents below, or with --check says whether they are up to date, and whether the
# measured table of docs/performance.md has every mechanism, and whether what the documents name exists.
# Between `<!-- run COMMAND -->` and `<!-- end -->` stands what COMMAND prints.
set -euo pipefail
cd "$(dirname "$0")/.."
export EFFLLM=${EFFLLM:-$PWD/build/release/effllm}
new=$(mktemp)
trap 'rm -f "$new"' EXIT
stale=0
for file in README.md docs/mechanisms.md docs/configuration.md docs/ops.md docs/studies.md docs/tasks.md src/README.md; do
  awk '
    /^<!-- run / {
      print
      command = $0
      sub(/^<!-- run /, "", command)
      sub(/ -->$/, "", command)
      sub(/^effllm /, ENVIRON["EFFLLM"] " ", command)
      fflush()
      if (system(command) != 0) exit 1
      skip = 1
      next
    }
    /^<!-- end -->/ { skip = 0 }
    !skip { print; fflush() }' "$file" > "$new"
  if [ "${1:-}" = --check ]; then
    diff -u "$file" "$new" || { echo "$file: run scripts/update_docs.sh" >&2; stale=1; }
  else
    cat "$new" > "$file"
  fi
done
if [ "${1:-}" = --check ]; then
  scripts/source_tables.py bench > /dev/null || stale=1
  scripts/check_doc_names.py || stale=1
fi
exit $stale
