#!/usr/bin/env bash
# Every configuration in configs/mixers on the King James Bible, two million tokens each, into docs/results/mixers.csv: see
# configs.sh. With names, only those.
exec "$(dirname "$0")/configs.sh" mixers mixer "$@"
