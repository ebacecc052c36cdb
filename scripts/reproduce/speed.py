#!/usr/bin/env python3
"""scripts/reproduce/speed.py STUDY [--quick]: what a step of training and a decoded token take over the length of the text.

STUDY is the folder of a study with runs; each arm's model is that of its first run. Prints Markdown tables of the time and memory of a
step of training of 4,096 tokens, in sequences of 128, 512 and more tokens (`effllm bench train`), of tokens a second and of the
state after so many tokens (`effllm bench decode`), and what of the claims below holds. Measurements stay in STUDY/speed.json and are not
made again; they want a machine that does nothing else. With --quick two lengths, a second each, into STUDY/speed_quick.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EFFLLM = os.environ.get("EFFLLM", str(Path(__file__).resolve().parents[2] / "build" / "release" / "effllm"))
STEP = 4096  # tokens

# Said beforehand: the quotient of two times of a step lies above or below a number. Feng et al. 2024, arXiv:2410.01201, figure 1: a step
# of a minGRU is 175 times as fast as one of a GRU at 512 tokens and 1,324 times at 4,096, on a GPU and its libraries. A CPU has no
# thousands of places to compute at once, so that here is claimed less: that a minGRU is faster, and that its time grows with the text
# alone.
CLAIMS = [
    ("A step of a minGRU takes less time than one of a GRU at 512 tokens.", "min_gru", 512, "gru", 512, "<", 1.0),
    ("A step of a minLSTM takes less time than one of an LSTM at 512 tokens.", "min_lstm", 512, "lstm", 512, "<", 1.0),
    ("A token of a minGRU takes as long in 4,096 as in 128, up to a quarter.", "min_gru", 4096, "min_gru", 128, "<", 1.25),
    ("A token of attention takes more than half as long again in 4,096 as in 128.", "transformer", 4096, "transformer", 128, ">", 1.5),
    ("A step of a minGRU takes less time than one of a transformer at 4,096 tokens.", "min_gru", 4096, "transformer", 4096, "<", 1.0),
]


def ask(*words: str) -> dict:
    """What the program says as JSON."""
    return json.loads(subprocess.run([EFFLLM, *words, "--json", "-q"], check=True, capture_output=True, text=True).stdout)


def measure(study: Path, lengths: list[int], seconds: str, kept: Path) -> dict:
    """All arms at all lengths, by name; what `kept` has is not measured again."""
    told = json.loads(kept.read_text()) if kept.exists() else {}
    plan = json.loads((study / "plan.json").read_text())
    for arm in [a["name"] for a in plan["arms"]]:
        run = next(r["run"] for r in plan["runs"] if r["arm"] == arm)
        config = str(study / "configs" / f"{run}.yaml")
        mine = told.setdefault(arm, {"train": {}, "decode": {}})
        for n in lengths:
            if str(n) in mine["train"] and str(n) in mine["decode"]:
                continue
            print(f"{arm}: {n} tokens", file=sys.stderr)
            sets = ["--set", f"train.context={n}", "--set", f"train.batch={STEP // n}"]
            mine["train"][str(n)] = ask("bench", "train", config, *sets, "--seconds", seconds, "--repetitions", "3")
            mine["decode"][str(n)] = ask("bench", "decode", config, "-d", str(n), "-r", "5")["rows"][0]
            kept.write_text(json.dumps(told))
    return told


def table(title: str, told: dict, lengths: list[int], cell) -> None:
    """A row an arm, a column a length."""
    print(f"\n| {title} | " + " | ".join(f"{n:,}" for n in lengths) + " |")
    print("|---|" + "--:|" * len(lengths))
    for arm, mine in told.items():
        print(f"| {arm} | " + " | ".join(cell(mine, str(n)) for n in lengths) + " |")


def judge(told: dict, lengths: list[int]) -> None:
    """Each claim: it holds where the slowest of the one and the fastest of the other (p10, p90) say so, and not where both deny it."""
    print("\n| claim | said beforehand | measured (p10 to p90) | |\n|---|--:|--:|---|")
    for text, a, n, b, m, way, limit in CLAIMS:
        if a not in told or b not in told or n not in lengths or m not in lengths:
            continue
        one, other = told[a]["train"][str(n)]["seconds"], told[b]["train"][str(m)]["seconds"]
        low, high = one["p10"] / other["p90"], one["p90"] / other["p10"]
        inside, outside = (high < limit, low > limit) if way == "<" else (low > limit, high < limit)
        verdict = "holds" if inside else "does not hold" if outside else "undecided"
        print(f"| {text} | {way} {limit:g} | {one['median'] / other['median']:.2f} ({low:.2f} to {high:.2f}) | {verdict} |")


def main() -> None:
    """Measures, and prints the tables."""
    words = [w for w in sys.argv[1:] if w != "--quick"]
    if len(words) != 1:
        sys.exit(__doc__)
    study, quick = Path(words[0]), "--quick" in sys.argv
    lengths = [128, 512] if quick else [128, 512, 1024, 4096]
    told = measure(study, lengths, "1" if quick else "5", study / ("speed_quick.json" if quick else "speed.json"))
    first = next(iter(told.values()))["train"][str(lengths[0])]
    print(f"{first['cpu']}, {first['threads']} threads; a step has {STEP:,} tokens, in sequences of so many:")
    table("ms a step (median)", told, lengths, lambda m, n: f"{1e3 * m['train'][n]['seconds']['median']:.1f}")
    table("most memory of a step, MB", told, lengths, lambda m, n: f"{m['train'][n]['peak_bytes'] / 1e6:.0f}")
    table("decoded tokens a second, after so many", told, lengths, lambda m, n: f"{m['decode'][n]['tokens_per_s']:.0f}")
    table("state, KiB, after so many", told, lengths, lambda m, n: f"{m['decode'][n]['state_bytes'] / 1024:.1f}")
    judge(told, lengths)
    busy = [f"{arm} at {n}" for arm, m in told.items() for n in m["train"] if m["train"][n]["contended"]]
    if busy:
        print(f"\nOther programs were running beside: {', '.join(busy)}.")


if __name__ == "__main__":
    main()
