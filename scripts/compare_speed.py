#!/usr/bin/env python3
"""Whether one build of effllm is as fast as another: training steps in interleaved pairs, which a machine that is now
fast and now slow does not tell apart.

    scripts/compare_speed.py OLD NEW [--pairs 15] [--seconds 1] [CONFIG ...]     default: all of configs/bench
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


def compare(old, new, config, pairs, seconds):
    programs = [Steps(old, config), Steps(new, config)]
    warm = [p.median(3) for p in programs]
    n = max(3, round(seconds / max(warm)))
    ratios = []
    for i in range(pairs):
        took = [0.0, 0.0]
        for which in (0, 1) if i % 2 == 0 else (1, 0):
            took[which] = programs[which].median(n)
        ratios.append(took[0] / took[1])
    for p in programs:
        p.close()
    low, high = interval(ratios)
    print(f"{config.stem:24} {median(ratios):6.3f}  [{low:.3f}, {high:.3f}]  {n} steps each"
          + ("" if holds(low, high) else "  slower"), flush=True)
    return holds(low, high)


def self_test():
    assert interval([3, 1, 2]) == (1, 3)  # three values hold the median 75 % of the time at most
    assert interval(range(15)) == (3, 11)  # the table of the sign test: ranks 4 and 12 of 15
    assert interval(range(25)) == (7, 17)  # 8 and 18 of 25
    assert holds(0.98, 1.01) and not holds(0.96, 1.02) and not holds(0.975, 0.985)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--self-test", action="store_true")
    p.add_argument("--pairs", type=int, default=15)
    p.add_argument("--seconds", type=float, default=1, help="of one side of a pair")
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
    fine = [compare(a.old, a.new, c, a.pairs, a.seconds) for c in configs]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
