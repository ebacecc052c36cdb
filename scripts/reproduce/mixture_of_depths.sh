#!/usr/bin/env bash
# scripts/reproduce/mixture_of_depths.sh [--quick]: Mixture-of-Depths (Raposo et al. 2024) at equal FLOPs of training:
# capacities, who chooses outside training, a random router, experts beside it. Tables, pages and verdicts:
# docs/studies/. Stopped at any time, it goes on; before its first run it says how long it will take. With --quick it
# has a tenth of the FLOPs and its table is no result.
source "$(dirname "$0")/study.sh"
corpus kjv
study mixture_of_depths mixture_of_depths ${quick:+--set train.max_flops=4.7e11}
