#!/usr/bin/env bash
# nanoGPT's CPU configuration on Tiny Shakespeare, three seeds: the best validation loss over the whole split, mean and
# standard error. About three minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
effllm=${EFFLLM:-build/release/effllm}
for seed in 1 2 3; do
  run=runs/nanogpt_cpu-seed$seed
  "$effllm" train -q --config configs/models/nanogpt_cpu.yaml --name "nanogpt_cpu-seed$seed" --resume auto \
    --set train.seed=$seed --set data.seed=$seed --json > /dev/null
  printf 'seed %d: ' "$seed"
  grep -o '"best_val":[0-9.]*' "$run/status.json" | cut -d: -f2
done | tee /dev/stderr | awk '{s += $3; q += $3 * $3; n++}
  END {m = s / n; printf "mean %.4f nats, standard error %.4f (nanoGPT publishes 1.88)\n", m, sqrt((q / n - m * m) / (n - 1))}'
