#!/usr/bin/env bash
# The demo: corpus, training, evaluation, curve, sample.
set -euo pipefail
effllm=${1:?usage: scripts/demo.sh PATH_OF_effllm}
run=runs/demo
scripts/fetch_data.sh kjv
rm -rf "$run"
echo "== training configs/quickstart.yaml: 2.4 million tokens, about two minutes on two cores"
"$effllm" train --config configs/quickstart.yaml --name demo
echo
echo "== on text it has never seen (lower is better)"
"$effllm" eval "$run" --split test
echo
"$effllm" plot "$run"
echo "== a sample"
"$effllm" generate "$run" -p "In the beginning" -n 300 --temperature 0.7
cat <<END

== next
  $effllm generate $run -p "And the LORD said" -n 200     more text
  $effllm describe configs/quickstart.yaml                 what was trained, and its cost
  $effllm list mixers                                      what else can be trained
  $effllm train -c configs/quickstart.yaml --set model.d_model=256 --name mine
END
