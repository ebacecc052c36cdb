#!/usr/bin/env bash
# scripts/reproduce/hybrids.sh [--quick]: how much attention beside a recurrence, with three partners, and both side
# by side. Tables, pages and verdicts: docs/studies/. Stopped at any time, it goes on; before its first run it says
# how long it will take. With --quick it has a tenth of the tokens and its table is no result.
source "$(dirname "$0")/study.sh"
corpus kjv
study hybrids hybrids ${quick:+--set train.max_tokens=100000}
