"""Mixers side by side on the same input, each normed, then averaged: the hybrid heads of Hymba.

Dong et al. 2024 (arXiv:2411.13676), section 2.1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from branches import branch_shapes, run_branch, spread_norms
from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import rms_norm

PAPER = "Dong et al. 2024 (arXiv:2411.13676)"
NORM_EPS = 1e-6  # of the authors' code


def shapes(options: Options, d_model: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter."""
    result: dict[str, tuple[int, ...]] = {}
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
) -> Array:
    """y = 1/n sum_i RMSNorm_i(branch_i(x)) over the n branches, which have this mixer's direction; x and y [B,T,D]."""
    y, norm_eps = np.zeros_like(x), float(options.get("norm_eps", NORM_EPS))
    for i, branch in enumerate(options["branches"]):
        mixed = run_branch(x, params, f"branches.{i}", branch, segments, direction, layer)
        y = y + rms_norm(mixed, params[f"norms.{i}.weight"], norm_eps)
    return y / len(options["branches"])


ATTENTION: Options = {"type": "attention", "heads": 2, "window": 5, "position": "rope"}
GLA: Options = {"type": "gla", "heads": 2, "gate": "key", "gate_rank": 3}
MIN_GRU: Options = {"type": "min_gru", "expand": 1, "candidate": "g", "conv": 3}
BOTH_WAYS: Options = {"type": "bidirectional", "of": MIN_GRU, "tie": False}

# variant: (options, direction, packed documents)
VARIANTS: dict[str, tuple[Options, str, bool]] = {
    "two": ({"branches": [ATTENTION, GLA]}, "causal", False),
    "three": ({"branches": [MIN_GRU, ATTENTION | {"sinks": 1}, GLA | {"expand_v": 2}]}, "causal", False),
    "one": ({"branches": [MIN_GRU | {"expand": 2}]}, "causal", False),
    "twice_the_same": ({"branches": [MIN_GRU, MIN_GRU]}, "causal", False),
    "bidirectional": ({"branches": [ATTENTION, BOTH_WAYS]}, "bidirectional", False),
    "large_eps": ({"branches": [ATTENTION, GLA], "norm_eps": 0.1}, "causal", False),
    "documents": ({"branches": [ATTENTION, GLA | {"conv": 3}, MIN_GRU]}, "causal", True),
}


def write(folder: Path) -> None:
    """Writes parallel.<variant>.safetensors for each variant."""
    for variant, (options, direction, documents) in VARIANTS.items():
        x, params = draw_case(f"parallel.{variant}", shapes(options, D_MODEL))
        spread_norms(params)
        segments = packed_segments() if documents else None
        y = parallel(x, params, options, segments, direction)
        write_golden(folder, "mixer", "parallel", variant, options, PAPER, x, y, params, segments, direction)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
