#!/usr/bin/env bash
# What becomes of texts that are longer than those of training: each mixer, two layers of width 64, reads 400,000 tokens
# of the King James Bible in sequences of 64; then its loss on the validation split is measured in windows of 64, 128,
# 256 and 1,024 tokens, nats/token, into docs/results/context.csv. A row that is there stays. With names, only those.
set -euo pipefail
cd "$(dirname "$0")/../.."
effllm=${EFFLLM:-build/release/effllm}
csv=docs/results/context.csv
[ -f data/kjv.txt ] || scripts/fetch_data.sh kjv
[ -f "$csv" ] || echo "name,mixer,nats_64,nats_128,nats_256,nats_1024" > "$csv"

while read -r name mixer; do
  if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
  grep -q "^$name," "$csv" && continue
  config=$(mktemp --suffix .yaml)
  cat > "$config" << YAML
name: context_$name
model:
  d_model: 64
  block: {norm: rms_norm, ffn: {type: swiglu, expand: 2.67}}
  layers: [{repeat: 2, of: [{mixer: $mixer}]}]
data: {corpus: kjv, tokenizer: byte, order: shuffled_windows, seed: 1}
optim: {lr: 4e-3, schedule: {type: cosine, warmup: 30, final_lr: 0.1}}
train: {batch: 16, context: 64, max_tokens: 400000, seed: 1}
eval: {max_tokens: 16384}
YAML
  "$effllm" train -q -c "$config" --resume auto > /dev/null
  row="$name,\"$mixer\""
  for tokens in 64 128 256 1024; do
    row+=,$("$effllm" eval "runs/context_$name" -q --tokens $tokens --max-tokens 20480 --no-baselines --json |
      python3 -c 'import json, sys; print(round(json.load(sys.stdin)["nats_per_token"], 4))')
  done
  echo "$row" | tee -a "$csv"
  rm "$config"
done << 'LIST'
attention {type: attention, heads: 4}
no_positions {type: attention, heads: 4, position: none}
alibi {type: attention, heads: 4, position: alibi}
mla {type: mla}
moba {type: moba, block: 16}
nsa {type: nsa, compress_block: 8, compress_stride: 4, select_block: 8, select: 4, window: 16}
linearized {type: linearized_attention, group: 32}
linear_attention {type: linear_attention, heads: 4}
taylor {type: taylor}
retnet {type: retnet, heads: 2}
delta_net {type: delta_net, heads: 4}
ttt_linear {type: ttt_linear}
s4d {type: s4d}
gated_delta {type: gated_delta}
gla {type: gla, heads: 4}
rwkv6 {type: rwkv6}
mamba {type: mamba}
mamba2 {type: mamba2}
min_gru {type: min_gru}
min_lstm {type: min_lstm}
hgrn {type: hgrn}
hgrn2 {type: hgrn2}
rg_lru {type: rg_lru}
lstm {type: lstm}
gru {type: gru}
LIST
