#!/usr/bin/env bash
# scripts/reproduce/families_study.sh [--quick]: every causal mixer at equal parameters, each with the best of four
# rates, three seeds. Tables, pages and verdicts: docs/studies/. Stopped at any time, it goes on; before its first run
# it says how long it will take. With --quick it has a tenth of the tokens and its table is no result.
source "$(dirname "$0")/study.sh"
corpus kjv
study families_mixers families_mixers ${quick:+--set train.max_tokens=50000}
