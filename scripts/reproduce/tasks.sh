#!/usr/bin/env bash
# scripts/reproduce/tasks.sh [--quick]: what has been published of tasks, at the scale of a CPU, on one thread.
#
# Parity (Grazzi et al. 2024, arXiv:2411.12537): trained on up to 40 bits, GRU, LSTM and the gated delta rule with negative
# eigenvalues go on to 256; recurrences whose transitions are positive, and attention, do not. Accuracy of the best of three
# seeds. MQAR (Arora et al. 2023, arXiv:2312.04927): attention answers all pairs, a recurrence with a small state does not.
# Ends with exit code 1 where one of these does not hold. Runs stay in runs/tasks-*, and go on where they were stopped. About an
# hour and a half; with --quick, which takes one seed, a quarter of the steps and no verdict, some minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
effllm=${EFFLLM:-build/release/effllm}
seeds="1 2 3" share=1 quick=
if [ "${1:-}" = --quick ]; then seeds=1 share=4 quick=-quick; fi
failed=0

# run CONFIG NAME STEPS SEED MIXER: trains every layer with this mixer.
run() {
  "$effllm" train -q --threads 1 --config "configs/tasks/$1.yaml" --name "$2" --resume auto --set "train.max_steps=$(($3 / share))" \
    --set "train.seed=$4" --set "data.seed=$4" --set "train.eval_every=0" \
    --set "model.layers[0].of[0].mixer=$5" "${@:6}" > /dev/null
}
# judge NAME VALUE above|below LIMIT
judge() {
  if [ -n "$quick" ]; then return; fi
  if awk "BEGIN {exit !($2 $([ "$3" = above ] && echo '>=' || echo '<') $4)}"; then
    echo "    holds: $1 has $2, $3 $4"
  else
    echo "    DOES NOT HOLD: $1 has $2, not $3 $4"
    failed=1
  fi
}

lengths=40,80,160,256
echo "parity, accuracy at lengths $lengths, best of seeds $seeds by the longest:"
parity() { # ARM MIXER above|below LIMIT
  local best=0 line= seed at result
  for seed in $seeds; do
    run parity "tasks-parity-$1-s$seed$quick" 1000 "$seed" "$2" --set model.d_model=64
    result=$("$effllm" eval "runs/tasks-parity-$1-s$seed$quick" --split test --threads 1 --lengths $lengths --json -q)
    at=$(grep -o '"lengths":.*' <<< "$result" | grep -o '"accuracy":[0-9.e-]*' | head -4 | cut -d: -f2)
    last=$(tail -1 <<< "$at")
    if [ -z "$line" ] || awk "BEGIN {exit !($last > $best)}"; then best=$last line=$(printf ' %.3f' $at); fi
  done
  printf '  %-22s%s\n' "$1" "$line"
  judge "$1" "$best" "$3" "$4"
}
parity gru '{type: gru}' above 0.99
parity lstm '{type: lstm}' above 0.99
parity gated_delta_negative '{type: gated_delta, heads: 2, negative_eigenvalues: true}' above 0.99
parity gated_delta '{type: gated_delta, heads: 2}' below 0.75
parity min_gru '{type: min_gru}' below 0.75
parity linear_attention '{type: linear_attention, heads: 2}' below 0.75
parity attention '{type: attention, heads: 2}' below 0.75

echo "mqar, accuracy with 4, 8 and 16 pairs in 64 tokens:"
mqar() { # ARM MIXER above|below LIMIT
  run mqar "tasks-mqar-$1$quick" 2000 1 "$2" --set 'data.pairs=[4, 8, 16]'
  result=$("$effllm" eval "runs/tasks-mqar-$1$quick" --split test --threads 1 --json -q)
  at=$(grep -o '"by_difficulty":.*' <<< "$result" | grep -o '"accuracy":[0-9.e-]*' | head -3 | cut -d: -f2)
  printf '  %-22s%s\n' "$1" "$(printf ' %.3f' $at)"
  judge "$1" "$(tail -1 <<< "$at")" "$3" "$4"
}
mqar attention '{type: attention, heads: 1}' above 0.99
mqar min_gru '{type: min_gru}' below 0.5
mqar gru '{type: gru}' below 0.5
exit $failed
