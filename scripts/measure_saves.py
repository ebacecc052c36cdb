#!/usr/bin/env python3
"""What a checkpoint costs after 1,000 and after 100,000 rows of the journal, and whether all time is accounted for.

    scripts/measure_saves.py [EFFLLM] [--rows 100000]     exit 1 where a save costs more than 1.5 times as much

Trains a model of a few hundred parameters, a row each step and a checkpoint each 100, and reads what the journal says: a
checkpoint's cost is the growth of `save_s` over the step after it. wall_s + save_s + other_s is held against the clock.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVERY = 100
CONFIG = """model: {{d_model: 8, layers: [{{mixer: {{type: min_gru}}, ffn: none}}]}}
data: {{corpus: text}}
train: {{batch: 1, context: 4, max_steps: {rows}, log_every: 1, save_every: {every}, lanes: 1}}
eval: {{sample_tokens: 1}}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("effllm", nargs="?", default=ROOT / "build/release/effllm", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    a = parser.parse_args()
    effllm = a.effllm.resolve()
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        (where / "text.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 400)
        (where / "run.yaml").write_text(CONFIG.format(rows=a.rows, every=EVERY))
        subprocess.run([effllm, "data", "prepare", "text.txt", "-q"], cwd=where, check=True, stdout=subprocess.DEVNULL)
        start = time.monotonic()
        done = subprocess.run([effllm, "train", "run.yaml", "-q", "--threads", "1", "--json"], cwd=where, check=True,
                              capture_output=True, text=True)
        clock = time.monotonic() - start
        rows = [json.loads(line) for line in (where / "runs/run/metrics.jsonl").open()]
    rows = [r for r in rows if r["type"] == "train"]
    after = {}  # rows there were -> seconds of the checkpoint
    for before, following in zip(rows, rows[1:]):
        if before["step"] % EVERY == 0:
            after[before["step"]] = following["save_s"] - before["save_s"]
    early = [s for n, s in after.items() if 500 <= n <= 1500]
    late = [s for n, s in after.items() if n >= a.rows - 1000]
    ratio = statistics.median(late) / statistics.median(early)
    told = json.loads(done.stdout)
    sums = [told[k] for k in ("wall_s", "save_s", "other_s")]
    print(f"{len(rows)} rows, {len(after)} checkpoints")
    print(f"after   1,000 rows: median {1e3 * statistics.median(early):7.2f} ms, at most {1e3 * max(early):.1f} ms")
    print(f"after {a.rows:7,} rows: median {1e3 * statistics.median(late):7.2f} ms, at most {1e3 * max(late):.1f} ms")
    print(f"ratio {ratio:.2f}")
    halves = [sum(s for n, s in after.items() if (n > a.rows // 2) == late_half) for late_half in (False, True)]
    print(f"all checkpoints of the first half {halves[0]:.2f} s, of the second {halves[1]:.2f} s")
    print("steps {:.2f} s, checkpoints and files {:.2f} s, the rest {:.2f} s: {:.2f} of {:.2f} s by the clock".format(
        *sums, sum(sums), clock))
    sys.exit(ratio > 1.5 or sum(sums) < 0.95 * clock - 0.5)


if __name__ == "__main__":
    main()
