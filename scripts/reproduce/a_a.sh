#!/usr/bin/env bash
# scripts/reproduce/a_a.sh [STUDIES]: arms that are equal, of real runs: how often is one of them told to be better?
# Trains a tiny model 5 x STUDIES times (default: 20) in each of two arms that differ in the seed of their first weights
# alone and read the same data, makes STUDIES studies of five seeds an arm of these, and counts the verdicts of
# `effllm compare`: once of arms that are pairs by seed, once of the same arms with the seeds of another study, which are
# none. At a level of 5 % one in twenty may be told; ends with exit code 1 where it is more than chance leaves (p < 0.3 %).
# 200 runs take some five minutes on two cores, and how long is told first. Runs stay in studies/a_a and go on where
# they were stopped. Reads the text of this repository's documents, and needs python3.
set -euo pipefail
cd "$(dirname "$0")/../.."
effllm=$(realpath "${EFFLLM:-build/release/effllm}")
studies=${1:-20}
home=studies/a_a
mkdir -p "$home"
if [ ! -e "$home/documents.yaml" ]; then
  cat docs/architecture.md docs/mechanisms.md docs/configuration.md > "$home/text.txt"
  "$effllm" data prepare "$home/text.txt" --name documents --data "$home" -q > /dev/null
fi
cat > "$home/base.yaml" << 'END'
model: {d_model: 16, block: {ffn: {type: mlp, expand: 2}}, layers: [{mixer: {type: min_gru}}]}
data: {corpus: documents, tokenizer: byte, seed: 1}
optim: {lr: 1e-2, schedule: {warmup: 10}}
train: {batch: 8, context: 64, max_steps: 150, seed: 1}
eval: {max_tokens: 8192, sample_tokens: 0}
END
for arm in one other; do
  cat > "$home/$arm.yaml" << END
base: base.yaml
arms: {$arm: }
seeds: $((5 * studies))
eval: {max_tokens: 16384, baselines: false}
END
done
declare -A first=([one]=1 [other]=1000001)
for arm in one other; do
  "$effllm" sweep "$home/$arm.yaml" -o "$home/$arm" --set "train.seed=${first[$arm]}" --dry-run
done
for arm in one other; do
  "$effllm" sweep "$home/$arm.yaml" -o "$home/$arm" --set "train.seed=${first[$arm]}"
done
python3 - "$home" "$studies" "$effllm" << 'END'
import json, math, pathlib, shutil, subprocess, sys

home, studies, effllm = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def verdict(folder, shift, study):
    """That of arm `other` in a study of five seeds of each; those of `other` are `shift` studies further on."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "results").mkdir(parents=True)
    plan = None
    for arm in ("one", "other"):
        whole = json.loads((home / arm / "plan.json").read_text())
        block = (study + (shift if arm == "other" else 0)) % studies
        runs = []
        for seed in range(1, 6):
            result = json.loads((home / arm / "results" / f"{arm}.s{5 * block + seed}.json").read_text())
            result.update(run=f"{arm}.s{seed}", seed=seed)
            (folder / "results" / f"{arm}.s{seed}.json").write_text(json.dumps(result))
            runs.append({key: result[key] for key in ("run", "arm", "point", "seed")})
        if plan is None:
            plan = whole | {"name": folder.name, "seeds": 5, "arms": [], "runs": []}
        plan["arms"] += whole["arms"]
        plan["runs"] += runs
    (folder / "plan.json").write_text(json.dumps(plan))
    table = json.loads(subprocess.run([effllm, "compare", str(folder), "--json"], check=True, capture_output=True).stdout)
    arm = table["arms"][1]
    assert arm["paired"] == (shift == 0), arm
    return arm["verdict"]


def chance(told):
    """Of so many verdicts or more, at 5 %."""
    return sum(math.comb(studies, k) * 0.05**k * 0.95 ** (studies - k) for k in range(told, studies + 1))


beyond = False
for name, shift in (("pairs", 0), ("no pairs", 1)):
    all = [verdict(home / "made" / f"{name.replace(' ', '_')}-{i}", shift, i) for i in range(studies)]
    told = sum(v != "undecided" for v in all)
    beyond = beyond or chance(told) < 0.003
    print(f"{name}: {told} of {studies} verdicts were not undecided (at 5 %: {studies / 20:g} in the mean; "
          f"{told} or more in {100 * chance(told):.1f} % of cases)")
sys.exit(1 if beyond else 0)
END
