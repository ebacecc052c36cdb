"""Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, sigmoid

PAPER = "Hochreiter & Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735)"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows are the gates i, f, the candidate g, then the gate o."""
    inner = round(float(options.get("expand", 1)) * d_model)
    result: Shapes = {
        "in.weight": (4 * inner, d_model),
        "in.bias": (4 * inner,),
        "recurrent.weight": (4 * inner, inner),
    }
    if inner != d_model:
        result["out.weight"] = (d_model, inner)
    return result


def lstm(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """c_t = f_t c_{t-1} + i_t g_t, h_t = o_t tanh(c_t), c_0 = h_0 = 0; x and y [B,T,D].

    i_t, f_t, o_t = sigmoid(W x_t + R h_{t-1} + b) and g_t = tanh(W x_t + R h_{t-1} + b), each with its own rows.
    The option forget_bias is a matter of the initial bias only.
    """
    batch, tokens, d_model = x.shape
    positions = document_positions(segments, batch, tokens)
    inner = params["recurrent.weight"].shape[1]
    hidden, cell = np.zeros((batch, tokens, inner)), np.zeros((batch, tokens, inner))
    for b in range(batch):
        for t in range(tokens):
            first = positions[b, t] == 0
            h_before = np.zeros(inner) if first else hidden[b, t - 1]
            c_before = np.zeros(inner) if first else cell[b, t - 1]
            u = linear(x[b, t], params["in.weight"], params["in.bias"]) + linear(h_before, params["recurrent.weight"])
            u_i, u_f, u_g, u_o = np.split(u, 4)
            cell[b, t] = sigmoid(u_f) * c_before + sigmoid(u_i) * np.tanh(u_g)
            hidden[b, t] = sigmoid(u_o) * np.tanh(cell[b, t])
    return linear(hidden, params["out.weight"]) if inner != d_model else hidden


def large_gates(params: Params) -> None:
    """Biases of i and f, channel by channel: a gate shut, one open, a sum that never forgets, saturated tanh."""
    write, forget, _, _ = np.split(params["in.bias"], 4)
    write[:] = [-100.0, 100.0, 20.0, 20.0, 0.0, 0.0, 100.0, 0.0]
    forget[:] = [100.0, -100.0, 20.0, 100.0, -20.0, 0.0, 100.0, 20.0]


VARIANTS = {
    "default": Variant({"expand": 1, "forget_bias": 1}),
    "expand2": Variant({"expand": 2, "forget_bias": 1}),
    "large_gates": Variant({"expand": 1, "forget_bias": 0}, change=large_gates),
    "documents": Variant({"expand": 0.5, "forget_bias": 1}, documents=True),
}
