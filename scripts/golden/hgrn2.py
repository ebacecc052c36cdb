"""HGRN2, HGRN with a matrix for a state: the forget gate is the decay and its complement the key (Qin et al. 2024,
arXiv:2404.07904).

As in the authors' hgru2-pytorch, language models: a linear input, silu for the output gate, and at the end an RMS norm
over the whole width, without a weight.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import document_positions, linear, rms_norm, sigmoid, silu
from hgrn import forget_floor

PAPER = "Qin et al. 2024 (arXiv:2404.07904)"
NORM_EPS = 1e-6
MODEL_WIDE = ("hgrn2_floor",)


def shapes(options: Options, d_model: int, layers: int = 1) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter; the rows of in.weight are the input i, forget gate f, output gate o.

    hgrn2_floor is one parameter for the whole model, a row for each of its HGRN2 layers.
    """
    return {"in.weight": (3 * d_model, d_model), "out.weight": (d_model, d_model), "hgrn2_floor": (layers, d_model)}


def hgrn2(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
) -> Array:
    """S_t = diag(f_t) S_{t-1} + (1 - f_t) i_t^T, o_t read it as S_t^T o_t, S_0 = 0, for each head of n columns.

    f_t = floor + (1 - floor) sigmoid(W_f x_t), i_t = W_i x_t, o_t = silu(W_o x_t); the floor is HGRN's.
    y_t = W (S_t^T o_t / rms of all heads together); x and y [B,T,D].
    """
    if direction != "causal":
        raise ValueError("hgrn2: the recurrence is causal only")
    batch, tokens, d_model = x.shape
    n = int(options.get("head_dim") or min(128, d_model))
    positions = document_positions(segments, batch, tokens)
    w_i, w_f, w_o = np.split(params["in.weight"], 3)
    floor = forget_floor(params["hgrn2_floor"], layer)
    read = np.zeros((batch, tokens, d_model))
    for b in range(batch):
        for head in range(d_model // n):
            own = slice(head * n, (head + 1) * n)
            state = np.zeros((n, n))
            for t in range(tokens):
                if positions[b, t] == 0:
                    state = np.zeros((n, n))
                forget = floor[own] + (1.0 - floor[own]) * sigmoid(linear(x[b, t], w_f[own]))
                state = np.diag(forget) @ state + np.outer(1.0 - forget, linear(x[b, t], w_i[own]))
                read[b, t, own] = state.T @ silu(linear(x[b, t], w_o[own]))
    return linear(rms_norm(read, np.ones(d_model), NORM_EPS), params["out.weight"])


# variant: (options, layer, layers, packed documents)
VARIANTS: dict[str, tuple[Options, int, int, bool]] = {
    "one_head": ({"head_dim": D_MODEL}, 0, 1, False),
    "two_heads": ({"head_dim": 4}, 0, 1, False),
    "layer_0_of_3": ({"head_dim": 4}, 0, 3, False),
    "layer_1_of_3": ({"head_dim": 4}, 1, 3, False),
    "layer_2_of_3": ({"head_dim": 2}, 2, 3, False),
    "strong_gates": ({"head_dim": 4}, 2, 3, False),
    "strong_gates_first": ({"head_dim": 4}, 0, 3, False),
    "documents": ({"head_dim": 4}, 2, 3, True),
}

# Factors on the rows of f and on the floors in strong_gates: gates and floors near 0 and near 1.
STRONG_GATES, STRONG_FLOORS = 15.0, 10.0


def write(folder: Path) -> None:
    """Writes hgrn2.<variant>.safetensors for each variant."""
    for variant, (options, layer, layers, documents) in VARIANTS.items():
        x, params = draw_case(f"hgrn2.{variant}", shapes(options, D_MODEL, layers))
        if variant.startswith("strong_gates"):
            params["in.weight"][D_MODEL : 2 * D_MODEL] *= STRONG_GATES
            params["hgrn2_floor"] *= STRONG_FLOORS
        segments = packed_segments() if documents else None
        y = hgrn2(x, params, options, segments, layer=layer)
        extra = {"layer": str(layer), "layers": str(layers)}
        write_golden(folder, "mixer", "hgrn2", variant, options, PAPER, x, y, params, segments, extra=extra)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
