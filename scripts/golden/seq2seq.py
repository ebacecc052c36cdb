"""Sequence to sequence: where a row is cut into what the encoder reads and what the decoder writes, and what a row counts.

Raffel et al. 2020, arXiv:1910.10683, section 3.3.1; google-research/text-to-text-transfer-transformer@e081111
(t5/data/preprocessors.py: prefix_lm, random_prefix_noise_mask at noise density 1/2). Not as in that code: of T inputs
and the token after them at least two are the decoder's, where it may leave one; the decoder begins with the prefix's
last token, and rows count alike, where there targets do. `python3 scripts/golden/seq2seq.py` writes the golden files.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Options
from random_numbers import Stream
from tensor_file import write_safetensors

PAPER = "Raffel et al. 2020, arXiv:1910.10683"
NAME = "seq2seq"
VOCAB, ROWS = 7, 3


def cut(tokens: int, options: Options, draws: Stream) -> tuple[int, float]:
    """Returns p, how many of the inputs x_0 .. x_{T-1} are the prefix, and what the loss of each of the targets x_p ..
    x_T is multiplied by."""
    if options.get("split", "fixed") == "random":
        prefix = 1 + draws.below(0, tokens - 1)
        return prefix, tokens / (tokens - prefix + 1)
    return max(1, min(tokens - 1, round(options.get("prefix", 0.5) * tokens))), 1.0


# variant: (options, inputs of a row, seed, step, number of the first row's sample).
CASES: dict[str, tuple[Options, int, int, int, int]] = {
    "random": ({"split": "random"}, 12, 1, 0, 0),
    "fixed": ({"prefix": 0.3}, 11, 1, 0, 0),
    "half": ({}, 13, 1, 0, 0),
    "shard": ({"split": "random"}, 12, 2**40 + 7, 41, 1234),
    "two_tokens": ({"split": "random"}, 2, 3, 4, 5),
}


def write(folder: Path) -> None:
    """Writes seq2seq.<variant>.safetensors: text [B,T+1], splits and row_weights [B]."""
    for variant, (options, tokens, seed, step, sample) in CASES.items():
        rng = np.random.default_rng(zlib.crc32(f"{NAME}.{variant}".encode()))
        text = rng.integers(0, VOCAB, (ROWS, tokens + 1)).astype(np.int32)
        rows = [cut(tokens, options, Stream(seed, f"{NAME}.split", step, sample + b)) for b in range(ROWS)]
        splits, weights = zip(*rows)
        tensors = {"text": text, "splits": np.array(splits, np.int64), "row_weights": np.array(weights)}
        metadata = {"kind": "objective", "name": NAME, "paper": PAPER, "options": flow_yaml({"type": NAME} | options)}
        where = {"vocab": VOCAB, "seed": seed, "step": step, "sample": sample, "begin": 0}
        metadata |= {name: str(value) for name, value in where.items()}
        write_safetensors(folder / f"{NAME}.{variant}.safetensors", tensors, metadata)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
