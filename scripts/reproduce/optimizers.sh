#!/usr/bin/env bash
# AdamW against Muon at equal steps, each at several learning rates: nanoGPT's CPU configuration on Tiny Shakespeare, 1,000
# steps, one seed. Prints the validation loss of the whole split in nats. About ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
effllm=${EFFLLM:-build/release/effllm}
train() {
  local name=optimizers-$1
  shift
  "$effllm" train -q --config configs/models/nanogpt_cpu.yaml --name "$name" --resume auto --set train.max_steps=1000 \
    --set train.eval_every=0 --set eval.sample_tokens=0 "${@/#/--set=optim.}" --json > /dev/null
  printf '%-15s %-64s ' "${name#optimizers-}" "$*"
  grep -o '"best_val":[0-9.]*' "runs/$name/status.json" | cut -d: -f2
}
rms='type=muon adjust_lr=match_rms_adamw'
for lr in 2e-3 4e-3 8e-3; do
  train "adamw-$lr" lr=$lr
  train "muon-rms-$lr" $rms lr=$lr
done
train muon-rms-polar $rms coefficients=polar_express lr=2e-3
train muon-original type=muon lr=2e-2 adamw_lr=2e-3
