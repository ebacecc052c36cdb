#!/usr/bin/env bash
# A dense transformer and its variations, experts and routed depth, in configs/families on the King James Bible, two million
# tokens each, into docs/results/families.csv: see configs.sh. With names, only those.
exec "$(dirname "$0")/configs.sh" families family "$@"
