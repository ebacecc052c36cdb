#!/usr/bin/env python3
"""scripts/reproduce/lengths.py STUDY LENGTHS LIMIT...: accuracy of a task's models on samples longer than those of training.

STUDY is the folder of a study of a task whose runs have ended, LENGTHS "40,80,160". Each seed of what an arm has chosen is scored on samples
of these lengths of the split test (`effllm eval --lengths`); a Markdown table of each arm's best seed by the longest is printed. A
LIMIT, "gru>=0.9" or "min_gru<0.9", says beforehand what that seed comes to at the longest. Scores stay in STUDY/lengths and are not
made again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

EFFLLM = os.environ.get("EFFLLM", str(Path(__file__).resolve().parents[2] / "build" / "release" / "effllm"))


def chosen_runs(study: Path) -> dict[str, list[str]]:
    """Names of the runs of what each arm has chosen, by seed."""
    compared = subprocess.run([EFFLLM, "compare", str(study), "--json"], check=True, capture_output=True, text=True)
    results = [json.loads(f.read_text()) for f in sorted((study / "results").glob("*.json"))]
    runs = {}
    for arm in json.loads(compared.stdout)["arms"]:
        own = [r for r in results if r["arm"] == arm["arm"] and r["point"] == arm["chosen"]]
        runs[arm["arm"]] = [r["run"] for r in sorted(own, key=lambda r: r["seed"])]
    return runs


def accuracies(study: Path, run: str, lengths: str) -> list[float]:
    """Of samples of each length; from the file that is there, or by the program."""
    kept = study / "lengths" / f"{run}.json"
    wanted = [int(n) for n in lengths.split(",")]
    if kept.exists():
        scores = json.loads(kept.read_text())["lengths"]
        if [s["length"] for s in scores] == wanted:
            return [s["accuracy"] for s in scores]
    words = [EFFLLM, "eval", str(study / "runs" / run), "--split", "test", "--lengths", lengths, "--threads", "1", "--json", "-q"]
    scored = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(scored)
    return [s["accuracy"] for s in json.loads(scored)["lengths"]]


def limits_of(words: list[str], arms: list[str]) -> dict[str, tuple[str, float]]:
    """"gru>=0.9" as gru: (">=", 0.9)."""
    limits = {}
    for word in words:
        m = re.fullmatch(r"(.+?)(>=|<)([0-9.]+)", word)
        if not m or m[1] not in arms:
            sys.exit(f"{word}: a limit is ARM>=ACCURACY or ARM<ACCURACY, of an arm of {', '.join(arms)}")
        limits[m[1]] = (m[2], float(m[3]))
    return limits


def main() -> None:
    """Prints the table."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    study, lengths = Path(sys.argv[1]), sys.argv[2]
    runs = chosen_runs(study)
    limits = limits_of(sys.argv[3:], list(runs))
    print("| arm | best seed | " + " | ".join(f"{n} tokens" for n in lengths.split(",")) + " | said beforehand | |")
    print("|---|--:|" + "--:|" * len(lengths.split(",")) + "---|---|")
    for arm, names in runs.items():
        if not names:
            print(f"| {arm} | none has ended |" + " |" * (len(lengths.split(",")) + 2))
            continue
        scores = [accuracies(study, name, lengths) for name in names]
        best = max(range(len(scores)), key=lambda i: scores[i][-1])
        said = verdict = ""
        if arm in limits:
            way, limit = limits[arm]
            holds = (scores[best][-1] >= limit) == (way == ">=")
            said, verdict = f"{way} {limit:g}", "holds" if holds else "does not hold"
        print(f"| {arm} | {best + 1} of {len(scores)} | " + " | ".join(f"{a:.3f}" for a in scores[best]) + f" | {said} | {verdict} |")


if __name__ == "__main__":
    main()
