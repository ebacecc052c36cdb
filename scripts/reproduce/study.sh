#!/usr/bin/env bash
# What the scripts of studies share. A script sources it with its own arguments, then calls
#   study NAME FILE [OPTION of effllm sweep]...
# which runs configs/studies/FILE.yaml, or goes on with it, and writes its table and its page to docs/studies/NAME.md and .html. With
# --quick the study has a tenth of its budget, and all of it stands in studies/quick/NAME; where the script has set `once`, each arm is
# trained once, at one rate, and scored on little text. What a run leaves behind but weights is kept in docs/studies/kept/NAME.tar.xz, from
# which another clone goes on where this one was stopped. Exit code: that of the sweep.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
effllm=${EFFLLM:-build/release/effllm}
quick= once=
for word in "$@"; do
  case $word in
    --quick) quick=1 ;;
    *)
      echo "usage: $0 [--quick]" >&2
      exit 2
      ;;
  esac
done

# corpus NAME: fetched where it is not there.
corpus() { [ -f "data/$1.txt" ] || scripts/fetch_data.sh "$1"; }

# keep NAME FOLDER: plan, results, times, what ran where, and of journals the evaluations, but no weights; the same files
# give the same archive.
keep() {
  local part=$(mktemp -d)
  (cd "$2" && ls -d ./*.json study.yaml results timings predicted failed configs lengths runs/*/provenance.json 2> /dev/null || true) |
    tar -C "$2" -T - -cf - | tar -C "$part" -xf -
  for journal in "$2"/runs/*/metrics.jsonl; do
    [ -f "$journal" ] || continue
    mkdir -p "$part/runs/$(basename "$(dirname "$journal")")"
    grep -E '^\{"type":"(header|val|test)"' "$journal" > "$part/runs/$(basename "$(dirname "$journal")")/metrics.jsonl" || true
  done
  mkdir -p docs/studies/kept
  tar -C "$part" --sort=name --mtime='2000-01-01 00:00Z' --owner=0 --group=0 --numeric-owner -cJf "docs/studies/kept/$1.tar.xz" .
  rm -r "$part"
}

study() {
  local name=$1 file=configs/studies/$2.yaml folder=studies/$1 code=0
  shift 2
  if [ -n "$quick" ]; then
    folder=studies/quick/$name
    if [ -n "$once" ]; then
      brief "$file" "studies/quick/files/$name.yaml"
      file=studies/quick/files/$name.yaml
    fi
  else
    restore "$name" "$folder"
  fi
  "$effllm" sweep "$file" -o "$folder" "$@" || code=$?
  [ -n "$quick" ] || keep "$name" "$folder"
  [ $code = 0 ] || return $code
  tell "$name" "$folder"
}
