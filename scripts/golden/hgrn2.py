"""HGRN2, HGRN with a matrix for a state: the forget gate is the decay and its complement the key (Qin et al. 2024,
arXiv:2404.07904).

As in the authors' hgru2-pytorch, language models: a linear input, silu for the output gate, and at the end an RMS norm
over the whole width, without a weight.
"""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, rms_norm, silu
from hgrn import forget_floor, forget_gate, strong_gates

PAPER = "Qin et al. 2024 (arXiv:2404.07904)"
NORM_EPS = 1e-6
MODEL_WIDE = ("hgrn2_floor",)


def shapes(options: Options, d_model: int, layers: int = 1) -> Shapes:
    """Returns the shape of each parameter; the rows of in.weight are the input i, forget gate f, output gate o.

    hgrn2_floor is one parameter for the whole model, a row for each of its HGRN2 layers.
    """
    return {"in.weight": (3 * d_model, d_model), "out.weight": (d_model, d_model), "hgrn2_floor": (layers, d_model)}


def hgrn2(x: Array, params: Params, options: Options, segments: Array | None = None, layer: int = 0) -> Array:
    """S_t = diag(f_t) S_{t-1} + (1 - f_t) i_t^T, o_t read it as S_t^T o_t, S_0 = 0, for each head of n columns.

    f_t = floor + (1 - floor) sigmoid(W_f x_t), i_t = W_i x_t, o_t = silu(W_o x_t); the floor is HGRN's.
    y_t = W (S_t^T o_t / rms of all heads together); x and y [B,T,D].
    """
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
                forget = forget_gate(linear(x[b, t], w_f[own]), floor[own])
                state = np.diag(forget) @ state + np.outer(1.0 - forget, linear(x[b, t], w_i[own]))
                read[b, t, own] = state.T @ silu(linear(x[b, t], w_o[own]))
    return linear(rms_norm(read, np.ones(d_model), NORM_EPS), params["out.weight"])


VARIANTS = {
    "one_head": Variant({"head_dim": 8}, layer=(0, 1)),
    "two_heads": Variant({"head_dim": 4}, layer=(0, 1)),
    "layer_0_of_3": Variant({"head_dim": 4}, layer=(0, 3)),
    "layer_1_of_3": Variant({"head_dim": 4}, layer=(1, 3)),
    "layer_2_of_3": Variant({"head_dim": 2}, layer=(2, 3)),
    "strong_gates": Variant({"head_dim": 4}, layer=(2, 3), change=strong_gates),
    "strong_gates_first": Variant({"head_dim": 4}, layer=(0, 3), change=strong_gates),
    "documents": Variant({"head_dim": 4}, documents=True, layer=(2, 3)),
}
