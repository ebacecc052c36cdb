#!/usr/bin/env python3
"""Whether one build of effllm is as fast as another: training steps in interleaved pairs, which a machine that is now
fast and now slow does not tell apart.

    scripts/compare_speed.py OLD NEW [--pairs 15] [--seconds 1] [CONFIG ...]     default: all of configs/bench
    scripts/compare_speed.py OLD NEW --start [CONFIG ...]   from the process' start to a run's first step instead
    scripts/compare_speed.py --self-test

OLD and NEW are programs, run on all threads, one at a time. A pair is some steps of each, in an order that alternates;
its ratio is the time of OLD's median step over NEW's: above 1, NEW is faster. A line shows the median ratio with its
95 % interval (of order statistics, which asks nothing of the distribution). Exit 1 where an interval does not reach
0.99 or begins below 0.97. An interval that is wider is not a slower program: try again on a quiet machine.
"""
import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
REACHED, LOWEST = 0.99, 0.97


class Steps:
    """A program that is asked for steps and waits in between."""

    def __init__(self, effllm, config):
        self.process = subprocess.Popen([effllm, "bench", "train", config, "--follow"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def median(self, n):
        """Seconds of the median of n steps."""
        self.process.stdin.write(f"steps {n}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(map(str, self.process.args))} ended with {self.process.wait()}")
        return median(json.loads(line)["seconds"])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def interval(values, confidence=0.95):
    """The narrowest pair of order statistics, equally far from both ends, that holds the median so often."""
    x, n = sorted(values), len(values)
    k = 0
    while k < (n - 1) // 2 and 2 * sum(math.comb(n, i) for i in range(k + 2)) / 2**n <= 1 - confidence:
        k += 1
    return x[k], x[n - 1 - k]


def holds(low, high):
    return high >= REACHED and low >= LOWEST


def start(effllm, config):
    """Seconds from the process' start to the first step of a run: its row is on screen, less what the step took."""
    with tempfile.TemporaryDirectory() as runs:
        sets = ["train.max_steps=2", "train.batch=1", "train.log_every=1", "eval.max_tokens=256", "eval.sample_tokens=0"]
        command = [effllm, "train", "--config", config, "--runs", runs] + [w for s in sets for w in ("--set", s)]
        begin = time.monotonic()
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
            said = []
            for line in run.stdout:
                said.append(line)
                if line.startswith("step 1 "):
                    break
            else:
                sys.exit(f"{effllm} ended before a step:\n{''.join(said)}")
            seen = time.monotonic()
            run.stdout.read()
        (journal,) = Path(runs).glob("*/metrics.jsonl")
        rows = [json.loads(line) for line in journal.read_text().splitlines()]
        return seen - begin - next(r["wall_s"] for r in rows if r["type"] == "train")


def pairs_of(measure, count):
    """Ratios of measure(0) over measure(1), each pair in the other order than the one before."""
    ratios = []
    for i in range(count):
        took = [0.0, 0.0]
        for which in (0, 1) if i % 2 == 0 else (1, 0):
            took[which] = measure(which)
        ratios.append(took[0] / took[1])
    return ratios


def show(name, ratios, what):
    low, high = interval(ratios)
    print(f"{name:24} {median(ratios):6.3f}  [{low:.3f}, {high:.3f}]  {what}"
          + ("" if holds(low, high) else "  slower"), flush=True)
    return holds(low, high)


def compare(old, new, config, pairs, seconds):
    programs = [Steps(old, config), Steps(new, config)]
    n = max(3, round(seconds / max(p.median(3) for p in programs)))
    ratios = pairs_of(lambda which: programs[which].median(n), pairs)
    for p in programs:
        p.close()
    return show(config.stem, ratios, f"{n} steps each")


def compare_start(old, new, config, pairs):
    return show(config.stem, pairs_of(lambda which: start((old, new)[which], config), pairs), "start")


def self_test():
    assert interval([3, 1, 2]) == (1, 3)  # three values hold the median 75 % of the time at most
    assert interval(range(15)) == (3, 11)  # the table of the sign test: ranks 4 and 12 of 15
    assert interval(range(25)) == (7, 17)  # 8 and 18 of 25
    assert pairs_of(lambda which: (6.0, 3.0)[which], 3) == [2, 2, 2]
    assert holds(0.98, 1.01) and not holds(0.96, 1.02) and not holds(0.975, 0.985)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--self-test", action="store_true")
    p.add_argument("--pairs", type=int, default=15)
    p.add_argument("--seconds", type=float, default=1, help="of one side of a pair")
    p.add_argument("--start", action="store_true")
    p.add_argument("old", nargs="?")
    p.add_argument("new", nargs="?")
    p.add_argument("config", nargs="*", type=Path, default=[])
    a = p.parse_intermixed_args()
    if a.self_test:
        return self_test()
    if not a.new:
        p.error("two programs are asked for")
    configs = a.config or sorted((ROOT / "configs/bench").glob("*.yaml"))
    print("configuration             old/new  95 % interval")
    fine = [compare_start(a.old, a.new, c, a.pairs) if a.start else compare(a.old, a.new, c, a.pairs, a.seconds)
            for c in configs]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
