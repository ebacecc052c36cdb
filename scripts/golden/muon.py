"""Muon: momentum made orthogonal by an iteration of Newton and Schulz.

Jordan et al. 2024, kellerjordan.github.io/posts/muon. Plain equations in float64: twenty steps on random gradients.
Option normuon: Li et al. 2025 (arXiv:2510.05491), as in zichongli5/NorMuon@d45c9a4, normuon.py. Option cautious_decay:
the mask of karpathy/nanochat@92d63d4, nanochat/optim.py, and of KellerJordan/modded-nanogpt@f411b3d, train_gpt.py.
`python3 scripts/golden/muon.py` writes the golden files; with --torch it runs the same with torch.optim.Muon, as it is
(an iteration in bfloat16) and with an iteration in the type of the weights, and prints how far they are apart.
"""

from __future__ import annotations

import sys

import numpy as np

from common import Array, Options
from optimizer_files import FACTORS, STEPS, Case, Weight, clipped, draw, write

PAPER = "Jordan et al. 2024, kellerjordan.github.io/posts/muon"
QUINTIC = (3.4445, -4.7750, 2.0315)

# Wide, tall, square, three, two tall ones.
WEIGHTS = {
    "a_wide": Weight([6], 10),
    "b_tall": Weight([12], 5),
    "c_square": Weight([7], 7),
    "d_fused": Weight([4, 2, 3], 8),
    "e_gates": Weight([9, 9], 4),
}


def best_quintic(low: float, high: float) -> Array:
    """Returns (a, b, c) of the odd polynomial a x + b x^3 + c x^5 that is nearest to 1 on [low, high] (Remez)."""
    if low / high >= 1 - 5e-6:
        return np.array([15 / 8 / high, -10 / 8 / high**3, 3 / 8 / high**5])
    inner = np.array([(3 * low + high) / 4, (low + 3 * high) / 4])
    error = before = np.inf
    while not np.isfinite(before) or abs(before - error) > 1e-15:
        before = error
        x = np.array([low, inner[0], inner[1], high])
        *abc, error = np.linalg.solve(np.stack([x, x**3, x**5, np.array([1, -1, 1, -1])], 1), np.ones(4))
        a, b, c = abc
        inner = np.sqrt((-3 * b + np.array([-1, 1]) * np.sqrt(9 * b * b - 20 * a * c)) / (10 * c))
    return np.array(abc)


def polar_express(steps: int) -> list[Array]:
    """Returns the coefficients of each step (Amsel et al. 2025, arXiv:2505.16932, algorithm 1 and its listing).

    Each polynomial is the best on the interval that the one before left, which begins at 0.001; none is made for a
    lower end below `cushion` of the upper. The eighth is the limit and repeats; those before it are
    flattened by `safety`.
    """
    cushion, safety = 0.02407327424182761, 1.01
    low, high, found = 1e-3, 1.0, []
    for _ in range(7):
        abc = best_quintic(max(low, cushion * high), high)
        if cushion * high > low:  # centred on 1 for the whole interval
            abc = abc * 2 / sum(abc @ [x, x**3, x**5] for x in (low, high))
        found.append(abc / np.array([safety, safety**3, safety**5]))
        low = float(abc @ [low, low**3, low**5])
        high = 2 - low
    found.append(np.array([15 / 8, -10 / 8, 3 / 8]))
    return [found[min(step, 7)] for step in range(steps)]


def orthogonal(m: Array, options: Options) -> Array:
    """Returns nearly U V^T of m = U S V^T: odd polynomials of the singular values, m scaled to a norm of 1 first."""
    steps, eps = int(options.get("iterations", 5)), float(options.get("norm_eps", 1e-7))
    norm = np.sqrt((m * m).sum())
    if options.get("coefficients", "quintic") == "polar_express":
        x, polynomials = m / (1.01 * norm + eps), polar_express(steps)
    else:
        x, polynomials = m / max(norm, eps), [np.array(QUINTIC)] * steps
    for a, b, c in polynomials:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def rate(rows: int, columns: int, options: Options) -> float:
    """Returns what the learning rate is multiplied by for a matrix of this shape."""
    if options.get("adjust_lr", "original") == "match_rms_adamw":
        return 0.2 * float(np.sqrt(max(rows, columns)))
    return float(np.sqrt(max(1.0, rows / columns)))


def with_even_rows(update: Array, second: Array, beta: float) -> Array:
    """Returns the update with each row over the root of its second moment, at the norm that it had; moves second [R,1].

    The moment, which starts at zero, is of the mean of squares of a row; nothing corrects its start.
    """
    second += (1 - beta) * ((update**2).mean(1, keepdims=True) - second)
    even = update / (np.sqrt(second) + 1e-10)
    return even * np.sqrt((update**2).sum()) / (np.sqrt((even**2).sum()) + 1e-10)


