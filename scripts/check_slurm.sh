#!/usr/bin/env bash
# scripts/check_slurm.sh [EFFLLM]: a study on a real Slurm, one machine alone (scripts/slurm_here.sh): six runs by an array of jobs, of
# which one is put into the queue again in mid-run, end with the result files and the table of the same study without
# Slurm. Exit code 0: so they do, 1: they differ, 3: not judged, since Slurm can't be run here. Takes about a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
effllm=$(realpath "${1:-build/release/effllm}")
for program in slurmctld slurmd sbatch munged; do
  if ! command -v $program > /dev/null; then
    echo "not judged: $program is missing (scripts/setup.sh --dev)"
    exit 3
  fi
done
if [ "$(id -u)" -ne 0 ]; then
  echo "not judged: Slurm's daemons are started as root"
  exit 3
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for i in $(seq 3000); do echo "line $i of a text of which $((i * i % 97)) is told in $((i % 13)) words"; done > "$work/own.txt"
cat > "$work/base.yaml" <<YAML
model: {d_model: 32, block: {ffn: {type: mlp, expand: 2}}, layers: [{mixer: {type: gru}}]}
data: {corpus: own, tokenizer: char}
train: {batch: 4, context: 32, max_steps: 300, lanes: 2, log_every: 50}
optim: {schedule: {warmup: 1}}
eval: {sample_tokens: 0}
YAML
cat > "$work/study.yaml" <<YAML
base: base.yaml
arms:
  gru: {"model.layers[0].mixer": {type: gru}}
  min_gru: {"model.layers[0].mixer": {type: min_gru}}
seeds: 3
YAML
cd "$work"
"$effllm" data prepare own.txt -q > /dev/null
"$effllm" sweep study.yaml -o local --threads 1 -q > /dev/null
cat > on_slurm.sh <<'JOBS'
set -euo pipefail
effllm=$1
$effllm sweep study.yaml -o slurm --launcher slurm
array=$(squeue -h -o %A | head -1)
for _ in $(seq 600); do # a run that is under way
  run=$($effllm sweep status slurm | awk '$2 == "running" {print $1; exit}')
  [ -n "$run" ] && [ -s "slurm/runs/$run/metrics.jsonl" ] && break
  sleep 0.05
done
job=$(squeue -h -t R -o %i | head -1)
echo "put into the queue again: job $job, while $($effllm sweep status slurm | grep -c running) runs were under way"
scontrol requeue "$job"
for _ in $(seq 600); do
  [ -z "$(squeue -h)" ] && break
  sleep 0.5
done
[ -z "$(squeue -h)" ] || { echo "jobs are left after five minutes"; squeue; exit 1; }
JOBS
code=0
"$OLDPWD/scripts/slurm_here.sh" "$work/cluster" bash on_slurm.sh "$effllm" || code=$?
[ $code -ne 3 ] || { echo "not judged: Slurm does not come up here"; exit 3; }
[ $code -eq 0 ] || { tail -n 20 slurm/slurm/*.log; exit 1; }
grep -h . slurm/slurm/*.log || true
diff -r local/results slurm/results
diff <("$effllm" compare local) <("$effllm" compare slurm)
echo "the same results and the same table"
