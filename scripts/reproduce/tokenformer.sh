#!/usr/bin/env bash
# scripts/reproduce/tokenformer.sh [--quick]: TokenFormer (Wang et al. 2024) against a transformer of its size, with each of its nonlinearities. Some two hours
# on two cores, stopped at any time, it goes on; with --quick a tenth of the tokens, in a quarter of an hour. Table, page and verdicts: docs/studies/.
source "$(dirname "$0")/study.sh"
corpus kjv
study tokenformer tokenformer ${quick:+--set train.max_tokens=100000}
