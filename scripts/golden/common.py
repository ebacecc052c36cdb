"""What every mechanism's file is written in: types, variants, and parameters drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Params = dict[str, Array]
Options = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Variant:
    """One golden file of a mechanism: its options, and what differs from a causal mechanism on one document."""

    options: Options
    documents: bool = False  # several of them packed in each sequence
    direction: str = "causal"
    layer: tuple[int, int] | None = None  # which one of how many of its kind, where layers differ
    phase: str = "inference"  # or "train", where training computes another function
    shelf: tuple[str, ...] = ()  # what earlier layers left for this one, [B,T,D] each
    change: Callable[[Params], None] | None = None  # what is done to the drawn parameters; it may add "buffers.<name>"
    ids: int = 0  # how many tokens the vocabulary has, where they are told
    memory: int = 0  # rows that an encoder made for each sequence
    memory_lengths: tuple[int, ...] = ()  # how many of them each sequence has, where these differ
    gradients: bool = False  # the file has them too


def draw_params(rng: np.random.Generator, shapes: Shapes) -> Params:
    """Draws N(0, 0.5^2) for every shape, in the order given; norm weights are 1 + N(0, 0.2^2)."""
    params: Params = {}
    for name, shape in shapes.items():
        is_norm = name.split(".")[0].endswith("norm")
        params[name] = 1.0 + rng.normal(0.0, 0.2, shape) if is_norm else rng.normal(0.0, 0.5, shape)
    return params


def spread_norms(params: Params) -> None:
    """Turns N(0, 0.5^2) into 1 + N(0, 0.2^2) for norm weights, which draw_params knows at the start of a name only."""
    for name in params:
        parts = name.split(".")
        if parts[0] == "norms" or parts[-2].endswith("norm"):
            params[name] = 1.0 + 0.4 * params[name]
