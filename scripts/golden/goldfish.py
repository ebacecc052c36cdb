"""Goldfish loss: a pseudorandom 1/k of the targets carry no loss, chosen by the tokens before them.

Hans et al. 2024, arXiv:2406.10209, section 3. Loops over single tokens, in whole numbers but for the comparison.
`python3 scripts/golden/goldfish.py` writes the golden files.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Array, Options, Params
from random_numbers import Stream, fnv1a
from tensor_file import write_safetensors

PAPER = "Hans et al. 2024, arXiv:2406.10209"
TEXT, VOCAB, TOKENS, IGNORED = 240, 5, 24, -1
BEGINS = (0, 1, 9, 60, 131, 200, 215)  # of rows: at the text's start, just after it, inside and at its end
STARTS = (0, 17, 18, 64, 140, 150)  # of documents: one of a token, one that begins inside a row
PASSAGE, COPY = 20, 160  # 30 tokens of the text stand twice


def uniform(number: int) -> float:
    """Returns number i of the stream "goldfish" of seed 0, in [0, 1)."""
    return Stream(0, "goldfish").uniform(number)


def dropped(text: Array, starts: tuple[int, ...], begin: int, i: int, options: Options) -> bool:
    """Returns whether token i carries no loss as a target of the row whose inputs begin at `begin`."""
    k, h = int(options.get("k", 4)), int(options.get("context_width", 13))
    if options.get("mask", "hashed") == "static":
        return (i - 1 - begin) % k == 0
    document = max(start for start in starts if start <= i)
    if i - document < h:
        return False
    return uniform(fnv1a(b"".join(int(t).to_bytes(4, "little") for t in text[i - h : i]))) < 1 / k


def targets(text: Array, starts: tuple[int, ...], begin: int, options: Options) -> list[int]:
    """Returns the targets of a row; the first token of a document but the first carries no loss either."""
    row = []
    for i in range(begin + 1, begin + TOKENS + 1):
        row.append(IGNORED if i in starts or dropped(text, starts, begin, i, options) else int(text[i]))
    return row


# variant: (options, whether documents are told apart).
VARIANTS: dict[str, tuple[Options, bool]] = {
    "default": ({}, False),
    "documents": ({"k": 2, "context_width": 6}, True),
    "narrow": ({"k": 3, "context_width": 1}, False),
    "static": ({"k": 5, "mask": "static"}, False),
    "static_documents": ({"k": 2, "mask": "static"}, True),
}


def write(folder: Path) -> None:
    """Writes goldfish.<variant>.safetensors: text [N], begins [R], targets [R,T], starts [S] where they are told."""
    for variant, (options, documents) in VARIANTS.items():
        rng = np.random.default_rng(zlib.crc32(f"goldfish.{variant}".encode()))
        text = rng.integers(0, VOCAB, TEXT).astype(np.int32)
        text[COPY : COPY + 30] = text[PASSAGE : PASSAGE + 30]
        starts = STARTS if documents else (0,)
        rows = [targets(text, starts, begin, options) for begin in BEGINS]
        tensors: Params = {"text": text, "begins": np.array(BEGINS, np.int64), "targets": np.array(rows, np.int32)}
        if documents:
            tensors["starts"] = np.array(starts, np.int64)
        metadata = {"kind": "objective", "name": "goldfish", "paper": PAPER}
        metadata["options"] = flow_yaml({"type": "goldfish"} | options)
        write_safetensors(folder / f"goldfish.{variant}.safetensors", tensors, metadata)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
