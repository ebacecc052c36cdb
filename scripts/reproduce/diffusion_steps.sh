#!/usr/bin/env bash
# scripts/reproduce/diffusion_steps.sh [--quick]: is parallel decoding faster? Texts of masked diffusion, whole and in
# blocks of 16, in an eighth, a quarter, half and all of their steps, and of an autoregressive model: bits per character
# by the quickstart's model as the judge, how varied they are, runs of the model and seconds, into
# docs/studies/diffusion_steps.md. Models are those of configs/families, trained where they are not there yet; it goes on
# where it was stopped. On an idle machine alone. With --quick, an eighth of the tokens of diffusion and a quarter of the
# texts, in minutes: its table is no result, and stands in studies/quick.
set -euo pipefail
cd "$(dirname "$0")/../.."
effllm=${EFFLLM:-build/release/effllm}
prefix=family_ judge=diffusion_judge texts=64 out=docs/studies quick=()
if [ "${1:-}" = --quick ]; then
  prefix=quick_ judge=quick_judge texts=16 out=studies/quick quick=(--set train.max_tokens=1000000 --set optim.schedule.warmup=60)
elif [ $# -gt 0 ]; then
  echo "usage: $0 [--quick]" >&2
  exit 2
fi
[ -f data/kjv.txt ] || scripts/fetch_data.sh kjv
# train CONFIG NAME [OPTION...]
train() { "$effllm" train -q -c "$1" --name "$2" --resume auto "${@:3}" > /dev/null; }
train configs/quickstart.yaml $judge ${quick:+--set train.max_flops=3e12}
for model in dense masked_diffusion block_diffusion; do train configs/families/$model.yaml $prefix$model "${quick[@]}"; done
mkdir -p "$out"
{
  printf '# Texts of diffusion models, by steps\n\n'
  python3 scripts/diffusion_steps.py "$effllm" runs/$judge data/kjv.yaml runs/${prefix}dense runs/${prefix}masked_diffusion \
    runs/${prefix}block_diffusion --texts $texts
} | tee "$out/diffusion_steps.md.new"
mv "$out/diffusion_steps.md.new" "$out/diffusion_steps.md"
