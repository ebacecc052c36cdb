"""Mixers by the "type" of their options: shapes and equation, of a layer's mixer or of one inside another.

A module may name MODEL_WIDE, parameters that belong to the whole model, and its function may take `layer`, the number
of layers of its kind before this one.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from common import Array, Options, Params


def _module(options: Options) -> Any:
    """Returns the module scripts/golden/<type>.py, which holds shapes() and a function of the mixer's name."""
    return importlib.import_module(str(options["type"]))


def branch_shapes(options: Options, d_model: int, prefix: str) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter of the mixer, named "<prefix>.<name>"."""
    return {f"{prefix}.{name}": shape for name, shape in _module(options).shapes(options, d_model).items()}


def _model_wide(options: Options) -> list[str]:
    """Returns the model-wide parameters of the mixer and of those inside it."""
    inner = [part for value in options.values() for part in (value if isinstance(value, list) else [value])]
    names = list(getattr(_module(options), "MODEL_WIDE", ()))
    return names + [name for part in inner if isinstance(part, dict) and "type" in part for name in _model_wide(part)]


def _below(params: Params, prefix: str) -> Params:
    """Returns the parameters named "<prefix>.<name>" as "<name>"; a dict with a `below` of its own knows how."""
    if hasattr(params, "below"):
        return params.below(prefix)
    return {name[len(prefix) + 1 :]: value for name, value in params.items() if name.startswith(prefix + ".")}


def run_branch(
    x: Array,
    params: Params,
    prefix: str,
    options: Options,
    segments: Array | None,
    direction: str,
    layer: int = 0,
) -> Array:
    """Returns the mixer's y [B,T,D] with the parameters named "<prefix>.<name>" and those of the whole model."""
    own = _below(params, prefix)
    for name in _model_wide(options):
        own[name] = params[name]
    equation = getattr(_module(options), str(options["type"]))
    more = {"layer": layer} if "layer" in inspect.signature(equation).parameters else {}
    return equation(x, own, options, segments, direction, **more)


def spread_norms(params: Params) -> None:
    """Turns N(0, 0.5^2) into 1 + N(0, 0.2^2) for norm weights, which draw_params knows at the start of a name only."""
    for name in params:
        parts = name.split(".")
        if parts[0] == "norms" or parts[-2].endswith("norm"):
            params[name] = 1.0 + 0.4 * params[name]
