#!/usr/bin/env python3
"""Solves the samples of all tasks once more, by the words of docs/tasks.md, and looks at what is drawn.

    scripts/check_tasks.py [EFFLLM]               exit 1 and what is wrong of each task that is other than described
    scripts/check_tasks.py --self-test [EFFLLM]   plants faults in samples and expects them to be found

The examples of that document are solved too, and what `effllm eval` says beside scores is computed once more. What is
drawn is judged by chi-square.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tasks import draws, formal, recall, rule
from tasks.draws import Sample
from tasks.formal import HIDDEN, Options, Wrong

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = 3000
# Options of each task beside those of configs/tasks/NAME.yaml, which come first.
CASES: dict[str, list[Options]] = {
    "copying": [{}, {"vocab": 3, "min_length": 5, "length": 9}, {"min_length": 20}],
    "selective_copying": [{}, {"marker": "each", "symbols": 3, "length": 20}, {"vocab": 3, "symbols": 1, "length": 6}],
    "induction_heads": [{}, {"length": 3}, {"vocab": 3, "length": 17}],
    "mqar": [{}, {"pairs": [2, 3, 5], "vocab": 40, "length": 41, "filler": "random"}, {"pairs": [8], "power_a": 1}],
    "in_context_recall": [{}, {"vocab": 7, "length": 20}, {"vocab": 2, "length": 4}],
    "fuzzy_recall": [{}, {"vocab": 7, "length": 30}, {"key_motif": 1, "value_motif": 2}],
    "noisy_recall": [{}, {"noise": 1, "length": 12}, {"noise": 0.6, "vocab": 12, "noise_vocab": 5}],
    "compression": [{}, {"symbols": 3, "length": 1}, {"symbols": 2, "length": 40}],
    "memorization": [{}, {"vocab": 8, "length": 6}, {"seed": 2}],
    "parity": [{}, {"scored": "last"}, {"min_length": 1, "length": 2}],
    "modular_arithmetic": [{}, {"brackets": True}, {"modulus": 12, "min_length": 2, "length": 9}],
    "dyck": [{}, {"kinds": 1, "depth": 1}, {"kinds": 5, "depth": 3, "min_length": 1, "length": 9}],
    "permutations": [{}, {"group": "a5"}, {"group": "s5", "scored": "last", "length": 9}],
    "majority": [{}, {"scored": "last"}, {"min_length": 1, "length": 2}],
    "counting": [{}, {"symbols": 3, "most": 4}, {"symbols": 1, "min_length": 20, "length": 20}],
    "mdp": [{}, {"states": 2, "actions": 2, "steps": 4}, {"states": 20, "actions": 8, "steps": 2, "rewards": 0.7}],
}
# What a sample's number of difficulty says; those of other tasks are 0.
DIFFICULTY = {
    "mqar": lambda tokens, targets: sum(target != "" for target in targets),
    "modular_arithmetic": lambda tokens, targets: formal.operators(tokens) + 1,  # numbers
    "dyck": lambda tokens, targets: formal.depth(tokens),
}


def read_options(text: str) -> Options:
    """Reads "{type: mqar, pairs: [4, 8], length: 64}"."""
    pairs = re.findall(r"(\w+): (\[.*?\]|[^,}]+)", text)
    return {key: json.loads(v) if re.match(r"[\[\d.-]|true$|false$", v) else v for key, v in pairs}


def told(effllm: str, name: str, options: Options, *more: str) -> tuple[list[dict[str, Any]], Options]:
    """Returns samples as the program tells them, and the options of their task."""
    sets = [word for key, v in options.items() for word in ("--set", f"data.{key}={json.dumps(v).strip(chr(34))}")]
    words = ["data", "samples", str(ROOT / "configs" / "tasks" / f"{name}.yaml"), "--json", "-q", *sets, *more]
    run = subprocess.run([effllm, *words], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{name}: {run.stderr}")
    answer = json.loads(run.stdout)
    return answer["samples"], read_options(answer["task"])


def check_answers(name: str, sample: dict[str, Any], options: Options) -> None:
    """Wrong where the sample is none of the task, or has other targets or another difficulty."""
    tokens, targets, difficulty = sample["tokens"], sample["targets"], sample["difficulty"]
    if name == "mqar":
        formal.demand(difficulty in options["pairs"], f"{difficulty} pairs")
        options = options | {"pairs": [difficulty]}
    own = getattr(recall, name, None) or getattr(formal, name)
    answers = own(tokens, options)
    formal.demand(len(answers) == len(targets), "another number of targets")
    for i, (answer, target) in enumerate(zip(answers, targets)):
        formal.demand(bool(target) if answer == HIDDEN else target == answer, f"target {i} is {target}, not {answer}")
    expected = DIFFICULTY.get(name, lambda *_: 0)(tokens, targets)
    formal.demand(difficulty == expected, f"difficulty is {difficulty}, not {expected}")


def problems(name: str, samples: list[dict[str, Any]], options: Options, drawn: bool = True) -> list[str]:
    """Says what is wrong with samples, or with how often what they hold comes."""
    for sample in samples:
        try:
            check_answers(name, sample, options)
        except (Wrong, ValueError, IndexError, KeyError) as error:
            return [f"sample {sample['number']}: {error}: {' '.join(sample['tokens'])}"]
    both: list[Sample] = [(sample["tokens"], sample["targets"]) for sample in samples]
    tallies = list(getattr(draws, name)(both, options)) if drawn else []
    return [problem for problem in (tally.problem() for tally in tallies) if problem]


def check_case(effllm: str, name: str, options: Options) -> tuple[list[str], int]:
    """Returns what is wrong with a task of these options, and how many targets were solved."""
    train, full = told(effllm, name, options, "-n", str(SAMPLES))
    found = problems(name, train, full)
    solved = sum(target != "" for sample in train for target in sample["targets"])
    for split in ("val", "test"):
        other, _ = told(effllm, name, options, "-n", "200", "--split", split)
        found += [f"{split}: {problem}" for problem in problems(name, other, full, drawn=False)]
        solved += sum(target != "" for sample in other for target in sample["targets"])
        if name == "memorization":  # what no sample shows is the same in all splits
            both = [(sample["tokens"], sample["targets"]) for sample in train + other]
            found += [f"{split}: {p}" for p in (tally.problem() for tally in draws.memorization(both, full)) if p]
    again, _ = told(effllm, name, options, "-n", "3", "--first", "1000")
    if again != train[1000:1003]:
        found.append("samples 1000 to 1002 by themselves are other ones")
    return [f"{options}: {problem}" for problem in found], solved


def examples() -> list[tuple[str, Options, list[str], list[str]]]:
    """Returns task, options, tokens and targets of the examples of docs/tasks.md."""
    line = re.compile(r"^- `(\w+)`(?: `(\{.*?\})`)?: `(.+?)` asks for `(.+?)`", re.M)
    text = (ROOT / "docs" / "tasks.md").read_text()
    return [(m[1], read_options(m[2] or ""), m[3].split(), m[4].split()) for m in line.finditer(text)]


def check_examples(effllm: str) -> list[str]:
    """Says which example of the document is none."""
    found, missing = [], set(CASES)
    for name, options, tokens, targets in examples():
        _, full = told(effllm, name, options, "-n", "1")
        sample: dict[str, Any] = {"number": 0, "tokens": tokens, "targets": ["" if t == "-" else t for t in targets]}
        sample["difficulty"] = DIFFICULTY.get(name, lambda *_: 0)(tokens, sample["targets"])
        found += [f"docs/tasks.md: {name}: {problem}" for problem in problems(name, [sample], full, drawn=False)]
        missing.discard(name)
    return found + [f"docs/tasks.md: no example of {name}" for name in sorted(missing)]


def check_scores(effllm: str) -> list[str]:
    """Says what of a guess and of the known rule of mdp `effllm eval` tells otherwise."""
    rows: dict[str, list[Sample]] = {}
    for split in ("train", "val"):
        samples, _ = told(effllm, "mdp", {}, "--split", split, "-n", "1000")
        rows[split] = [(sample["tokens"], sample["targets"]) for sample in samples]
    with tempfile.TemporaryDirectory() as folder:
        train = f"train --config {ROOT}/configs/tasks/mdp.yaml --set train.max_steps=1 --set optim.schedule.warmup=1"
        environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
        for words in (f"{train} --name it -q", "eval runs/it --split val --json -q"):
            run = subprocess.run([effllm, *words.split()], cwd=folder, env=environment, capture_output=True, text=True)
            if run.returncode:
                return [f"mdp: {run.stderr}"]
    scores = json.loads(run.stdout)
    nats, accuracy = rule.known_rule(rows["train"], rows["val"])
    expected = {"nats_per_token": nats, "accuracy": accuracy, "guess": rule.guess(rows["train"], rows["val"])}
    found = scores["known_rule"] | {"guess": scores["guess_accuracy"]}
    return [f"mdp: {key} is {found[key]}, not {one}" for key, one in expected.items() if abs(found[key] - one) > 1e-9]


def self_test(effllm: str) -> int:
    """Changes a target, a token and what comes how often in samples of each task; 1 where that is not found."""
    missed = []
    for name in CASES:
        samples, full = told(effllm, name, {}, "-n", "600")
        text = json.dumps(samples[0])
        for what in ("targets", "tokens"):
            first = json.loads(text)
            place = max(i for i, target in enumerate(first["targets"]) if target)
            first[what][place] = "" if what == "targets" else "x"
            if not problems(name, [first], full, drawn=False):
                missed.append(f"{name}: another of {what}")
        if not problems(name, samples[:20] * 30, full):
            missed.append(f"{name}: the same samples again and again")
    print("\n".join(missed) or f"faults in samples of {len(CASES)} tasks found")
    return 1 if missed else 0


def main(words: list[str]) -> int:
    """Prints a line for each task."""
    programs = [word for word in words if word != "--self-test"]
    effllm = programs[0] if programs else str(ROOT / "build" / "release" / "effllm")
    if "--self-test" in words:
        return self_test(effllm)
    listed = {path.stem for path in (ROOT / "configs" / "tasks").glob("*.yaml")}
    wrong = [f"{name}: not known here" for name in sorted(listed - set(CASES))]
    wrong += check_examples(effllm) + check_scores(effllm)
    print("\n".join(wrong), end="\n" if wrong else "")
    for name, cases in CASES.items():
        checked = [check_case(effllm, name, options) for options in cases]
        found = [problem for problems_of_case, _ in checked for problem in problems_of_case]
        solved = sum(count for _, count in checked)
        print(f"{name}: " + ("; ".join(found) or f"{solved} answers in samples of {len(cases)} kinds"))
        wrong += found
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
