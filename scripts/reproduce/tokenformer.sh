#!/usr/bin/env bash
# scripts/reproduce/tokenformer.sh [--quick]: TokenFormer (Wang et al. 2024) against a transformer of its size, with
# each of its nonlinearities. Tables, pages and verdicts: docs/studies/. Stopped at any time, it goes on; before its
# first run it says how long it will take. With --quick it has a tenth of the tokens and its table is no result.
source "$(dirname "$0")/study.sh"
corpus kjv
study tokenformer tokenformer ${quick:+--set train.max_tokens=100000}
