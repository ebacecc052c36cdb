#!/usr/bin/env bash
# scripts/reproduce/recipe.sh [--quick]: which optimizer serves the quickstart best, each at six rates. Some forty minutes on two cores, stopped at any
# time, it goes on; with --quick a tenth of the FLOPs. Table and page: docs/studies/.
source "$(dirname "$0")/study.sh"
corpus kjv
study recipe recipe ${quick:+--set train.max_flops=1.15e12}
