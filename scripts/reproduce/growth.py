#!/usr/bin/env python3
"""scripts/reproduce/growth.py PARTS WHOLE: TokenFormer that grows, against the large model from scratch, at equal FLOPs in sum.

PARTS is the folder of configs/studies/tokenformer_growth.yaml, whose runs have ended. Of each seed what small_half has chosen grows to
the size of `large` (`effllm grow`), and is trained with the FLOPs that are left: `grown` goes on, `grown_anew` takes the weights
alone. Both are scored as the other arms are. WHOLE becomes a folder that `effllm compare` and `effllm report` read: the plan and the
results of PARTS and those of the two arms, which are not made again where they are there; the journals of these stay in PARTS/grown, for
their steps are of two sizes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

EFFLLM = os.environ.get("EFFLLM", str(Path(__file__).resolve().parents[2] / "build" / "release" / "effllm"))
TOKENS = ["--set", "model.layers[*].ffn.tokens=384", "--set", "model.layers[*].mixer.projection.tokens=48"]

# Written down before any run. The form is that of `claims` of a study.
SOURCE = "Wang et al. 2024, arXiv:2410.23168, growth from 354 to 757 million parameters: perplexity 10.9 after 60,000 steps, 12.0 from scratch"
CLAIMS = [
    f'{{name: growth_saves_half, source: "{SOURCE}", statement: "Grown with half of the FLOPs it has a lower loss than from scratch with that '
    'half alone.", metric: bits_per_char, arms: [grown, large_half], predicts: lower, margin: 0.0, ratio: [], level: 0.95}',
    f'{{name: growth_is_free, source: "the same: models that have grown come to those from scratch", statement: "At equal FLOPs in sum what has '
    'grown comes to the loss of the large model from scratch, up to 0.03 bits per character.", metric: bits_per_char, arms: [grown, large], '
    'predicts: within, margin: 0.03, ratio: [], level: 0.95}',
    '{name: growth_before_waiting, source: "the same", statement: "At equal FLOPs in sum what has grown has a lower loss than the small model that '
    'has not.", metric: bits_per_char, arms: [grown, small], predicts: lower, margin: 0.0, ratio: [], level: 0.95}',
]


def run(*words: str) -> str:
    """The program, with one thread, as a study runs it."""
    return subprocess.run([EFFLLM, *words, "--threads", "1"], check=True, stdout=subprocess.PIPE, text=True).stdout


def load(file: Path) -> dict:
    """A JSON object."""
    return json.loads(file.read_text())


def chosen(parts: Path) -> dict:
    """What small_half has chosen: {"optim.lr": ...}."""
    compared = json.loads(run("compare", str(parts), "--json"))
    return next(a["chosen"] for a in compared["arms"] if a["arm"] == "small_half")


def score(folder: Path, split: str, most: str) -> dict:
    """As results of a study have it, of at most so many tokens."""
    told = json.loads(run("eval", str(folder), "--split", split, "--max-tokens", most, "--no-baselines", "--json", "-q"))
    return {key: value for key, value in told.items() if key not in ("seconds", "checkpoint")}


def grow(parts: Path, whole: Path, small: dict, half: dict, arm: str, most: str) -> dict:
    """Trains one seed of an arm; its result. `half`: the result of large_half, whose budget both halves have; `most`: tokens to score."""
    seed, name = small["seed"], small["run"].replace("small_half", arm)
    file = whole / "results" / f"{name}.json"
    if file.exists():
        return load(file)
    # By its budget; the small run ends with the step that reaches it.
    budget = half["tokens"] * half["train_flops_per_token"]
    spent = small["tokens"] * small["train_flops_per_token"]
    runs, checkpoints = parts / "grown", sorted((parts / "runs" / small["run"] / "ckpt").glob("step_*.safetensors"))
    if not checkpoints:
        sys.exit(f"{parts}: the weights of {small['run']} are not here (archives leave them out): remove its result, sweep again, then grow")
    runs.mkdir(parents=True, exist_ok=True)
    grown = runs / (name if arm == "grown" else f"{name}.origin")
    if not grown.exists():
        run("grow", str(checkpoints[-1]), *TOKENS, "-o", str(grown), "-q")
    print(f"{name}: grown, trains on", file=sys.stderr)
    words = ["train", str(grown / "config.yaml"), "--json", "-q"]
    if arm == "grown":
        run(*words, "--resume", "auto", "--set", f"train.max_flops={spent + budget:.6g}")
    else:
        begin = ["--resume", "auto"] if (runs / name).exists() else ["--from", str(grown)]
        where = ["--runs", str(runs), "--name", name, "--set", f"data.seed={1000 + seed}"]
        run(*words, *begin, *where, "--set", f"train.max_flops={budget:.6g}")
    status = load(runs / name / "status.json")
    result = dict(small, arm=arm, run=name, parameters=half["parameters"], state_bytes=half["state_bytes"])
    result["train_flops_per_token"] = half["train_flops_per_token"]
    result["tokens"] = status["tokens"] + (small["tokens"] if arm == "grown_anew" else 0)
    result["steps"] = status["step"] + (small["steps"] if arm == "grown_anew" else 0)
    if arm == "grown_anew":
        result["data_order_sha256"] += " and another"  # no pairs
    result["chosen_on"], result["reported"] = score(runs / name, "val", most), score(runs / name, "test", most)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")
    return result


def main() -> None:
    """Grows, trains, scores, and writes the folder."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    parts, whole = Path(sys.argv[1]), Path(sys.argv[2])
    results = [load(f) for f in sorted((parts / "results").glob("*.json"))]
    point = chosen(parts)
    smalls = [r for r in results if r["arm"] == "small_half" and r["point"] == point]
    halves = {r["seed"]: r for r in results if r["arm"] == "large_half"}
    plan = load(parts / "plan.json")
    most = re.search(r"max_tokens: (\d+)", plan["eval"])[1]
    plan["name"] = "tokenformer_growth"
    plan["claims"] = [{"after_runs": 0, "claim": claim} for claim in CLAIMS]
    like = next(a for a in plan["arms"] if a["name"] == "large")
    for arm in ("grown", "grown_anew"):
        plan["arms"].append(dict(like, name=arm, matched="grown from small_half"))
        for small in smalls:
            r = grow(parts, whole, small, halves[small["seed"]], arm, most)
            plan["runs"].append({key: r[key] for key in ("run", "arm", "point", "seed")})
    (whole / "results").mkdir(parents=True, exist_ok=True)
    for r in results:
        shutil.copy(parts / "results" / f"{r['run']}.json", whole / "results")
        journal = parts / "runs" / r["run"] / "metrics.jsonl"
        if journal.exists():
            (whole / "runs" / r["run"]).mkdir(parents=True, exist_ok=True)
            shutil.copy(journal, whole / "runs" / r["run"])
    if (parts / "baselines.json").exists():
        shutil.copy(parts / "baselines.json", whole)
    shutil.copy(parts / "study.yaml", whole)
    (whole / "plan.json").write_text(json.dumps(plan, indent=2) + "\n")


if __name__ == "__main__":
    main()
