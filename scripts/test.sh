#!/usr/bin/env bash
# Runs the tests of a build folder, counting as it goes; the last line is "N passed, N failed".
# A program that takes 20 minutes of CPU time is ended: that limit a busy machine does not reach sooner.
set -uo pipefail
build=${1:?usage: scripts/test.sh BUILD_FOLDER}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
ulimit -t 1200

# ctest's line of a test that passed becomes a counter: in place on a terminal, else a line each twentieth.
terminal='' clear=''
[[ -t 1 ]] && terminal=1 clear=$'\r\e[K'
show() {
  local line n of said=0
  while IFS= read -r line; do
    if [[ $line =~ ^\ *([0-9]+)/([0-9]+)\ Test\ +#[0-9]+: ]]; then
      n=${BASH_REMATCH[1]} of=${BASH_REMATCH[2]}
      [[ $line == *" Passed "* ]] || printf '%s%s\n' "$clear" "$line"
      if [[ $terminal ]]; then
        printf '%s%d of %d tests' "$clear" "$n" "$of"
        ((n < of)) || printf '%s' "$clear"
      elif ((20 * n / of > said)); then
        said=$((20 * n / of))
        printf '%d of %d tests\n' "$n" "$of"
      fi
    elif [[ ! $line =~ ^\ *Start\ +[0-9]+: ]]; then
      printf '%s%s\n' "$clear" "$line"
    fi
  done
}

ctest --test-dir "$build" --output-on-failure -j "$(nproc)" 2>&1 | tee "$log" | show
status=${PIPESTATUS[0]}
total=$(sed -n 's/.*tests failed out of \([0-9]*\).*/\1/p' "$log" | tail -1)
failed=$(sed -n 's/.*tests passed, \([0-9]*\) tests failed.*/\1/p' "$log" | tail -1)
echo "$((${total:-0} - ${failed:-0})) passed, ${failed:-1} failed"
exit "$status"
