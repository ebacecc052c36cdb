#!/usr/bin/env bash
# Runs lm-evaluation-harness against `effllm serve`, and compares its figures with those of `effllm eval` and
# `effllm generate`; not part of `make test`, since it installs a lot:
#   scripts/check_harness.sh [EFFLLM]
# A tiny model of bytes and one of characters are trained, and asked by `lm_eval --model local-completions`, its tokens
# counted by the server and by the exported tokenizer.json: a multiple choice, a rolling log-likelihood in several
# windows, and texts that are written. The exported files are read by `tokenizers` and `transformers` beside.
# Needs python3-venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
effllm=$(realpath "${1:-build/release/effllm}")
compare=$(realpath scripts/compare_harness.py)
folder=$(mktemp -d)
server=
leave() {
  [[ -z $server ]] || kill "$server" 2>/dev/null || true
  rm -rf "$folder"
}
trap leave EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q 'lm_eval[api]==0.4.13' transformers==5.24.0 tokenizers==0.23.3
cd "$folder"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME=$folder/hf TOKENIZERS_PARALLELISM=false OMP_WAIT_POLICY=passive

for i in $(seq 700); do echo "line $((i * 7919 % 1000)): the quick brown fox counts to $((i % 13))."; done >text.txt
"$effllm" data prepare text.txt -q --name text >/dev/null
cat >byte.yaml <<'Y'
model: {d_model: 32, layers: [{mixer: {type: min_gru}}, {mixer: {type: attention, heads: 2}}]}
data: {corpus: text, tokenizer: byte}
train: {batch: 8, context: 64, max_steps: 100}
optim: {lr: 3e-3}
Y
sed 's/tokenizer: byte/tokenizer: char/' byte.yaml >char.yaml
python3 "$compare" tasks

for run in byte char; do
  "$effllm" train "$run.yaml" -q >/dev/null
  "$effllm" export "runs/$run" --format tokenizer -o "tokenizer-$run" -q
  venv/bin/python "$compare" tokenizer "$effllm" "runs/$run" "tokenizer-$run"
  : >"said-$run"
  "$effllm" serve "runs/$run" --port 0 -q >"said-$run" &
  server=$!
  for _ in $(seq 600); do [[ -s said-$run ]] && break || sleep 0.1; done
  url=$(sed 's/ .*//' "said-$run")
  for tokens in remote huggingface; do
    arguments="model=$run,base_url=$url,tokenizer_backend=$tokens,max_length=66,max_gen_toks=20"
    [[ $tokens == remote ]] || arguments+=",tokenizer=$folder/tokenizer-$run"
    venv/bin/lm_eval run --model local-completions --model_args "$arguments" --tasks choices,rolling,written \
      --include_path tasks --output_path "out-$run-$tokens" --log_samples >"log-$run-$tokens" 2>&1 ||
      { tail -n 30 "log-$run-$tokens" >&2; exit 1; }
    python3 "$compare" results "$effllm" "runs/$run" "out-$run-$tokens" "$run, tokens by $tokens"
  done
  kill "$server"
  wait "$server"
  server=
done
venv/bin/pip list 2>/dev/null | grep -E '^(lm_eval|transformers|tokenizers|datasets) ' | tr -s ' ' | paste -sd, -
