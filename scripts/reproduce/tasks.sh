#!/usr/bin/env bash
# scripts/reproduce/tasks.sh [--quick]: parity (Grazzi et al. 2024, arXiv:2411.12537) at the scale of a CPU, on one thread.
# Trained on 3 to 40 bits, GRU, LSTM and the gated delta rule with negative eigenvalues go on to 256; recurrences whose
# transitions are positive, and attention, do not. Prints the accuracy at four lengths of the best of three seeds, and
# ends with exit code 1 where that does not hold. Runs stay in runs/tasks-*, and go on where they were stopped. Some twenty minutes;
# with --quick, one seed and half of the steps without a verdict, a few.
set -euo pipefail
cd "$(dirname "$0")/../.."
effllm=${EFFLLM:-build/release/effllm}
seeds="1 2 3" steps=400 quick=
if [ "${1:-}" = --quick ]; then seeds=1 steps=200 quick=-quick; fi
lengths=40,80,160,256
failed=0
# parity ARM MIXER above|below LIMIT: of the accuracy at the greatest length.
parity() {
  local best=0 line="" run result at last
  for seed in $seeds; do
    run=tasks-parity-$1-s$seed$quick
    "$effllm" train -q --threads 1 --config configs/tasks/parity.yaml --name "$run" --resume auto \
      --set "model.layers[0].of[0].mixer=$2" --set model.d_model=64 --set optim.lr=3e-3 --set train.batch=32 \
      --set "train.max_steps=$steps" --set train.eval_every=0 --set "train.seed=$seed" --set "data.seed=$seed" > /dev/null
    result=$("$effllm" eval "runs/$run" --split test --threads 1 --lengths $lengths --json -q)
    mapfile -t at < <(grep -o '"lengths":.*' <<< "$result" | grep -o '"accuracy":[0-9.e-]*' | head -4 | cut -d: -f2)
    last=${at[3]}
    if [ -z "$line" ] || awk "BEGIN {exit !($last > $best)}"; then best=$last line=$(printf ' %.3f' "${at[@]}"); fi
  done
  printf '%-22s%s' "$1" "$line"
  if [ -z "$quick" ]; then
    if awk "BEGIN {exit !($best $([ "$3" = above ] && echo '>=' || echo '<') $4)}"; then
      printf '   holds: %s %s' "$3" "$4"
    else
      printf '   DOES NOT HOLD: not %s %s' "$3" "$4"
      failed=1
    fi
  fi
  echo
}
echo "accuracy at lengths $lengths, the best of seeds $seeds by the longest:"
parity gru '{type: gru}' above 0.99
parity lstm '{type: lstm}' above 0.99
parity gated_delta_negative '{type: gated_delta, heads: 2, negative_eigenvalues: true}' above 0.85
parity gated_delta '{type: gated_delta, heads: 2}' below 0.6
parity mamba '{type: mamba}' below 0.6
parity min_gru '{type: min_gru}' below 0.6
parity linear_attention '{type: linear_attention, heads: 2}' below 0.6
parity attention '{type: attention, heads: 2}' below 0.6
exit $failed
