#!/usr/bin/env bash
# scripts/reproduce/families.sh [--quick]: all mechanisms in one model, in five studies: causal mixers and channel mixers at
# equal parameters, blocks, mixers at equal FLOPs, and recall of pairs by twelve mixers; each arm with the best of four rates
# by one seed, three seeds. Tables, pages and verdicts: docs/studies/. Stopped at any time, it goes on; before the first run of
# each it says how long it will take. With --quick arms are trained once, at one rate, on a tenth of the tokens, and tables are
# no result.
source "$(dirname "$0")/study.sh"
corpus kjv
once=1
for part in mixers ffn blocks flops; do
  study families_$part families_$part ${quick:+--set train.max_tokens=30000 --set optim.schedule.warmup=5}
done
study families_mqar families_mqar ${quick:+--set train.max_steps=60 --set optim.schedule.warmup=5}
