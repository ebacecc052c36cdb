"""HGRN, a gated RNN whose forget gates have a floor that rises with depth (Qin et al. 2023, arXiv:2311.04823).

The real-valued form: without the paper's rotation e^(i theta), with silu for the candidate and the output gate.
"""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, rms_norm, sigmoid, silu

PAPER = "Qin et al. 2023 (arXiv:2311.04823), real-valued"
NORM_EPS = 1e-5
MODEL_WIDE = ("hgrn_floor",)


def shapes(options: Options, d_model: int, layers: int = 1) -> Shapes:
    """Returns the shape of each parameter; the rows of in.weight are the candidate c, forget gate f, output gate g.

    hgrn_floor is one parameter for the whole model, a row for each of its HGRN layers.
    """
    inner = round(float(options.get("expand", 1)) * d_model)
    return {
        "in.weight": (3 * inner, d_model),
        "norm.weight": (inner,),
        "out.weight": (d_model, inner),
        "hgrn_floor": (layers, inner),
    }


def forget_floor(gamma: Array, layer: int) -> Array:
    """floor_l = sum_{j<=l} P_j - P_0 with P = softmax of gamma [layers, W] over the layers; floor_0 = 0."""
    exponentials = np.exp(gamma - gamma.max(axis=0))
    shares = exponentials / exponentials.sum(axis=0)
    return shares[: layer + 1].sum(axis=0) - shares[0]


def forget_gate(u: Array, floor: Array) -> Array:
    """f = floor + (1 - floor) sigmoid(u)."""
    return floor + (1.0 - floor) * sigmoid(u)


def strong_gates(params: Params) -> None:
    """Gates and floors near 0 and near 1."""
    _, forget, _ = np.split(params["in.weight"], 3)
    forget *= 15.0
    for name, floor in params.items():
        if name.endswith("_floor"):
            floor *= 10.0


def hgrn(x: Array, params: Params, options: Options, segments: Array | None = None, layer: int = 0) -> Array:
    """h_t = f_t h_{t-1} + (1 - f_t) silu(W_c x_t), f_t = floor + (1 - floor) sigmoid(W_f x_t), h_0 = 0.

    y_t = W_o (RMSNorm(h_t) * silu(W_g x_t)); x and y [B,T,D].
    """
    batch, tokens, _ = x.shape
    positions = document_positions(segments, batch, tokens)
    w_c, w_f, w_g = np.split(params["in.weight"], 3)
    floor = forget_floor(params["hgrn_floor"], layer)
    inner = floor.shape[0]
    hidden, gated = np.zeros((batch, tokens, inner)), np.zeros((batch, tokens, inner))
    for b in range(batch):
        for t in range(tokens):
            previous = np.zeros(inner) if positions[b, t] == 0 else hidden[b, t - 1]
            forget = forget_gate(linear(x[b, t], w_f), floor)
            hidden[b, t] = forget * previous + (1.0 - forget) * silu(linear(x[b, t], w_c))
            gated[b, t] = rms_norm(hidden[b, t], params["norm.weight"], NORM_EPS) * silu(linear(x[b, t], w_g))
    return linear(gated, params["out.weight"])


VARIANTS = {
    "default": Variant({"expand": 1}, layer=(0, 1)),
    "expand2": Variant({"expand": 2}, layer=(0, 1)),
    "layer_0_of_3": Variant({"expand": 1}, layer=(0, 3)),
    "layer_1_of_3": Variant({"expand": 1}, layer=(1, 3)),
    "layer_2_of_3": Variant({"expand": 1.5}, layer=(2, 3)),
    "strong_gates": Variant({"expand": 1}, layer=(2, 3), change=strong_gates),
    "documents": Variant({"expand": 1}, documents=True, layer=(2, 3)),
}
