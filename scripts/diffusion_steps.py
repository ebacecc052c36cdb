#!/usr/bin/env python3
"""Texts of diffusion models by how many steps they were written in, as an autoregressive model judges them.

    scripts/diffusion_steps.py EFFLLM JUDGE CORPUS.yaml AUTOREGRESSIVE MASKED BLOCKS [--texts 64]     prints Markdown

JUDGE, AUTOREGRESSIVE, MASKED and BLOCKS are run folders of byte models; all but the judge have a context of 256. Each writes texts of 255
bytes after a line break, at temperature 1: MASKED all of them at once in an eighth, a quarter, half of the steps and in all, BLOCKS the
same within each of its blocks; a step writes tokens in any order (ancestral) or the surest first (confidence). Needs an idle machine for its seconds.
"""
import argparse
import base64
import json
import math
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LENGTH, PIECE = 255, 8  # bytes of a text after its line break; characters of a piece
PARTS = (8, 4, 2, 1)
LEGEND = f"""
Bits per character are the judge's, with their standard error over texts. What is repeated costs a judge little and is no text, so three
figures stand beside them: the entropy of single characters, the share of pieces of {PIECE} characters that stand once in all texts
together, and that of words that the corpus has. Runs are those of the model for a text, in the mean; seconds are those of a text on one
thread, without the program's start. The last two columns are by the autoregressive texts at temperature 1."""


def call(effllm, *words):
    done = subprocess.run([effllm, *map(str, words), "--json", "-q", "--threads", "1"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{effllm} {' '.join(map(str, words))} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def written(effllm, run, count, words):
    """Texts of a model, and seconds of each but for what the program takes to start."""
    def generate(count, length):
        began = time.monotonic()
        said = call(effllm, "generate", run, "-p", "\\n", "-n", length, "--samples", count, "--seed", 1, *words)
        return time.monotonic() - began, [base64.b64decode(s) for s in said["samples_base64"]]

    start = sorted(generate(1, 1)[0] for _ in range(3))[1]
    took, texts = generate(count, LENGTH)
    return texts, max(1e-6, took - start) / count


def bits(effllm, judge, text, folder):
    """Bits per character of a text after a line break."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"\n" + text)
        file.flush()
        score = call(effllm, "eval", judge, "--text", file.name, "--tokens", LENGTH + 1, "--no-baselines")
    assert score["tokens"] == LENGTH, score
    return score["nats_per_token"] / math.log(2)


def words_of(text):
    return re.findall(rb"[a-z]+", text.lower())


def qualities(texts, known, judge):
    """What the judge says, and how varied the texts are."""
    with ThreadPoolExecutor(2) as two:
        judged = list(two.map(judge, texts))
    mean = sum(judged) / len(judged)
    letters = Counter(b for t in texts for b in t)
    shares = [n / letters.total() for n in letters.values()]
    pieces = Counter(t[i:i + PIECE] for t in texts for i in range(len(t) - PIECE + 1))
    words = [w for t in texts for w in words_of(t)[:-1]]  # the last may be cut off
    return {"bits": mean, "error": math.sqrt(sum((b - mean) ** 2 for b in judged) / (len(judged) - 1) / len(judged)),
            "entropy": -sum(p * math.log2(p) for p in shares), "once": sum(n == 1 for n in pieces.values()) / pieces.total(),
            "known": sum(w in known for w in words) / max(1, len(words))}


def runs_of(steps, length, confident):
    """Runs of a model that fill a block: any step is as likely as another to write a token, and one that writes none needs no run."""
    return min(steps, length) if confident else steps * (1 - (1 - 1 / steps) ** length)


def show(name, r, base):
    cost = " | | |"
    if "runs" in r:
        cost = f" {r['runs']:.0f} | {r['seconds']:.3f} | {base['runs'] / r['runs']:.1f} | {base['seconds'] / r['seconds']:.2f}"
    print(f"| {name} | {r['bits']:.3f} ± {r['error']:.3f} | {r['entropy']:.2f} | {r['once']:.2f} | {r['known']:.2f} |{cost} |", flush=True)


def judged(name, rows, base):
    """The fewest steps that cost nothing to be seen, and whether they are faster than to write from left to right."""
    whole = rows[-1]
    fewest = next(r for r in rows if r["bits"] - whole["bits"] <= 2 * math.hypot(r["error"], whole["error"])
                  and abs(r["entropy"] - whole["entropy"]) <= 0.1)
    runs, seconds = base["runs"] / fewest["runs"], base["seconds"] / fewest["seconds"]
    print(f"- {name}: {fewest['steps']} of {whole['steps']} steps are the fewest whose texts are not told from those of all (two standard "
          f"errors, and 0.1 bits of entropy); they cost the judge {fewest['bits'] - base['bits']:+.3f} bits a character beside "
          f"autoregressive ones. Faster in runs of the model: {'yes' if runs > 1 else 'no'} ({runs:.1f} times). In seconds: "
          f"{'yes' if seconds > 1 else 'no'} ({seconds:.2f} times).")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("effllm", "judge", "corpus", "autoregressive", "masked", "blocks"):
        p.add_argument(name)
    p.add_argument("--texts", type=int, default=64)
    a = p.parse_args()
    manifest = Path(a.corpus).read_text()
    begin, end = map(int, re.search(r"^  test: \[(\d+), (\d+)\]", manifest, re.M).groups())
    corpus = (Path(a.corpus).parent / re.search(r"^file: (\S+)", manifest, re.M)[1]).read_bytes()
    breaks = [i for i in range(begin, end - LENGTH - 1) if corpus[i:i + 1] == b"\n"]
    block = int(re.search(r"^objective:\n(?:  .*\n)*?  block: (\d+)", (Path(a.blocks) / "config.resolved.yaml").read_text(), re.M)[1])
    known = set(words_of(corpus))
    print(f"{a.texts} texts of each.\n{LEGEND}\n\n"
          "| texts | bits/char by the judge | entropy | pieces once | known words | runs | s | times fewer runs | times as fast |\n"
          "|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        def of(texts, **cost):
            return qualities(texts, known, lambda t: bits(a.effllm, a.judge, t, folder)) | cost

        show("test split", of([corpus[i + 1:i + 1 + LENGTH] for i in random.Random(1).sample(breaks, a.texts)]), None)
        for heat in (1, 0.5):
            texts, seconds = written(a.effllm, a.autoregressive, a.texts, ["-t", heat])
            r = of(texts, runs=LENGTH, seconds=seconds)
            base = r if heat == 1 else base
            show(f"autoregressive, temperature {heat}", r, base)
        found = []
        for kind, run, length in (("all at once", a.masked, LENGTH), (f"blocks of {block}", a.blocks, block)):
            more = -(-(1 + LENGTH) // length) - 1 if run == a.blocks else 0  # blocks after the first, before each of which that is read
            for unmask in ("ancestral", "confidence"):
                rows = []
                for part in PARTS:
                    steps, sure = max(1, length // part), unmask == "confidence"
                    texts, seconds = written(a.effllm, run, a.texts, ["-t", 1, "--unmask", unmask, "--steps", steps])
                    first = length - 1 if more else length  # the line break is in the first block
                    rows.append(of(texts, steps=steps, seconds=seconds,
                                   runs=runs_of(steps, first, sure) + more * (1 + runs_of(steps, length, sure))))
                    show(f"{kind}, {unmask}, {steps} steps", rows[-1], base)
                found.append((f"{kind}, {unmask}", rows))
    print("\nIs parallel decoding faster?\n")
    for name, rows in found:
        judged(name, rows, base)


if __name__ == "__main__":
    main()
