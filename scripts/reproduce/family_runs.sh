#!/usr/bin/env bash
# A dense transformer and its variations, experts and routed depth, one run of each configuration in configs/families on the
# King James Bible, two million tokens, into docs/results/families.csv: see configs.sh. With names, only those. The study of
# all mechanisms, with rates of their own and three seeds, is families.sh.
exec "$(dirname "$0")/configs.sh" families family "$@"
