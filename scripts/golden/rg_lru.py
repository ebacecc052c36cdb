"""The recurrent block of Griffin with its real-gated linear recurrent unit (De et al. 2024, arXiv:2402.19427)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, gelu_tanh, linear, short_conv, sigmoid, softplus

PAPER = "De et al. 2024 (arXiv:2402.19427)"
DECAY_SCALE = 8.0


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of in are the gate branch's, then the recurrent branch's."""
    inner = round(float(options.get("expand", 1)) * d_model)
    block = inner // int(options.get("blocks", 4))
    return {
        "in.weight": (2 * inner, d_model),
        "in.bias": (2 * inner,),
        "conv.weight": (int(options.get("conv", 4)), inner),
        "conv.bias": (inner,),
        "input_gate.weight": (inner, block),
        "input_gate.bias": (inner,),
        "recurrence_gate.weight": (inner, block),
        "recurrence_gate.bias": (inner,),
        "lambda": (inner,),
        "out.weight": (d_model, inner),
        "out.bias": (d_model,),
    }


def block_diagonal(u: Array, weight: Array, bias: Array) -> Array:
    """Block b maps columns [b n, (b+1) n) of u [W] by the same rows of weight [W, n]."""
    size = weight.shape[1]
    y = bias.copy()
    for start in range(0, weight.shape[0], size):
        rows = slice(start, start + size)
        y[rows] += weight[rows] @ u[rows]
    return y


def rg_lru(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """h_t = a_t h_{t-1} + sqrt(1 - a_t^2) (i_t u_t), log a_t = -8 softplus(lambda) r_t, h_0 = 0 (section 2.4).

    u = conv(W_2 x + b_2), r_t = sigmoid(W_a u_t + b_a), i_t = sigmoid(W_x u_t + b_x). At the first token of a document
    the factor sqrt(1 - a_t^2) is 1, as in the authors' code. y = W_o (gelu_tanh(W_1 x + b_1) * h) + b_o [B,T,D].
    """
    batch, tokens, _ = x.shape
    positions = document_positions(segments, batch, tokens)
    inner = params["lambda"].shape[0]
    branches = linear(x, params["in.weight"], params["in.bias"])
    gate, recurrent = gelu_tanh(branches[..., :inner]), branches[..., inner:]
    recurrent = short_conv(recurrent, params["conv.weight"], positions) + params["conv.bias"]
    hidden = np.zeros((batch, tokens, inner))
    for b in range(batch):
        for t in range(tokens):
            u = recurrent[b, t]
            r = sigmoid(block_diagonal(u, params["recurrence_gate.weight"], params["recurrence_gate.bias"]))
            i = sigmoid(block_diagonal(u, params["input_gate.weight"], params["input_gate.bias"]))
            log_a = -DECAY_SCALE * softplus(params["lambda"]) * r
            if positions[b, t] == 0:
                hidden[b, t] = i * u
            else:
                # 1 - a^2 without cancellation where a is close to 1.
                hidden[b, t] = np.exp(log_a) * hidden[b, t - 1] + np.sqrt(-np.expm1(2.0 * log_a)) * i * u
    return linear(gate * hidden, params["out.weight"], params["out.bias"])


def start(params: Params) -> None:
    """As at the start of training: e^(-softplus(lambda)) between 0.9 and 0.999."""
    radii = np.linspace(0.9, 0.999, params["lambda"].shape[0])
    params["lambda"] = np.log(1.0 / radii - 1.0)


def extreme_decay(params: Params) -> None:
    """From a = 1 - 1e-7 and slower up to a state that holds one token only."""
    params["lambda"] = np.array([-18.0, -14.0, -9.0, -5.0, 0.0, 3.0, 12.0, 40.0])


VARIANTS = {
    "default": Variant({"expand": 1, "blocks": 2, "conv": 4}),
    "expand2": Variant({"expand": 2, "blocks": 4, "conv": 3}),
    "one_block": Variant({"expand": 0.5, "blocks": 1, "conv": 4}),
    "extreme_decay": Variant({"expand": 1, "blocks": 4, "conv": 2}, change=extreme_decay),
    "documents": Variant({"expand": 1, "blocks": 2, "conv": 3}, documents=True),
}
