"""Prefix language modelling: which tokens each token sees, and which targets count, where a share of a row is its prefix.

Raffel et al. 2020, arXiv:1910.10683, sections 3.2.1 and 3.2.2: a causal mask, but that of the prefix all tokens see
each other. Not as there: where documents are told apart, tokens see those of their own document alone; a row whose
prefix leaves fewer targets counts as one that leaves them all. How long a prefix is that is drawn is not here.
`python3 scripts/golden/prefix_lm.py` writes the golden files.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Array
from tensor_file import write_safetensors

PAPER = "Raffel et al. 2020, arXiv:1910.10683"
NAME = "prefix_lm"
VOCAB, ROWS = 7, 3
SEGMENTS = (0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3)  # a document of one token, borders inside and outside of prefixes


def sees(query: int, key: int, prefix: int) -> bool:
    """Whether a token sees another one, where the first `prefix` of them are the prefix."""
    return key <= query or key < prefix


def row_weights(tokens: int, share: float) -> tuple[int, Array]:
    """Returns the prefix's length p, and what the loss of each of the targets x_1 .. x_T is multiplied by: those of
    tokens that the prefix has given are 0, the others weigh together as much as T."""
    prefix = round(share * tokens)
    weights = np.array([0.0 if target < prefix else 1.0 for target in range(1, tokens + 1)])
    return prefix, weights * tokens / weights.sum()


# variant: (share, inputs of a row); the last knows all tokens but the one after the row.
CASES: dict[str, tuple[float, int]] = {"third": (0.34, 12), "most": (0.8, 12), "none": (0.0, 12), "all": (1.0, 12)}


def write(folder: Path) -> None:
    """Writes prefix_lm.<variant>.safetensors: text [B,T+1], weights [T], sees [T,T], segments [T] and with these
    sees_documents [T,T]."""
    for variant, (share, tokens) in CASES.items():
        rng = np.random.default_rng(zlib.crc32(f"{NAME}.{variant}".encode()))
        text = rng.integers(0, VOCAB, (ROWS, tokens + 1)).astype(np.int32)
        prefix, weights = row_weights(tokens, share)
        visible = np.array([[sees(i, j, prefix) for j in range(tokens)] for i in range(tokens)])
        segments = np.array(SEGMENTS, np.int64)
        tensors = {"text": text, "weights": weights, "segments": segments, "sees": visible.astype(np.int32)}
        tensors["sees_documents"] = (visible & (segments[:, None] == segments)).astype(np.int32)
        metadata = {"kind": "objective", "name": NAME, "paper": PAPER, "prefix": str(prefix)}
        metadata["options"] = flow_yaml({"type": NAME, "prefix": share})
        write_safetensors(folder / f"{NAME}.{variant}.safetensors", tensors, metadata)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
