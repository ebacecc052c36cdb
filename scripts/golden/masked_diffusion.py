"""Masked diffusion: which tokens are masked, and how much each of them weighs.

Sahoo et al. 2024, arXiv:2406.07524, section 3.5, with one time a row, spread over the batch; Ou et al. 2024,
arXiv:2406.03736, section 3.3 (lambda-DCE: exactly l tokens, l uniform). Loops over single tokens.
`python3 scripts/golden/masked_diffusion.py` writes the golden files.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Array, Options, Params
from random_numbers import Stream, chosen
from tensor_file import write_safetensors

PAPER = "Sahoo et al. 2024, arXiv:2406.07524"
VOCAB, ROWS, TOKENS, DRAWS = 7, 3, 12, 5
GOLDEN_RATIO = (1 + 5**0.5) / 2


def spread(case: Options, purpose: str, b: int, k: int = 0, each: int = 1) -> float:
    """Returns number k of the `each` of row b in [0, 1): every number of a batch has a part of its own, of equal size.

    One number of the step says where the first part begins; at the end of [0, 1) they go on at 0.
    """
    begin = Stream(case["seed"], f"{purpose}.start", case["step"]).uniform(0)
    inside = Stream(case["seed"], purpose, case["step"], case["sample"] + b).uniform(k)
    return (begin + ((case["place"] + b) * each + k + inside) / (case["batch"] * each)) % 1


def training(text: Array, case: Options) -> tuple[Array, Array]:
    """Returns the inputs, with VOCAB where a token is masked, and what each token's loss is multiplied by."""
    seen, weights = text.copy(), np.zeros(text.shape)
    for b, row in enumerate(text):
        sample = case["sample"] + b
        rate = case["eps"] + (1 - case["eps"]) * spread(case, "masked_diffusion.time", b)
        noise = Stream(case["seed"], "masked_diffusion.mask", case["step"], sample)
        for i in range(len(row)):
            if noise.uniform(i) < rate:
                seen[b, i], weights[b, i] = VOCAB, 1 / rate
    return seen, weights


def evaluation(text: Array, scored: int, case: Options, purpose: str = "masked_diffusion") -> tuple[Array, Array]:
    """Returns the inputs of each draw, and what its tokens' losses are multiplied by; those before `scored` are known."""
    seen = np.repeat(text[None], DRAWS, axis=0)
    weights = np.zeros(seen.shape)
    length = text.shape[1] - scored
    for k in range(DRAWS):
        for b in range(len(text)):
            row = case["row"] + b
            start = Stream(case["seed"], f"{purpose}.how_many").uniform(0)
            count = 1 + int((start + row / GOLDEN_RATIO + k / DRAWS) % 1 * length)
            places = list(range(scored, scored + length))
            for i in chosen(places, count, Stream(case["seed"], f"{purpose}.which", row, k)):
                seen[k, b, i] = VOCAB
                weights[k, b, i] = length / count
    return seen, weights


# variant: (seed, step, number of the first row's sample, its place in a batch of so many, eps; number of the first row
# that is evaluated, known tokens).
CASES: dict[str, tuple[int, int, int, int, int, float, int, int]] = {
    "default": (1, 0, 0, 0, 3, 0, 0, 0),
    "shard": (3, 41, 1234, 5, 8, 0, 70001, 0),
    "eps": (2**40 + 7, 2, 20, 0, 3, 0.25, 3, 4),
}


def write(folder: Path) -> None:
    """Writes masked_diffusion.<variant>.safetensors: text [B,T], seen and weights [B,T] of training; draws and
    draw_weights [K,B,T] of evaluation."""
    for variant, (seed, step, sample, place, batch, eps, row, known) in CASES.items():
        rng = np.random.default_rng(zlib.crc32(f"masked_diffusion.{variant}".encode()))
        text = rng.integers(0, VOCAB, (ROWS, TOKENS)).astype(np.int32)
        case: Options = {"seed": seed, "step": step, "sample": sample, "place": place, "batch": batch, "row": row}
        case["eps"] = eps
        seen, weights = training(text, case)
        draws, draw_weights = evaluation(text, known, case)
        tensors: Params = {"text": text, "seen": seen, "weights": weights, "draws": draws, "draw_weights": draw_weights}
        metadata = {"kind": "objective", "name": "masked_diffusion", "paper": PAPER}
        metadata["options"] = flow_yaml({"type": "masked_diffusion", "eps": eps})
        metadata |= {name: str(value) for name, value in (case | {"known": known}).items()}
        write_safetensors(folder / f"masked_diffusion.{variant}.safetensors", tensors, metadata)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
