#!/usr/bin/env bash
# scripts/reproduce/configs.sh FOLDER KIND [NAME...]: every configuration in configs/FOLDER, or those named, on the King
# James Bible: bits per character of the test split, beside the 2-gram's, into docs/results/FOLDER.csv. Goes on where it
# was stopped: a row that is there stays, a run that was cut off resumes. One to three minutes each on two cores. Where the file
# has columns for them, training's choice of tokens has its figure too, and bounds are marked.
set -euo pipefail
cd "$(dirname "$0")/../.."
effllm=${EFFLLM:-build/release/effllm}
folder=$1 kind=$2
shift 2
csv=docs/results/$folder.csv
[ -f "$csv" ] || echo "$kind,parameters,tokens,bits_per_char,stderr_bits,bits_per_char_2gram" > "$csv"
number() { grep -o "\"$1\":[0-9.eE+-]*" | head -1 | cut -d: -f2; }
for config in configs/"$folder"/*.yaml; do
  name=$(basename "$config" .yaml)
  if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
  grep -q "^$name," "$csv" && continue
  run=runs/${kind}_$name
  "$effllm" train -q --config "$config" --name "${kind}_$name" --resume auto > /dev/null
  result=$("$effllm" eval "$run" --split test --no-baselines --json)
  bits=$(number bits_per_char <<< "$result")
  if [ -z "${two:-}" ]; then # of the corpus, not of the model; the first of the baselines
    baselines=$("$effllm" eval "$run" --split test --json)
    two=$(number bits_per_byte <<< "${baselines#*\"baselines\"}")
  fi
  error=$(awk "BEGIN {print $(number stderr_nats <<< "$result") / log(2)}")
  parameters=$("$effllm" describe "$config" --json | grep -o '"total":{[^}]*}' | number parameters)
  tokens=$(number tokens < "$run/status.json")
  row=$(printf '%s,%s,%s,%.4f,%.4f,%.4f' "$name" "$parameters" "$tokens" "$bits" "$error" "$two")
  if head -1 "$csv" | grep -q training_choice; then
    ahead=
    if [[ $result == *'"training_choice"'* ]]; then ahead=$(number bits_per_char <<< "${result#*\"training_choice\"}"); fi
    row+=,${ahead:+$(printf %.4f "$ahead")},$(grep -q '"bound":true' <<< "$result" && echo '<=' || true)
  fi
  echo "$row" | tee -a "$csv"
done
{ head -1 "$csv"; tail -n +2 "$csv" | sort; } > "$csv.new" && mv "$csv.new" "$csv"
