"""Mechanisms by name, and mixers inside mixers by the "type" of their options.

A module scripts/golden/<name>.py holds PAPER, VARIANTS, shapes(options, d_model) and the equation <name>(x, params,
options, ...), which may take segments, direction (else it is causal only), layer, the number of layers of its kind
before this one, shelf, a dict of what earlier mechanisms leave for later ones, beside "ids" [B,T], the tokens, and
"memory" [B,S,D], what an encoder made, of which sequence b has "memory_lengths" [B] rows, phase (else training computes
what inference does), and positions [B,T] inside the documents, given where tokens between these are missing. It may hold
KIND ("ffn", "block"), MODEL_WIDE, parameters that belong to the whole model and of which shapes() makes as many rows
as `layers` says, start(params), what is done to all that are drawn, shelf_columns(key, options, d_model), where what is
on the shelf is not d_model wide, OF_A_RUN, how the names on the shelf begin that only layers of this kind one after the
other share, check(x, params, options, segments), which raises where a case is not fit for a golden file, and
gradients(x, params, options, shelf, phase, seed), those of sum(seed y), "x" and by the names of parameters, for variants
that ask for them.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from common import Array, Options, Params, Shapes

SOURCE = Path(__file__).resolve().parents[2] / "src"


def listed() -> list[str]:
    """Returns the names of all mixers, channel mixers and blocks of the program, sorted."""
    lists = (SOURCE / "mixers" / "mixers.def", SOURCE / "ffn" / "ffns.def", SOURCE / "blocks" / "blocks.def")
    return sorted(name for path in lists for name in re.findall(r"^ENTRY\((\w+)\)", path.read_text(), re.M))


def module(name: str) -> Any:
    """Returns the module scripts/golden/<name>.py; ValueError where there is none."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ValueError(f"{name} has no transcription scripts/golden/{name}.py") from None


def kind(name: str) -> str:
    """Returns "mixer", "ffn" or "block"."""
    return getattr(module(name), "KIND", "mixer")


def run(
    name: str,
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None,
    direction: str,
    layer: int = 0,
    shelf: Params | None = None,
    phase: str = "inference",
    positions: Array | None = None,
) -> Array:
    """Returns the mechanism's y [B,T,D].

    ValueError where a mixer that is causal only has another direction, where one that has no form of training is asked
    for it, or where one that turns by position, or has others inside that may, cannot be given positions.
    """
    own = module(name)
    equation = getattr(own, name)
    takes = inspect.signature(equation).parameters
    if phase != "inference" and "phase" not in takes:
        raise ValueError(f"{name}: has no form for phase {phase}")
    if positions is not None and "positions" not in takes and (hasattr(own, "rotate") or hasattr(own, "run_branch")):
        raise ValueError(f"{name}: knows no positions but those it counts")
    if kind(name) != "ffn" and direction != "causal" and "direction" not in takes:
        raise ValueError(f"{name}: causal only")
    more = {"segments": segments, "direction": direction, "layer": layer, "shelf": {} if shelf is None else shelf}
    more |= {"phase": phase, "positions": positions}
    return equation(x, params, options, **{key: value for key, value in more.items() if key in takes})


def branch_shapes(options: Options, d_model: int, prefix: str) -> Shapes:
    """Returns the shape of each parameter of the mixer, named "<prefix>.<name>"."""
    return {f"{prefix}.{name}": shape for name, shape in module(options["type"]).shapes(options, d_model).items()}


def _model_wide(options: Options) -> list[str]:
    """Returns the model-wide parameters of the mechanism and of those inside it."""
    inner = [part for value in options.values() for part in (value if isinstance(value, list) else [value])]
    names = list(getattr(module(options["type"]), "MODEL_WIDE", ()))
    return names + [name for part in inner if isinstance(part, dict) and part.get("type") in listed() for name in _model_wide(part)]


def below(params: Params, prefix: str) -> Params:
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
    shelf: Params | None = None,
    positions: Array | None = None,
) -> Array:
    """Returns the mixer's y [B,T,D] with the parameters named "<prefix>.<name>" and those of the whole model."""
    own = below(params, prefix)
    for name in _model_wide(options):
        own[name] = params[name]
    return run(options["type"], x, own, options, segments, direction, layer, shelf, positions=positions)
