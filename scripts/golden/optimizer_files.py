"""What the golden files of optimizers hold: weights, a gradient and a clipping for each step, the weights at the end."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Array, Options, Params
from tensor_file import write_safetensors

STEPS = 20
FACTORS = 1.0 / (1.0 + 0.1 * np.arange(STEPS))  # the schedule's
SCALES = 1.0 / (1.0 + np.arange(STEPS) % 3)  # the clipping's: every third step is left as it is


@dataclass(frozen=True)
class Weight:
    """A weight of `rows` in each of its matrices, and what sets its learning rate and decay apart."""

    rows: list[int]
    columns: int
    lr_scale: float = 1.0
    decays: bool = True


@dataclass(frozen=True)
class Case:
    """One golden file of an optimizer: its options, the size of the gradients, the weights, the schedule's factors."""

    options: Options
    size: float
    weights: dict[str, Weight]
    factors: tuple[float, ...] = tuple(FACTORS)


# weight [R,C], gradients [S,R,C] after clipping, rows of the matrices, options, factors -> the weight after all steps,
# or a pair: the weight, and the average of weights that is evaluated in its place
Optimizer = Callable[[Array, Array, list[int], Options, Array], "Array | tuple[Array, Array]"]


def draw(stem: str, case: Case) -> tuple[Params, Params]:
    """Returns weights and gradients; the seed is the CRC-32 of the file's name."""
    rng = np.random.default_rng(zlib.crc32(stem.encode()))
    weights = {name: rng.normal(0.0, 0.5, (sum(w.rows), w.columns)) for name, w in case.weights.items()}
    return weights, {name: case.size * rng.normal(0.0, 1.0, (STEPS, *w.shape)) for name, w in weights.items()}


def clipped(gradients: Array) -> Array:
    """Returns the gradients as an optimizer has to take them."""
    return SCALES[:, None, None] * gradients


def write(name: str, paper: str, optimizer: Optimizer, variants: dict[str, Case]) -> None:
    """Writes <name>.<variant>.safetensors: start.*, gradient.* [S,R,C], rows.* of matrices, traits.* (factor of the
    learning rate, and of the decay), end.*, average.* if the optimizer keeps one, factors, scales."""
    for variant, case in variants.items():
        weights, gradients = draw(f"{name}.{variant}", case)
        factors = np.array(case.factors)
        tensors: Params = {"factors": factors, "scales": SCALES}
        for key, weight in case.weights.items():
            own = {"lr": case.options["lr"] * weight.lr_scale, "weight_decay": case.options["weight_decay"]}
            own["weight_decay"] *= weight.decays
            tensors[f"start.{key}"], tensors[f"gradient.{key}"] = weights[key], gradients[key]
            tensors[f"rows.{key}"] = np.array(weight.rows, dtype=np.int64)
            tensors[f"traits.{key}"] = np.array([weight.lr_scale, float(weight.decays)])
            arguments = (weights[key], clipped(gradients[key]), weight.rows, case.options | own, factors)
            end = optimizer(*arguments)
            if isinstance(end, tuple):
                end, tensors[f"average.{key}"] = end
            tensors[f"end.{key}"] = end
        metadata = {"kind": "optimizer", "name": name, "paper": paper}
        metadata["options"] = flow_yaml({"type": name} | case.options)
        write_safetensors(GOLDEN_FOLDER / f"{name}.{variant}.safetensors", tensors, metadata)
