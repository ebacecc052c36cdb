#!/usr/bin/env bash
# scripts/reproduce/mixture_of_depths.sh [--quick]: Mixture-of-Depths (Raposo et al. 2024) at equal FLOPs of training: capacities, who
# chooses outside training, a random router, experts beside it. Tables, page and verdicts: docs/studies/. Stopped at any time, it goes
# on. Some two hours on two cores; with --quick a tenth of the FLOPs, in a quarter of an hour.
source "$(dirname "$0")/study.sh"
corpus kjv
study mixture_of_depths mixture_of_depths ${quick:+--set train.max_flops=4.7e11}
