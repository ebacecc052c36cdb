#!/usr/bin/env bash
# scripts/reproduce/min_rnn.sh [--quick]: "Were RNNs All We Needed?" (Feng et al. 2024) at the scale of a CPU. minGRU,
# minLSTM, GRU, LSTM, Mamba, Mamba-2 and a transformer at equal parameters on three texts; selective copying by depth.
# Tables, pages and verdicts: docs/studies/. Stopped at any time, it goes on; before its first run it says how long it
# will take. With --quick it has a tenth of one text, and of the tasks, and its table is no result.
source "$(dirname "$0")/study.sh"
if [ -n "$quick" ]; then
  corpus kjv
  study min_rnn-kjv min_rnn --set train.max_tokens=100000
  study selective_copying selective_copying --set train.max_steps=200
  exit
fi
for text in kjv moby-dick sotu; do
  corpus $text
  study min_rnn-$text min_rnn --set data.corpus=$text
done
study selective_copying selective_copying
