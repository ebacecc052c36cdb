#!/usr/bin/env python3
"""How many runs an hour `effllm sweep` makes of two cores, and PyTorch of the same runs.

    scripts/measure_sweep_torch.py [EFFLLM] [--tokens 200000] [--runs 24] [--no-compile] [--check]     exit 1 where a promise does not hold

The study of scripts/measure_sweep.py: attention, minGRU and gated delta rule, two workers of one thread. PyTorch trains it in two
processes of one thread, which share out the runs: same layers, first weights, windows in their order, optimizer, schedule,
evaluations and scores. First all forms of each mixer in PyTorch are held against effllm: 30 losses of steps, and that of trained weights
on the validation split, within 1e-4. Then the quickest form counts, of an arm eager or compiled, whichever takes less;
PyTorch's start and its compiling are shown, and do not count. Promised are 0.97 of the ideal for two workers, at most 0.02 for the sweep
itself, and 3 times PyTorch's runs an hour. --check ends after the losses. Needs data/kjv.txt, PyTorch (2.13, CPU), and for figures an
idle machine with two cores.
"""
import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure_sweep import ARMS, LEAST, MOST_OWN, ROOT, swept, write_study

WORKER = Path(__file__).with_name("torch_small_runs.py")
TIMES = 3
PLAN = {"lr": 3e-3, "warmup": 20, "batch": 8, "context": 128, "val_tokens": 16384, "score_tokens": 65536}  # of the study


def corpus():
    """Where the text is, and where its splits begin and end."""
    manifest = (ROOT / "data/kjv.yaml").read_text()
    return {"file": str(ROOT / "data/kjv.txt"),
            "splits": {n: [int(x) for x in re.search(rf"^  {n}: \[(\d+), (\d+)\]", manifest, re.M).groups()]
                       for n in ("train", "val", "test")}}


def trained(jobs, plan, folder):
    """Seconds from the start of two processes to the end of both, and what they say; None where one failed."""
    processes, began = [], time.monotonic()
    for p in range(2):
        file = folder / f"{p}.json"
        file.write_text(json.dumps(corpus() | {"plan": plan, "runs": jobs[p::2]}))
        processes.append(subprocess.Popen([sys.executable, WORKER, file], stdout=subprocess.PIPE, text=True))
    said = [json.loads(line) for p in processes for line in p.stdout.readlines()]
    if any([p.wait() for p in processes]):
        return None
    return time.monotonic() - began, said


def ours(folder):
    """Of each run of a sweep, its arm, seconds and bits per character."""
    for file in sorted((folder / "results").glob("*.json")):
        result = json.loads(file.read_text())
        yield {"arm": result["arm"], "run_s": json.loads((folder / "timings" / file.name).read_text())["elapsed_s"],
               "bits": result["reported"]["bits_per_char"]}


def mean(key, rows, arm):
    values = [r[key] for r in rows if r["arm"] == arm and key in r]
    return sum(values) / len(values)


def report(mine, theirs, forms):
    """Prints the row of each arm; returns the seconds of a run in PyTorch's best settings, in the mean."""
    names = {False: "eager", True: "compiled"}
    print("| arm | effllm, s a run |" + "".join(f" PyTorch {names[c]}, s a run | start, s |" for c in theirs)
          + " times PyTorch | bits/char | PyTorch's |\n|---" + "|--:" * (4 + 2 * len(theirs)) + "|")
    best = []
    for arm in ARMS:
        took = {c: mean("run_s", rows, arm) for c, rows in theirs.items()}
        best.append(min(took.values()))
        run_s = mean("run_s", mine, arm)
        print(f"| {arm} | {run_s:.2f} |" + "".join(f" {took[c]:.2f} ({forms[arm][c]}) | {mean('start_s', theirs[c], arm):.1f} |" for c in theirs)
              + f" {best[-1] / run_s:.2f} | {mean('bits', mine, arm):.3f} | "
              + ", ".join(f"{mean('test', rows, arm) / math.log(2):.3f}" for rows in theirs.values()) + " |")
    return sum(best) / len(best)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("effllm", nargs="?", default=ROOT / "build/release/effllm", type=Path)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--check", action="store_true", help="hold PyTorch's losses against effllm's, and end")
    parser.add_argument("--no-compile", action="store_true", help="PyTorch eager alone")
    a = parser.parse_args()
    if a.runs % 6:
        parser.error("--runs: a multiple of 6, as many of each arm for both processes")
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # huge pages for PyTorch too
    try:
        import torch
    except ImportError:
        sys.exit("PyTorch is missing: pip install torch==2.13.0")
    from torch_small_reference import Reference, first_tensors
    from torch_small_runs import read_texts

    modes = [False] if a.no_compile else [False, True]
    texts, plan, effllm = read_texts(corpus()), PLAN | {"max_tokens": a.tokens}, a.effllm.resolve()
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        write_study(where, a.tokens, a.runs)
        base = where / "base.yaml"
        forms = {arm: Reference(effllm, base, arm, PLAN, texts).choose(modes, not a.check) for arm in ARMS}
        if a.check:
            return 0
        runs = [(arm, seed) for arm in ARMS for seed in range(1, a.runs // 3 + 1)]
        for arm, seed in runs:
            torch.save(first_tensors(effllm, base, arm, seed, plan, len(texts["train"])), where / f"{arm}.s{seed}.pt")
        one, programs = swept(effllm, where, "one", 1)
        two, _ = swept(effllm, where, "two", 2)
        walls, theirs = {}, {}
        for c in modes:
            jobs = [{"arm": arm, "form": forms[arm][c], "compiled": c, "tensors": str(where / f"{arm}.s{seed}.pt")} for arm, seed in runs]
            if done := trained(jobs, plan, where):
                walls[c], theirs[c] = done
            elif c:
                print("compiled, a process of PyTorch failed: eager alone counts", file=sys.stderr)
            else:
                sys.exit("a process of PyTorch failed")
        run_s = report(list(ours(where / "two")), theirs, forms)
    hours, theirs_hours = len(runs) / two * 3600, 2 / run_s * 3600
    efficiency, own = one / 2 / two, 1 - programs / one
    print(f"\n{len(runs)} runs: one worker {one:.1f} s, two {two:.1f} s; PyTorch in two processes, start and compiling included: "
          + ", ".join(f"{took:.1f} s {'compiled' if c else 'eager'}" for c, took in walls.items()) + "\n"
          f"{efficiency:.3f} of the ideal ({LEAST} promised); the sweep's own part {own:.3f} ({MOST_OWN}); {hours:.0f} runs an hour, "
          f"PyTorch {theirs_hours:.0f} without start and compiling: {hours / theirs_hours:.2f} times as many ({TIMES})")
    return int(efficiency < LEAST or own > MOST_OWN or hours < TIMES * theirs_hours)


if __name__ == "__main__":
    sys.exit(main())
