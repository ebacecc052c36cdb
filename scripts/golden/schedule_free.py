"""Schedule-free AdamW: the average of all iterates takes the place of a schedule that ends, and of the first moment.

Defazio et al. 2024 (arXiv:2405.15682), algorithm 1, as in facebookresearch/schedule_free@c752e61 (release 1.4.1),
schedulefree/adamw_schedulefree.py; its warmup is the schedule here. Three sequences, where that code keeps two: the
iterates z, their average x, and between them y, where gradients are taken and weights decay.
`python3 scripts/golden/schedule_free.py` writes the golden files; with --torch it runs the same with the package
schedulefree and prints how far they are apart.
"""

from __future__ import annotations

import sys

import numpy as np

from adamw import WEIGHTS
from common import Array, Options
from optimizer_files import STEPS, Case, clipped, draw, write

PAPER = "arXiv:2405.15682"
WARMUP = tuple(min(step / 6, 1.4 - step / 15) for step in range(STEPS))  # from 0 up to 1, and down


def schedule_free(
    weight: Array, gradients: Array, rows: list[int], options: Options, factors: Array
) -> tuple[Array, Array]:
    """Returns y and x [R,C] after a step for each of gradients [S,R,C], which are those at y."""
    beta1, beta2 = float(options["beta1"]), float(options["beta2"])
    x, y, z = weight, weight, weight
    second, highest, total = np.zeros_like(weight), 0.0, 0.0
    for step, (gradient, factor) in enumerate(zip(gradients, factors), 1):
        lr = options["lr"] * float(factor)
        second = beta2 * second + (1 - beta2) * gradient**2
        spread = np.sqrt(second / (1 - beta2**step)) + options["eps"]
        z = z - lr * (gradient / spread + options["weight_decay"] * y)
        highest = max(highest, lr)
        total += highest**2
        share = highest**2 / total if total > 0 else 0.0
        x = (1 - share) * x + share * z
        y = (1 - beta1) * z + beta1 * x
    return y, x


DEFAULT: Options = {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8}
LARGE_EPS: Options = {"lr": 0.02, "weight_decay": 0.5, "beta1": 0.6, "beta2": 0.999, "eps": 0.1}
VARIANTS = {
    "default": Case(DEFAULT, 1.0, WEIGHTS),
    "large_eps": Case(LARGE_EPS, 0.3, WEIGHTS),
    "warmup": Case(DEFAULT, 1.0, WEIGHTS, WARMUP),
}


def torch_schedule_free(weight: Array, gradients: Array, options: Options, factors: Array) -> tuple[Array, Array]:
    """Returns what the package makes of the weight: y, and x, which it swaps in for an evaluation."""
    import schedulefree
    import torch

    part = torch.nn.Parameter(torch.tensor(weight))
    given = {key: options[key] for key in ("lr", "weight_decay", "eps")}
    optimizer = schedulefree.AdamWScheduleFree([part], betas=(options["beta1"], options["beta2"]), **given)
    optimizer.train()
    for gradient, factor in zip(gradients, factors):
        optimizer.param_groups[0]["lr"] = float(options["lr"]) * float(factor)
        part.grad = torch.tensor(gradient)
        optimizer.step()
    y = part.detach().clone().numpy()
    optimizer.eval()
    return y, part.detach().numpy()


def compare_with_torch() -> None:
    """Prints the largest difference of any weight and average to the package after all steps, for each variant."""
    for variant, case in VARIANTS.items():
        weights, gradients = draw(f"schedule_free.{variant}", case)
        worst = 0.0
        for name, weight in WEIGHTS.items():
            own = {"lr": case.options["lr"] * weight.lr_scale}
            own["weight_decay"] = case.options["weight_decay"] * weight.decays
            options, factors = case.options | own, np.array(case.factors)
            wanted = schedule_free(weights[name], clipped(gradients[name]), weight.rows, options, factors)
            found = torch_schedule_free(weights[name], clipped(gradients[name]), options, factors)
            worst = max(worst, *(float(np.abs(f - w).max()) for f, w in zip(found, wanted)))
        print(f"  {variant:16} {worst:.1e}")


if __name__ == "__main__":
    compare_with_torch() if "--torch" in sys.argv else write("schedule_free", PAPER, schedule_free, VARIANTS)
