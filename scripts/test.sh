#!/usr/bin/env bash
# Runs the tests of a build folder; the last line is "N passed, N failed".
set -uo pipefail
build=${1:?usage: scripts/test.sh BUILD_FOLDER}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
ctest --test-dir "$build" --output-on-failure -j "$(nproc)" 2>&1 | tee "$log" | grep -v -E '^ *(Start +[0-9]+:|[0-9]+/[0-9]+ Test .*Passed)'
status=${PIPESTATUS[0]}
total=$(sed -n 's/.*tests failed out of \([0-9]*\).*/\1/p' "$log" | tail -1)
failed=$(sed -n 's/.*tests passed, \([0-9]*\) tests failed.*/\1/p' "$log" | tail -1)
echo "$((${total:-0} - ${failed:-0})) passed, ${failed:-1} failed"
exit "$status"
