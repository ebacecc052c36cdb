#!/usr/bin/env bash
# scripts/reproduce/tokenformer.sh [--quick]: TokenFormer (Wang et al. 2024) against a transformer of its size, with
# each of its nonlinearities; then growth against the large model from scratch, at equal FLOPs in sum (growth.py says how).
# Tables, pages and verdicts: docs/studies/. Stopped at any time, it goes on; before the first run of each study it says
# how long it will take. With --quick it has a tenth of the budget, growth one seed and rate, and its tables are no result.
source "$(dirname "$0")/study.sh"
corpus kjv
study tokenformer tokenformer ${quick:+--set train.max_tokens=100000}
once=1
study tokenformer_growth_parts tokenformer_growth ${quick:+--set train.max_flops=2.4e11 --set optim.schedule.warmup=5}
whole=studies/${quick:+quick/}tokenformer_growth
[ -n "$quick" ] || restore tokenformer_growth "$whole"
scripts/reproduce/growth.py "studies/${quick:+quick/}tokenformer_growth_parts" "$whole"
[ -n "$quick" ] || keep tokenformer_growth "$whole"
tell tokenformer_growth "$whole"
