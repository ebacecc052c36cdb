"""A causal mixer made bidirectional: one reads forward, one backward, their outputs are added.

Schuster & Paliwal 1997 (Bidirectional recurrent neural networks); for state-space models Zhu et al. 2024
(arXiv:2401.09417).
"""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant, spread_norms
from equations import document_positions
from mechanisms import branch_shapes, run_branch

PAPER = "Schuster & Paliwal 1997; Zhu et al. 2024 (arXiv:2401.09417)"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; tied, both readings have those named forward."""
    result = branch_shapes(options["of"], d_model, "forward")
    return result if options.get("tie") else result | branch_shapes(options["of"], d_model, "backward")


def flip(x: Array, positions: Array) -> Array:
    """Reverses the tokens inside each document; x [B,T,C], positions [B,T] inside the documents."""
    batch, tokens = positions.shape
    y = np.zeros_like(x)
    for b in range(batch):
        for t in range(tokens):
            start = t - int(positions[b, t])
            last = t
            while last + 1 < tokens and positions[b, last + 1] > 0:
                last += 1
            y[b, t] = x[b, start + last - t]
    return y


def bidirectional(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "bidirectional",
    layer: int = 0,
    shelf: Params | None = None,
) -> Array:
    """y = f(x) + flip(g(flip(x))), f and g causal with different parameters, or the same if tied; x and y [B,T,D]."""
    if direction != "bidirectional":
        raise ValueError("bidirectional: reads tokens to come, so it cannot be causal")
    positions = document_positions(segments, *x.shape[:2])
    ahead = run_branch(x, params, "forward", options["of"], segments, "causal", layer, shelf)
    name = "forward" if options.get("tie") else "backward"
    of_tokens = {key: value for key, value in (shelf or {}).items() if value.ndim > 1 and key != "memory"}
    flipped = {key: flip(value, positions) for key, value in of_tokens.items()}
    back = run_branch(flip(x, positions), params, name, options["of"], segments, "causal", layer, flipped)
    return ahead + flip(back, positions)


start = spread_norms

ATTENTION: Options = {"type": "attention", "heads": 2, "window": 5, "position": "rope"}
MIN_GRU: Options = {"type": "min_gru", "expand": 1, "candidate": "g", "conv": 3}
GLA: Options = {"type": "gla", "heads": 2, "gate": "key", "gate_rank": 3}

VARIANTS = {
    "min_gru": Variant({"of": MIN_GRU, "tie": False}, direction="bidirectional"),
    "gla": Variant({"of": GLA | {"conv": 3}}, direction="bidirectional"),
    "gla_tied": Variant({"of": GLA, "tie": True}, direction="bidirectional"),
    "attention": Variant({"of": ATTENTION}, direction="bidirectional"),
    "value_residual": Variant({"of": ATTENTION | {"value_residual": 0.5}}, direction="bidirectional"),
    "documents": Variant({"of": GLA | {"conv": 3}, "tie": False}, documents=True, direction="bidirectional"),
    "documents_tied": Variant({"of": MIN_GRU | {"expand": 2}, "tie": True}, documents=True, direction="bidirectional"),
}
