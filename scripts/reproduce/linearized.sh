#!/usr/bin/env bash
# scripts/reproduce/linearized.sh [--quick]: linearized attention (You et al. 2024), part by part. Some two hours
# on two cores, stopped at any time, it goes on; with --quick a tenth of the tokens, in a quarter of an hour. Table, page and verdicts: docs/studies/.
source "$(dirname "$0")/study.sh"
corpus kjv
study linearized linearized ${quick:+--set train.max_tokens=100000}
