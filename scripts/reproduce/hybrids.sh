#!/usr/bin/env bash
# scripts/reproduce/hybrids.sh [--quick]: how much attention beside a recurrence, with three partners, and both side by side. Some four hours
# on two cores, stopped at any time, it goes on; with --quick a tenth of the tokens, in a quarter of an hour. Table, page and verdicts: docs/studies/.
source "$(dirname "$0")/study.sh"
corpus kjv
study hybrids hybrids ${quick:+--set train.max_tokens=100000}
