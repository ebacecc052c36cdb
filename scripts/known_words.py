#!/usr/bin/env python3
"""How much of a generated text are words: `effllm generate RUN --json ... | scripts/known_words.py CORPUS.txt`.

Prints the fraction of words that the corpus has, for each piece of 500 characters, averaged over the samples. A piece's
first and last word may be cut off and don't count.
"""
import json
import re
import sys

PIECE = 500


def words(text):
    return re.findall(r"[^\W\d_]+", text.lower())


def main():
    known = set(words(open(sys.argv[1], encoding="utf-8").read()))
    fractions = {}
    for sample in json.load(sys.stdin)["samples"]:
        for i in range(0, len(sample) - PIECE + 1, PIECE):
            found = words(sample[i : i + PIECE])[1:-1]
            if found:
                fractions.setdefault(i // PIECE, []).append(sum(w in known for w in found) / len(found))
    print(" ".join(f"{sum(f) / len(f):.3f}" for _, f in sorted(fractions.items())))


if __name__ == "__main__":
    main()
