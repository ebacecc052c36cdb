"""minLSTM, an LSTM whose gates and candidate do not read the previous state (Feng et al. 2024, arXiv:2410.01201)."""

from __future__ import annotations

import numpy as np

import min_gru
from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, log_sigmoid, short_conv, sigmoid
from min_gru import positive_candidate

PAPER = "Feng et al. 2024 (arXiv:2410.01201)"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of in.weight are the forget gate's, the input gate's, then h~'s."""
    return min_gru.shapes(options, d_model, parts=3)


def min_lstm(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """h_t = f'_t h_{t-1} + i'_t g(W_h x_t), h_0 = 0; x and y [B,T,D].

    f_t = sigmoid(W_f x_t), i_t = sigmoid(W_i x_t), f'_t = f_t / (f_t + i_t), i'_t = i_t / (f_t + i_t). The quotients
    are taken as f' = sigmoid(log f - log i) and i' = sigmoid(log i - log f), where f + i may be 0.
    """
    batch, tokens, d_model = x.shape
    positions = document_positions(segments, batch, tokens)
    if options.get("conv"):
        x = short_conv(x, params["conv.weight"], positions)
    inner = params["in.weight"].shape[0] // 3
    w_f, w_i, w_h = np.split(params["in.weight"], 3)
    candidate = {"g": positive_candidate, "linear": lambda u: u}[options.get("candidate", "g")]
    hidden = np.zeros((batch, tokens, inner))
    for b in range(batch):
        for t in range(tokens):
            previous = np.zeros(inner) if positions[b, t] == 0 else hidden[b, t - 1]
            log_ratio = log_sigmoid(linear(x[b, t], w_f)) - log_sigmoid(linear(x[b, t], w_i))
            forget, write_strength = sigmoid(log_ratio), sigmoid(-log_ratio)
            hidden[b, t] = forget * previous + write_strength * candidate(linear(x[b, t], w_h))
    return linear(hidden, params["out.weight"]) if inner != d_model else hidden


def strong_gates(params: Params) -> None:
    """Makes both gates often smaller than e^-100, whose sum is 0 in float32."""
    forget, write, _ = np.split(params["in.weight"], 3)
    forget *= 100.0
    write *= 100.0


# The documents have the convolution too, which must not read across a border.
VARIANTS = {
    "default": Variant({"expand": 1, "candidate": "g", "conv": 0}),
    "linear": Variant({"expand": 1, "candidate": "linear", "conv": 0}),
    "expand2": Variant({"expand": 2, "candidate": "g", "conv": 0}),
    "conv3": Variant({"expand": 1, "candidate": "g", "conv": 3}),
    "strong_gates": Variant({"expand": 1, "candidate": "g", "conv": 0}, change=strong_gates),
    "documents": Variant({"expand": 1, "candidate": "g", "conv": 3}, documents=True),
}
