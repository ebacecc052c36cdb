"""Masked language modelling: which tokens are predicted, what stands in their place, and how much each of them weighs.

Devlin et al. 2018, arXiv:1810.04805, section 3.1; google-research/bert@eedf571 (create_pretraining_data.py,
create_masked_lm_predictions), without whole-word masking and without marks at a row's ends. That code draws once, when
it writes a data set, where these are drawn anew in each step. Evaluation is that of masked_diffusion.py. `python3
scripts/golden/masked_lm.py` writes the golden files.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Array, Options, Params
from masked_diffusion import ROWS, TOKENS, VOCAB, evaluation
from random_numbers import Stream, chosen
from tensor_file import write_safetensors

PAPER = "Devlin et al. 2018, arXiv:1810.04805"
DEFAULTS: Options = {"rate": 0.15, "mask_share": 0.8, "random_share": 0.1}


def training(text: Array, options: Options, case: Options) -> tuple[Array, Array]:
    """Returns the inputs, and what each token's loss is multiplied by: T / n for the n tokens that are predicted.

    Of these mask_share become VOCAB, random_share a token of the whole vocabulary, and the others stay.
    """
    own = DEFAULTS | options
    seen, weights = text.copy(), np.zeros(text.shape)
    for b, row in enumerate(text):
        where = (case["step"], case["sample"] + b)
        count = max(1, round(len(row) * own["rate"]))
        how, token = Stream(case["seed"], "masked_lm.how", *where), Stream(case["seed"], "masked_lm.token", *where)
        for i in chosen(list(range(len(row))), count, Stream(case["seed"], "masked_lm.predicted", *where)):
            weights[b, i] = len(row) / count
            v = how.uniform(i)
            if v < own["mask_share"]:
                seen[b, i] = VOCAB
            elif v < own["mask_share"] + own["random_share"]:
                seen[b, i] = token.below(i, VOCAB)
    return seen, weights


# variant: (options, seed, step, number of the first row's sample, its place in a batch of so many; number of the first
# row that is evaluated, known tokens).
CASES: dict[str, tuple[Options, int, int, int, int, int, int, int]] = {
    "default": ({}, 1, 0, 0, 0, 3, 0, 0),
    "shard": ({}, 3, 41, 1234, 5, 8, 70001, 0),
    "shares": ({"rate": 0.5, "mask_share": 0.4, "random_share": 0.3}, 2**40 + 7, 2, 20, 0, 3, 3, 4),
    "kept": ({"rate": 0.9, "mask_share": 0, "random_share": 0.5}, 12, 5, 8, 0, 3, 3, 11),
}


def write(folder: Path) -> None:
    """Writes masked_lm.<variant>.safetensors: text [B,T], seen and weights [B,T] of training; draws and draw_weights
    [K,B,T] of evaluation."""
    for variant, (options, seed, step, sample, place, batch, row, known) in CASES.items():
        rng = np.random.default_rng(zlib.crc32(f"masked_lm.{variant}".encode()))
        text = rng.integers(0, VOCAB, (ROWS, TOKENS)).astype(np.int32)
        case: Options = {"seed": seed, "step": step, "sample": sample, "place": place, "batch": batch, "row": row}
        seen, weights = training(text, options, case)
        draws, draw_weights = evaluation(text, known, case, "masked_lm")
        tensors: Params = {"text": text, "seen": seen, "weights": weights, "draws": draws, "draw_weights": draw_weights}
        metadata = {"kind": "objective", "name": "masked_lm", "paper": PAPER}
        metadata["options"] = flow_yaml({"type": "masked_lm"} | options)
        metadata |= {name: str(value) for name, value in (case | {"known": known}).items()}
        write_safetensors(folder / f"masked_lm.{variant}.safetensors", tensors, metadata)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
