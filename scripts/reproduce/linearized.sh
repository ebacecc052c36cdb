#!/usr/bin/env bash
# scripts/reproduce/linearized.sh [--quick]: linearized attention (You et al. 2024), part by part; then as a decoder, as
# encoder and decoder, and as an encoder alone, beside softmax and plain linear attention. Tables, pages and verdicts:
# docs/studies/. Stopped at any time, it goes on; before the first run of each study it says how long it will take. With
# --quick it has a tenth of the tokens and its tables are no result.
source "$(dirname "$0")/study.sh"
corpus kjv
for part in linearized linearized_forms linearized_encoder; do
  study $part $part ${quick:+--set train.max_tokens=100000}
done
