#!/usr/bin/env python3
"""What ZPAQ, a compressor that mixes the predictions of many context models, makes of a corpus' split, as `effllm eval` measures compressors.

    scripts/measure_zpaq.py [data/kjv.yaml] [--split test] [--method 5]     prints rows of a Markdown table: bits per character

After nothing, and after the training split: size(train + split) - size(train). For information beside what models reach: its strongest
method reads some 0.2 MB a second. Needs Debian's package zpaq; texts of one byte a character.
"""
import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def size(text, method):
    """Bytes of an archive of this text alone: one block, so that all of it is read by what comes later."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text").write_bytes(text)
        done = subprocess.run(["zpaq", "add", "archive.zpaq", "text", "-method", f"{method}", "-threads", "1"], cwd=folder, capture_output=True,
                              text=True)
        if done.returncode:
            sys.exit(f"zpaq ended with {done.returncode}: {done.stderr}")
        return (Path(folder) / "archive.zpaq").stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", default=ROOT / "data/kjv.yaml", type=Path)
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--method", type=int, choices=range(1, 6), default=5)
    a = parser.parse_args()
    if not shutil.which("zpaq"):
        sys.exit("zpaq is missing: apt-get install zpaq")
    manifest = a.corpus.read_text()
    text = (a.corpus.parent / re.search(r"^file: (\S+)", manifest, re.M)[1]).read_bytes()
    train, split = (text[slice(*map(int, re.search(rf"^  {name}: \[(\d+), (\d+)\]", manifest, re.M).groups()))] for name in ("train", a.split))
    method = f"{a.method}6"  # blocks of up to 64 MiB
    if len(train) + len(split) > 2**26 - 4096:
        sys.exit(f"{a.corpus}: a text of more than 64 MiB takes several blocks, which do not read each other")
    alone = size(split, method)
    print(f"| zpaq -method {a.method} | after nothing | {8 * alone / len(split):.3f} |", flush=True)
    print(f"| | after train | {8 * (size(train + split, method) - size(train, method)) / len(split):.3f} |")


if __name__ == "__main__":
    main()
