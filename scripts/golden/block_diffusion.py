"""Block diffusion: which tokens are masked, how much each of them weighs, and which tokens each token sees.

Arriola et al. 2025, arXiv:2503.09573, sections 3 to 5; kuleshov-group/bd3lms@1c3e8f4 (diffusion.py, models/dit.py). Not
as in that code:

- The clean tokens stand before the noisy ones, where it has them behind.
- A token's weight is 1 / rate for every clip; there it is 1 where the least rate is above 1/2.
- Rates begin at 0 unless clipped; there at a thousandth. It keeps a row's first token where that is a mark.
- The times of a batch begin at a number that each step draws; there at 0.
- Evaluation is that of masked_diffusion.py for each block by itself; there one rate a block is drawn from [0, 1].

`python3 scripts/golden/block_diffusion.py` writes the golden files.
"""

from __future__ import annotations

import zlib
from math import ceil
from pathlib import Path

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Array, Options, Params
from masked_diffusion import DRAWS, GOLDEN_RATIO, ROWS, TOKENS, VOCAB, spread
from random_numbers import Stream, chosen
from tensor_file import write_safetensors

PAPER = "Arriola et al. 2025, arXiv:2503.09573"
SEGMENTS = (0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3)  # documents that begin at a block's border and inside one, one of a token


def training(text: Array, options: Options, case: Options) -> tuple[Array, Array]:
    """Returns the noisy inputs, with VOCAB where a token is masked, and what each token's loss is multiplied by.

    Each block has a time of its own; the times of all blocks of a batch are spread evenly over [0, 1), from a start that
    each step draws.
    """
    block = options["block"]
    least, most = options.get("clip", [1, 1] if block == 1 else [0, 1])
    seen, weights, blocks = text.copy(), np.zeros(text.shape), ceil(text.shape[1] / block)
    for b, row in enumerate(text):
        noise = Stream(case["seed"], "block_diffusion.mask", case["step"], case["sample"] + b)
        for i in range(len(row)):
            k = i // block
            rate = least + (most - least) * spread(case, "block_diffusion.time", b, k, blocks)
            if noise.uniform(i) < rate:
                seen[b, i], weights[b, i] = VOCAB, 1 / rate
    return seen, weights


def evaluation(text: Array, scored: int, options: Options, case: Options) -> tuple[Array, Array]:
    """Returns the noisy inputs of each draw, and what its tokens' losses are multiplied by; those before `scored` are
    known."""
    seen = np.repeat(text[None], DRAWS, axis=0)
    weights, block = np.zeros(seen.shape), options["block"]
    blocks = ceil(text.shape[1] / block)
    start = Stream(case["seed"], "block_diffusion.how_many").uniform(0)
    for draw in range(DRAWS):
        for b in range(len(text)):
            for k in range(blocks):
                places = [i for i in range(k * block, min((k + 1) * block, text.shape[1])) if i >= scored]
                number = (case["row"] + b) * blocks + k
                if not places:
                    continue
                count = 1 + int((start + number / GOLDEN_RATIO + draw / DRAWS) % 1 * len(places))
                for i in chosen(places, count, Stream(case["seed"], "block_diffusion.which", number, draw)):
                    seen[draw, b, i], weights[draw, b, i] = VOCAB, len(places) / count
    return seen, weights


def sees(query: int, key: int, tokens: int, block: int) -> bool:
    """Whether a token sees another one; the clean ones are 0 .. tokens - 1, the noisy ones the `tokens` behind them.

    A clean token sees the clean ones of its block and of those before, a noisy one the noisy ones of its block and the
    clean ones of the blocks before.
    """
    of_query, of_key = query % tokens // block, key % tokens // block
    if query < tokens:
        return key < tokens and of_key <= of_query
    return of_key < of_query if key < tokens else of_key == of_query


# variant: (options, seed, step, number of the first row's sample, its place in a batch of so many; number of the first
# row that is evaluated, known tokens).
CASES: dict[str, tuple[Options, int, int, int, int, int, int, int]] = {
    "default": ({"block": 4}, 1, 0, 0, 0, 3, 0, 0),
    "shard": ({"block": 5}, 3, 41, 1234, 5, 8, 70001, 0),
    "clip": ({"block": 3, "clip": [0.3, 0.8]}, 2**40 + 7, 2, 20, 0, 3, 3, 4),
    "one": ({"block": 1}, 9, 6, 40, 2, 5, 11, 2),
    "whole": ({"block": 12, "clip": [0.45, 0.95]}, 4, 17, 70, 0, 3, 6, 0),
}


def write(folder: Path) -> None:
    """Writes block_diffusion.<variant>.safetensors: text [B,T], seen and weights [B,T] of training; draws and
    draw_weights [K,B,T] of evaluation; sees [2T,2T], and with segments [T] sees_documents [2T,2T]."""
    for variant, (options, seed, step, sample, place, batch, row, known) in CASES.items():
        rng = np.random.default_rng(zlib.crc32(f"block_diffusion.{variant}".encode()))
        text = rng.integers(0, VOCAB, (ROWS, TOKENS)).astype(np.int32)
        case: Options = {"seed": seed, "step": step, "sample": sample, "place": place, "batch": batch, "row": row}
        seen, weights = training(text, options, case)
        draws, draw_weights = evaluation(text, known, options, case)
        tensors: Params = {"text": text, "seen": seen, "weights": weights, "draws": draws, "draw_weights": draw_weights}
        both = range(2 * TOKENS)
        visible = np.array([[sees(i, j, TOKENS, options["block"]) for j in both] for i in both])
        segments = np.array(SEGMENTS * 2)
        tensors |= {"sees": visible.astype(np.int32), "segments": np.array(SEGMENTS, np.int64)}
        tensors["sees_documents"] = (visible & (segments[:, None] == segments)).astype(np.int32)
        metadata = {"kind": "objective", "name": "block_diffusion", "paper": PAPER}
        metadata["options"] = flow_yaml({"type": "block_diffusion"} | options)
        metadata |= {name: str(value) for name, value in (case | {"known": known}).items()}
        write_safetensors(folder / f"block_diffusion.{variant}.safetensors", tensors, metadata)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
