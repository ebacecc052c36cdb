#!/usr/bin/env bash
# scripts/reproduce/families_study.sh [--quick]: every causal mixer at equal parameters, each with the best of four rates, three seeds. Some three hours
# on two cores, stopped at any time, it goes on; with --quick a tenth of the tokens. Table and page: docs/studies/.
source "$(dirname "$0")/study.sh"
corpus kjv
study families_mixers families_mixers ${quick:+--set train.max_tokens=50000}
