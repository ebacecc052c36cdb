#!/usr/bin/env bash
# scripts/reproduce/diffusion.sh [--quick]: from left to right, in blocks of 1, 4 and 16 and all at once, at equal tokens of training. Some three hours
# on two cores, stopped at any time, it goes on; with --quick a tenth of the tokens, in a quarter of an hour. Table, page and verdicts: docs/studies/.
source "$(dirname "$0")/study.sh"
corpus kjv
study diffusion diffusion ${quick:+--set train.max_tokens=400000}