def muon(weight: Array, gradients: Array, rows: list[int], options: Options, factors: Array) -> Array:
    """Returns the weight [R,C] after a step for each of gradients [S,R,C], whose matrices have `rows` rows each."""
    lr, decay = float(options["lr"]), float(options["weight_decay"])
    beta, nesterov = float(options.get("momentum", 0.95)), bool(options.get("nesterov", True))
    normuon, cautious = bool(options.get("normuon", False)), bool(options.get("cautious_decay", False))
    weight, momentum, second = weight.copy(), np.zeros_like(weight), np.zeros((len(weight), 1))
    cuts = np.cumsum(rows)[:-1]
    for gradient, factor in zip(gradients, factors):
        momentum = beta * momentum + (1 - beta) * gradient
        update = beta * momentum + (1 - beta) * gradient if nesterov else momentum
        for part, new, moments in zip(*(np.split(each, cuts) for each in (weight, update, second))):
            direction = orthogonal(new, options)
            if normuon:
                direction = with_even_rows(direction, moments, float(options.get("beta2_rows", 0.95)))
            decays = direction * part >= 0 if cautious else 1.0
            part *= 1 - lr * factor * decay * decays
            part -= lr * factor * rate(*part.shape, options) * direction
    return weight


BOTH: Options = {"normuon": True, "beta2_rows": 0.8, "cautious_decay": True}

# With tiny gradients the clamp of the norm shows.
OPTIONS: dict[str, tuple[Options, float]] = {
    "default": ({"lr": 0.02, "weight_decay": 0.1}, 1.0),
    "match_rms": ({"lr": 0.01, "weight_decay": 0.5, "adjust_lr": "match_rms_adamw", "momentum": 0.9}, 1.0),
    "no_nesterov": ({"lr": 0.02, "weight_decay": 0.0, "nesterov": False, "iterations": 3}, 1.0),
    "polar_express": ({"lr": 0.02, "weight_decay": 0.1, "coefficients": "polar_express"}, 1.0),
    "polar_express_long": ({"lr": 0.02, "weight_decay": 0.1, "coefficients": "polar_express", "iterations": 10}, 1.0),
    "tiny_gradients": ({"lr": 0.02, "weight_decay": 0.1}, 1e-9),
    "tiny_polar_express": ({"lr": 0.02, "weight_decay": 0.1, "coefficients": "polar_express", "norm_eps": 1e-6}, 1e-7),
    "normuon": ({"lr": 0.02, "weight_decay": 0.1, "normuon": True}, 1.0),
    "normuon_cautious": ({"lr": 0.01, "weight_decay": 0.5, "adjust_lr": "match_rms_adamw"} | BOTH, 1.0),
    "cautious": ({"lr": 0.02, "weight_decay": 0.5, "cautious_decay": True}, 1.0),
}
VARIANTS = {variant: Case(options, size, WEIGHTS) for variant, (options, size) in OPTIONS.items()}


def torch_muon(weight: Array, gradients: Array, rows: list[int], options: Options, factors: Array, dtype: str) -> Array:
    """Returns what torch.optim.Muon makes of the weight, its matrices as parameters of their own."""
    import torch

    parts = [torch.nn.Parameter(p.clone()) for p in torch.tensor(weight, dtype=getattr(torch, dtype)).split(rows)]
    names = {"momentum": "momentum", "nesterov": "nesterov", "iterations": "ns_steps", "adjust_lr": "adjust_lr_fn"}
    given = {names[key]: value for key, value in options.items() if key in names}
    optimizer = torch.optim.Muon(parts, weight_decay=float(options["weight_decay"]), **given)
    for gradient, factor in zip(gradients, factors):
        optimizer.param_groups[0]["lr"] = float(options["lr"]) * float(factor)
        for part, g in zip(parts, torch.tensor(gradient).split(rows)):
            part.grad = g.to(part.dtype)
        optimizer.step()
    return torch.cat([p.detach() for p in parts]).double().numpy()


def compare_with_torch() -> None:
    """Prints the largest difference of any weight to torch.optim.Muon after all steps, for each variant that it has."""
    import torch

    rounded = torch.Tensor.bfloat16
    print(f"torch {torch.__version__}: largest difference of weights after {STEPS} steps")
    for variant, case in VARIANTS.items():
        options = case.options
        if {"coefficients", "normuon", "cautious_decay"} & options.keys():
            continue
        weights, gradients = draw(f"muon.{variant}", case)
        for dtype, cast in (("float64", torch.Tensor.clone), ("float32", torch.Tensor.clone), ("float32", rounded)):
            torch.Tensor.bfloat16 = cast  # a copy in any case: the iteration works in place
            worst = 0.0
            for name, weight in WEIGHTS.items():
                taken = (weights[name], clipped(gradients[name]), weight.rows, options, FACTORS)
                found, wanted = torch_muon(*taken, dtype), muon(*taken)
                worst = max(worst, float(np.abs(found - wanted).max()))
            print(f"  {variant:16} {dtype}, iteration in {'bfloat16' if cast is rounded else dtype}: {worst:.1e}")
        torch.Tensor.bfloat16 = rounded


if __name__ == "__main__":
    compare_with_torch() if "--torch" in sys.argv else write("muon", PAPER, muon, VARIANTS)
