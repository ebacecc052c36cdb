"""A causal mixer made bidirectional: one reads forward, one backward, their outputs are added.

Schuster & Paliwal 1997 (Bidirectional recurrent neural networks); for state-space models Zhu et al. 2024
(arXiv:2401.09417).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from branches import branch_shapes, run_branch, spread_norms
from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import document_positions

PAPER = "Schuster & Paliwal 1997; Zhu et al. 2024 (arXiv:2401.09417)"


def shapes(options: Options, d_model: int) -> dict[str, tuple[int, ...]]:
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
) -> Array:
    """y = f(x) + flip(g(flip(x))), f and g causal with different parameters, or the same if tied; x and y [B,T,D]."""
    if direction != "bidirectional":
        raise ValueError("bidirectional: reads tokens to come, so it cannot be causal")
    positions = document_positions(segments, *x.shape[:2])
    ahead = run_branch(x, params, "forward", options["of"], segments, "causal", layer)
    name = "forward" if options.get("tie") else "backward"
    back = run_branch(flip(x, positions), params, name, options["of"], segments, "causal", layer)
    return ahead + flip(back, positions)


MIN_GRU: Options = {"type": "min_gru", "expand": 1, "candidate": "g", "conv": 3}
GLA: Options = {"type": "gla", "heads": 2, "gate": "key", "gate_rank": 3}

# variant: (options, packed documents)
VARIANTS: dict[str, tuple[Options, bool]] = {
    "min_gru": ({"of": MIN_GRU, "tie": False}, False),
    "gla": ({"of": GLA | {"conv": 3}}, False),
    "gla_tied": ({"of": GLA, "tie": True}, False),
    "attention": ({"of": {"type": "attention", "heads": 2, "window": 5, "position": "rope"}}, False),
    "documents": ({"of": GLA | {"conv": 3}, "tie": False}, True),
    "documents_tied": ({"of": MIN_GRU | {"expand": 2}, "tie": True}, True),
}


def write(folder: Path) -> None:
    """Writes bidirectional.<variant>.safetensors for each variant."""
    for variant, (options, documents) in VARIANTS.items():
        x, params = draw_case(f"bidirectional.{variant}", shapes(options, D_MODEL))
        spread_norms(params)
        segments = packed_segments() if documents else None
        y = bidirectional(x, params, options, segments)
        write_golden(
            folder, "mixer", "bidirectional", variant, options, PAPER, x, y, params, segments, "bidirectional"
        )


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
