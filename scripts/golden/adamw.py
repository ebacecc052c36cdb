"""AdamW: Adam with bias correction, and a decay of the weights beside it.

Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2, with the decay times the learning rate as in PyTorch.
`python3 scripts/golden/adamw.py` writes the golden files.
"""

from __future__ import annotations

import numpy as np

from common import Array, Options
from optimizer_files import Case, Weight, write

PAPER = "arXiv:1711.05101"
WEIGHTS = {"a": Weight([6], 10), "b_bias": Weight([1], 9, decays=False), "c_slow": Weight([3], 4, lr_scale=0.1)}


def adamw(weight: Array, gradients: Array, rows: list[int], options: Options, factors: Array) -> Array:
    """Returns the weight [R,C] after a step for each of gradients [S,R,C]."""
    beta1, beta2 = float(options["beta1"]), float(options["beta2"])
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step, (gradient, factor) in enumerate(zip(gradients, factors), 1):
        lr = options["lr"] * factor
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        spread = np.sqrt(second / (1 - beta2**step)) + options["eps"]
        weight = weight - lr * options["weight_decay"] * weight - lr * first / (1 - beta1**step) / spread
    return weight


VARIANTS = {
    "default": Case({"lr": 0.01, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8}, 1.0, WEIGHTS),
    "large_eps": Case({"lr": 0.02, "weight_decay": 0.5, "beta1": 0.6, "beta2": 0.999, "eps": 0.1}, 0.3, WEIGHTS),
}

if __name__ == "__main__":
    write("adamw", PAPER, adamw, VARIANTS)
