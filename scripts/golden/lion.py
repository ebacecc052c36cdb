"""Lion: steps of one size, in the direction that the sign of a momentum gives.

Chen et al. 2023 (arXiv:2302.06675), algorithm 2, in the order of google/automl@b21d6ce, lion/lion_pytorch.py.
`python3 scripts/golden/lion.py` writes the golden files.
"""

from __future__ import annotations

import numpy as np

from adamw import WEIGHTS
from common import Array, Options
from optimizer_files import Case, write

PAPER = "arXiv:2302.06675"
LEAST = 1e-6  # what has a sign that no rounding, not that of float32 either, turns around


def lion(weight: Array, gradients: Array, rows: list[int], options: Options, factors: Array) -> Array:
    """Returns the weight [R,C] after a step for each of gradients [S,R,C]."""
    beta1, beta2 = float(options["beta1"]), float(options["beta2"])
    momentum = np.zeros_like(weight)
    for gradient, factor in zip(gradients, factors):
        lr = options["lr"] * factor
        direction = beta1 * momentum + (1 - beta1) * gradient
        if np.abs(direction).min() < LEAST:
            raise ValueError(f"a sign in doubt: {np.abs(direction).min():.1e}")
        weight = (1 - lr * options["weight_decay"]) * weight - lr * np.sign(direction)
        momentum = beta2 * momentum + (1 - beta2) * gradient
    return weight


VARIANTS = {
    "default": Case({"lr": 0.001, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99}, 1.0, WEIGHTS),
    "other_betas": Case({"lr": 0.02, "weight_decay": 2.0, "beta1": 0.6, "beta2": 0.8}, 0.3, WEIGHTS),
}

if __name__ == "__main__":
    write("lion", PAPER, lion, VARIANTS)
