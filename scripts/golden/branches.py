"""Mixers inside of mixers: finds a mixer's shapes and equation by the "type" of its options."""

from __future__ import annotations

import importlib
from typing import Any

from common import Array, Options, Params


def _module(options: Options) -> Any:
    """Returns the module scripts/golden/<type>.py, which holds shapes() and a function of the mixer's name."""
    return importlib.import_module(str(options["type"]))


def branch_shapes(options: Options, d_model: int, prefix: str) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter of the mixer, named "<prefix>.<name>"."""
    return {f"{prefix}.{name}": shape for name, shape in _module(options).shapes(options, d_model).items()}


def run_branch(
    x: Array, params: Params, prefix: str, options: Options, segments: Array | None, direction: str
) -> Array:
    """Returns the mixer's y [B,T,D] with the parameters named "<prefix>.<name>"."""
    start = len(prefix) + 1
    own = {name[start:]: value for name, value in params.items() if name.startswith(prefix + ".")}
    return getattr(_module(options), str(options["type"]))(x, own, options, segments, direction)


def spread_norms(params: Params) -> None:
    """Turns N(0, 0.5^2) into 1 + N(0, 0.2^2) for norm weights, which draw_params knows at the start of a name only."""
    for name in params:
        parts = name.split(".")
        if parts[0] == "norms" or parts[-2].endswith("norm"):
            params[name] = 1.0 + 0.4 * params[name]
