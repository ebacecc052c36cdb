"""Mixers side by side on the same input, each normed, then averaged: the hybrid heads of Hymba.

Dong et al. 2024 (arXiv:2411.13676), section 2.1.
"""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant, spread_norms
from equations import rms_norm
from mechanisms import branch_shapes, run_branch

PAPER = "Dong et al. 2024 (arXiv:2411.13676)"
NORM_EPS = 1e-6  # of the authors' code


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    result: Shapes = {}
    for i, branch in enumerate(options["branches"]):
        result |= branch_shapes(branch, d_model, f"branches.{i}") | {f"norms.{i}.weight": (d_model,)}
    return result


def parallel(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
    shelf: Params | None = None,
) -> Array:
    """y = 1/n sum_i RMSNorm_i(branch_i(x)) over the n branches, which have this mixer's direction; x and y [B,T,D]."""
    y, norm_eps = np.zeros_like(x), float(options.get("norm_eps", NORM_EPS))
    for i, branch in enumerate(options["branches"]):
        mixed = run_branch(x, params, f"branches.{i}", branch, segments, direction, layer, shelf)
        y = y + rms_norm(mixed, params[f"norms.{i}.weight"], norm_eps)
    return y / len(options["branches"])


start = spread_norms

ATTENTION: Options = {"type": "attention", "heads": 2, "window": 5, "position": "rope"}
GLA: Options = {"type": "gla", "heads": 2, "gate": "key", "gate_rank": 3}
MIN_GRU: Options = {"type": "min_gru", "expand": 1, "candidate": "g", "conv": 3}
BOTH_WAYS: Options = {"type": "bidirectional", "of": MIN_GRU, "tie": False}

VALUE_RESIDUAL: Options = ATTENTION | {"value_residual": 0.5}
OTHER_HEADS: Options = {"type": "attention", "heads": 4, "kv_heads": 4, "value_residual": 0.3}

VARIANTS = {
    "two": Variant({"branches": [ATTENTION, GLA]}),
    "three": Variant({"branches": [MIN_GRU, ATTENTION | {"sinks": 1}, GLA | {"expand_v": 2}]}),
    "one": Variant({"branches": [MIN_GRU | {"expand": 2}]}),
    "twice_the_same": Variant({"branches": [MIN_GRU, MIN_GRU]}),
    "bidirectional": Variant({"branches": [ATTENTION, BOTH_WAYS]}, direction="bidirectional"),
    "large_eps": Variant({"branches": [ATTENTION, GLA], "norm_eps": 0.1}),
    "documents": Variant({"branches": [ATTENTION, GLA | {"conv": 3}, MIN_GRU]}, documents=True),
    "value_residual": Variant({"branches": [VALUE_RESIDUAL, ATTENTION, OTHER_HEADS, VALUE_RESIDUAL]}),
    "value_residual_documents": Variant({"branches": [VALUE_RESIDUAL, OTHER_HEADS]}, documents=True),
}
