#!/usr/bin/env bash
# scripts/reproduce/mixture_of_experts.sh [--quick]: mixtures of experts against a dense perceptron, at equal active
# parameters and at equal parameters in all; balance by a loss, by a bias and not at all; experts that choose. Tables,
# pages and verdicts: docs/studies/. Stopped at any time, it goes on; before its first run it says how long it will
# take. With --quick it has a tenth of the tokens and its table is no result.
source "$(dirname "$0")/study.sh"
corpus kjv
study mixture_of_experts_active mixture_of_experts_active ${quick:+--set train.max_tokens=100000}
study mixture_of_experts_total mixture_of_experts_total ${quick:+--set train.max_tokens=100000}
