"""Gated recurrent unit, the form that resets after the recurrent product (Cho et al. 2014, arXiv:1406.1078)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, sigmoid

PAPER = "Cho et al. 2014 (arXiv:1406.1078)"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows are r, z, n, the recurrent bias is n's alone."""
    inner = round(float(options.get("expand", 1)) * d_model)
    result: Shapes = {
        "in.weight": (3 * inner, d_model),
        "in.bias": (3 * inner,),
        "recurrent.weight": (3 * inner, inner),
        "recurrent.bias": (inner,),
    }
    if inner != d_model:
        result["out.weight"] = (d_model, inner)
    return result


def gru(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """h_t = (1 - z_t) n_t + z_t h_{t-1}, h_0 = 0; x and y [B,T,D].

    r_t = sigmoid(W_r x_t + b_r + R_r h_{t-1}), z_t = sigmoid(W_z x_t + b_z + R_z h_{t-1}),
    n_t = tanh(W_n x_t + b_n + r_t (R_n h_{t-1} + b)): the paper has R_n (r_t h_{t-1}), libraries this faster form.
    """
    batch, tokens, d_model = x.shape
    positions = document_positions(segments, batch, tokens)
    inner = params["recurrent.weight"].shape[1]
    r_r, r_z, r_n = np.split(params["recurrent.weight"], 3)
    hidden = np.zeros((batch, tokens, inner))
    for b in range(batch):
        for t in range(tokens):
            previous = np.zeros(inner) if positions[b, t] == 0 else hidden[b, t - 1]
            u_r, u_z, u_n = np.split(linear(x[b, t], params["in.weight"], params["in.bias"]), 3)
            r = sigmoid(u_r + linear(previous, r_r))
            z = sigmoid(u_z + linear(previous, r_z))
            n = np.tanh(u_n + r * linear(previous, r_n, params["recurrent.bias"]))
            hidden[b, t] = (1.0 - z) * n + z * previous
    return linear(hidden, params["out.weight"]) if inner != d_model else hidden


def large_gates(params: Params) -> None:
    """Biases of r and z, channel by channel: a channel that never changes, one that keeps nothing ..."""
    reset, update, _ = np.split(params["in.bias"], 3)
    reset[:] = [0.0, 100.0, -100.0, 20.0, -20.0, 0.0, 0.0, 100.0]
    update[:] = [100.0, -100.0, 0.0, 10.0, -20.0, 20.0, 0.0, 0.0]


VARIANTS = {
    "default": Variant({"expand": 1}),
    "expand2": Variant({"expand": 2}),
    "large_gates": Variant({"expand": 1}, change=large_gates),
    "documents": Variant({"expand": 0.5}, documents=True),
}
