#!/usr/bin/env bash
# Every configuration in configs/mixers on the King James Bible, two million tokens each: bits per character of the test
# split, beside the 2-gram's, into docs/results/mixers.csv. Goes on where it was stopped: a row that is there stays, a
# run that was cut off resumes. One to three minutes each on two cores. With names, only those.
set -euo pipefail
cd "$(dirname "$0")/../.."
effllm=${EFFLLM:-build/release/effllm}
csv=docs/results/mixers.csv
[ -f "$csv" ] || echo "mixer,parameters,tokens,bits_per_char,stderr_bits,bits_per_char_2gram" > "$csv"
number() { grep -o "\"$1\":[0-9.eE+-]*" | head -1 | cut -d: -f2; }
for config in configs/mixers/*.yaml; do
  mixer=$(basename "$config" .yaml)
  if [ $# -gt 0 ] && [[ " $* " != *" $mixer "* ]]; then continue; fi
  grep -q "^$mixer," "$csv" && continue
  run=runs/mixer_$mixer
  "$effllm" train -q --config "$config" --name "mixer_$mixer" --resume auto > /dev/null
  result=$("$effllm" eval "$run" --split test --no-baselines --json)
  bits=$(number bits_per_char <<< "$result")
  if [ -z "${two:-}" ]; then # of the corpus, not of the model; the first of the baselines
    baselines=$("$effllm" eval "$run" --split test --json)
    two=$(number bits_per_byte <<< "${baselines#*\"baselines\"}")
  fi
  error=$(awk "BEGIN {print $(number stderr_nats <<< "$result") / log(2)}")
  parameters=$("$effllm" describe "$config" --json | grep -o '"total":{[^}]*}' | number parameters)
  tokens=$(number tokens < "$run/status.json")
  printf '%s,%s,%s,%.4f,%.4f,%.4f\n' "$mixer" "$parameters" "$tokens" "$bits" "$error" "$two" | tee -a "$csv"
done
{ head -1 "$csv"; tail -n +2 "$csv" | sort; } > "$csv.new" && mv "$csv.new" "$csv"
