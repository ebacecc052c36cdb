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

# keep NAME FOLDER: plan, results, times and journals, but no weights; the same files give the same archive.
keep() {
  mkdir -p docs/studies/kept
  (cd "$2" && ls -d ./*.json study.yaml results timings failed configs lengths runs/*/metrics.jsonl 2> /dev/null || true) |
    tar -C "$2" -T - --sort=name --mtime='2000-01-01 00:00Z' --owner=0 --group=0 --numeric-owner -cJf "docs/studies/kept/$1.tar.xz"
}

# restore NAME FOLDER: what was kept, where the folder is not there.
restore() {
  [ ! -d "$2" ] && [ -f "docs/studies/kept/$1.tar.xz" ] || return 0
  mkdir -p "$2"
  tar xJf "docs/studies/kept/$1.tar.xz" -C "$2"
}

# brief FILE COPY: the study with one seed, without `tune` and what needs it, a tenth of the FLOPs that arms set, and 16,384 tokens scored
# where it has a text.
brief() {
  local scored='{split: test, max_tokens: 16384}'
  if grep -q '^data: {task' "configs/studies/$(sed -n 's/^base: //p' "$1")"; then scored='{split: test}'; fi
  mkdir -p "$(dirname "$2")"
  sed -e "s|^base: |base: $PWD/configs/studies/|" -e 's/^seeds: .*/seeds: 1/' -e '/^tune/d' -e "s/^eval: .*/eval: $scored/" \
    -e 's/\("train.max_flops": [0-9.]*\)e12/\1e11/' "$1" > "$2"
}

# tell NAME FOLDER: table and page of a study that has ended.
tell() {
  local out=docs/studies
  [ -z "$quick" ] || out=$2
  mkdir -p "$out"
  "$effllm" compare "$2" --markdown > "$out/$1.md"
  "$effllm" compare "$2"
  "$effllm" report "$2" -o "$out/$1.html"
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
