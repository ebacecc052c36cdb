#!/usr/bin/env bash
# scripts/reproduce/linearized.sh [--quick]: linearized attention (You et al. 2024), part by part. Tables, pages and
# verdicts: docs/studies/. Stopped at any time, it goes on; before its first run it says how long it will take. With
# --quick it has a tenth of the tokens and its table is no result.
source "$(dirname "$0")/study.sh"
corpus kjv
study linearized linearized ${quick:+--set train.max_tokens=100000}
