#!/usr/bin/env bash
# scripts/reproduce/min_rnn.sh [--quick]: "Were RNNs All We Needed?" (Feng et al. 2024) at the scale of a CPU. minGRU,
# minLSTM, GRU, LSTM, Mamba, Mamba-2 and a transformer at equal parameters on three texts; selective copying by depth; walks
# whose past tells nothing; parity, and who goes on to longer samples than those of training (lengths.py); time and memory
# over length (speed.py). Tables, pages and verdicts: docs/studies/. Stopped at any time, it goes on; before the first run
# of each study it says how long it will take. With --quick it has a tenth of one text, and of the tasks, and its tables are
# no result. The last part wants a machine that does nothing else.
source "$(dirname "$0")/study.sh"
texts="kjv moby-dick sotu"
[ -z "$quick" ] || texts=kjv
for text in $texts; do
  corpus "$text"
  study "min_rnn-$text" min_rnn --set "data.corpus=$text" ${quick:+--set train.max_tokens=100000}
done
study selective_copying selective_copying ${quick:+--set train.max_steps=200}
study mdp mdp ${quick:+--set train.max_steps=300 --set optim.schedule.warmup=5}
study parity parity ${quick:+--set train.max_steps=40 --set optim.schedule.warmup=5}

# Said before any run, after Grazzi et al. 2024, arXiv:2411.12537: of three seeds the best answers so many of 256 bits.
folder=studies/${quick:+quick/}
out=docs/studies
[ -z "$quick" ] || out=studies/quick
scripts/reproduce/lengths.py "${folder}parity" 40,80,160,256 'gru>=0.9' 'lstm>=0.9' 'gated_delta_negative>=0.9' \
  'gated_delta<0.9' 'min_gru<0.9' 'min_lstm<0.9' 'mamba<0.9' 'linear_attention<0.9' 'attention<0.9' > "$out/parity_lengths.md"
cat "$out/parity_lengths.md"
[ -n "$quick" ] || keep parity studies/parity
scripts/reproduce/speed.py "${folder}min_rnn-kjv" ${quick:+--quick} > "$out/min_rnn_speed.md"
cat "$out/min_rnn_speed.md"
[ -n "$quick" ] || keep min_rnn-kjv studies/min_rnn-kjv
