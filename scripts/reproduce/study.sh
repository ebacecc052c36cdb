#!/usr/bin/env bash
# What the scripts of studies share. A script sources it with its own arguments, then calls
#   study NAME FILE [OPTION of effllm sweep]...
# which runs configs/studies/FILE.yaml, or goes on with it, and writes its table and its page to docs/studies/NAME.md and .html. With
# --quick the study has a tenth of its budget, and all of it stands in studies/quick/NAME. What a run leaves behind but weights is
# kept in docs/studies/kept/NAME.tar.xz, from which another clone goes on where this one was stopped. Exit code: that of the sweep.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
effllm=${EFFLLM:-build/release/effllm}
quick=
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

# keep NAME FOLDER: plan, results, times and journals, but no weights; the same files give the same archive.
keep() {
  mkdir -p docs/studies/kept
  (cd "$2" && ls -d ./*.json study.yaml results timings failed configs runs/*/metrics.jsonl 2> /dev/null || true) |
    tar -C "$2" -T - --sort=name --mtime='2000-01-01 00:00Z' --owner=0 --group=0 --numeric-owner -cJf "docs/studies/kept/$1.tar.xz"
}

study() {
  local name=$1 file=configs/studies/$2.yaml folder=studies/$1 out=docs/studies kept=docs/studies/kept/$1.tar.xz code=0
  shift 2
  if [ -n "$quick" ]; then
    folder=studies/quick/$name out=$folder
  elif [ ! -d "$folder" ] && [ -f "$kept" ]; then
    mkdir -p "$folder"
    tar xJf "$kept" -C "$folder"
  fi
  "$effllm" sweep "$file" -o "$folder" "$@" || code=$?
  [ -n "$quick" ] || keep "$name" "$folder"
  [ $code = 0 ] || return $code
  mkdir -p "$out"
  "$effllm" compare "$folder" --markdown > "$out/$name.md"
  "$effllm" compare "$folder"
  "$effllm" report "$folder" -o "$out/$name.html"
}
