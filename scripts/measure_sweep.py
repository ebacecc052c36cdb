#!/usr/bin/env python3
"""What `effllm sweep` makes of two cores: 24 runs of about 0.1 M parameters, one at a time and two at a time.

    scripts/measure_sweep.py [EFFLLM] [--tokens 200000] [--runs 24]     exit 1 where less than 0.97 of the ideal is reached, or 0.02 is the sweep's own

Attention, minGRU and gated delta rule with eight seeds each, one thread a run, start-up, training and both scores included. The
ideal is half of what the sweep with one worker took; the sweep's own share is what that took beyond the programs it called. Needs an idle machine
with two cores, and data/kjv.txt.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEAST, MOST_OWN = 0.97, 0.02  # what is promised
BASE = """model:
  d_model: 64
  block: {{norm: rms_norm, ffn: {{type: swiglu, expand: 2.67}}}}
  layers: [{{repeat: 2, of: [{{mixer: {{type: attention, heads: 4}}}}]}}]
data: {{corpus: {data}, tokenizer: byte, seed: 1}}
optim: {{lr: 3e-3, schedule: {{type: cosine, warmup: 20}}}}
train: {{batch: 8, context: 128, max_tokens: {tokens}, seed: 1}}
eval: {{max_tokens: 16384, sample_tokens: 0}}
"""
MIXER = "model.layers[0].of[0].mixer"
ARMS = {"attention": "{type: attention, heads: 4}", "min_gru": "{type: min_gru}", "gated_delta": "{type: gated_delta, heads: 2}"}
STUDY = "base: base.yaml\narms:\n" + "".join(f'  {arm}: {{"{MIXER}": {mixer}}}\n' for arm, mixer in ARMS.items()) + """seeds: {seeds}
eval: {max_tokens: 65536, baselines: false}
"""


def write_study(where, tokens, runs):
    (where / "base.yaml").write_text(BASE.format(data=ROOT / "data/kjv.yaml", tokens=tokens))
    (where / "study.yaml").write_text(STUDY.replace("{seeds}", str(runs // 3)))


def swept(effllm, where, folder, jobs):
    """Seconds of the whole sweep, and of the programs that it called."""
    start = time.monotonic()
    subprocess.run([effllm, "sweep", "study.yaml", "-o", folder, "--jobs", str(jobs), "--threads", "1", "-q"], cwd=where, check=True)
    took = time.monotonic() - start
    timings = [json.loads(f.read_text()) for f in (where / folder / "timings").glob("*.json")]
    return took, sum(t["train_s"] + t["scores_s"] for t in timings)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("effllm", nargs="?", default=ROOT / "build/release/effllm", type=Path)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=24)
    a = parser.parse_args()
    effllm = a.effllm.resolve()
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        write_study(where, a.tokens, a.runs)
        one, programs = swept(effllm, where, "one", 1)
        two, _ = swept(effllm, where, "two", 2)
    efficiency, own = one / 2 / two, 1 - programs / one
    print(f"{a.runs // 3 * 3} runs: one worker {one:.1f} s, two {two:.1f} s: {efficiency:.3f} of the ideal; the sweep's own part {own:.3f}; "
          f"{a.runs // 3 * 3 / two * 3600:.0f} runs an hour")
    sys.exit(efficiency < LEAST or own > MOST_OWN)


if __name__ == "__main__":
    main()
