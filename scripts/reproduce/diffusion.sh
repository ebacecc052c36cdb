#!/usr/bin/env bash
# scripts/reproduce/diffusion.sh [--quick]: from left to right, in blocks of 1, 4 and 16 and all at once, at equal
# tokens of training. Tables, pages and verdicts: docs/studies/. Stopped at any time, it goes on; before its first run
# it says how long it will take. With --quick it has a tenth of the tokens and its table is no result.
source "$(dirname "$0")/study.sh"
corpus kjv
study diffusion diffusion ${quick:+--set train.max_tokens=400000}
