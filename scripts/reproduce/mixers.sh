#!/usr/bin/env bash
# Every configuration in configs/mixers on the King James Bible, two million tokens each: bits per character of the test
# split. Goes on where it was stopped. About a minute each on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
effllm=${EFFLLM:-build/release/effllm}
echo "| mixer | parameters | bits/char (test) |"
echo "|---|---|---|"
for config in configs/mixers/*.yaml; do
  name=mixer_$(basename "$config" .yaml)
  "$effllm" train -q --config "$config" --name "$name" --resume auto > /dev/null
  bits=$("$effllm" eval "runs/$name" --split test --no-baselines --json | sed 's/.*"bits_per_char":\([0-9.]*\).*/\1/')
  parameters=$("$effllm" describe "$config" --json | sed 's/.*"total":{[^}]*"parameters":\([0-9]*\).*/\1/')
  printf '| %s | %s | %.3f |\n' "$(basename "$config" .yaml)" "$parameters" "$bits"
done
