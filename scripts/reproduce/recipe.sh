#!/usr/bin/env bash
# scripts/reproduce/recipe.sh [--quick]: which optimizer serves the quickstart best, each at six rates. Tables, pages
# and verdicts: docs/studies/. Stopped at any time, it goes on; before its first run it says how long it will take.
# With --quick it has a tenth of the FLOPs and its table is no result.
source "$(dirname "$0")/study.sh"
corpus kjv
study recipe recipe ${quick:+--set train.max_flops=1.15e12}
