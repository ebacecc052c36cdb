"""minGRU, a GRU whose gate and candidate do not read the previous state (Feng et al. 2024, arXiv:2410.01201)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, short_conv, sigmoid

PAPER = "Feng et al. 2024 (arXiv:2410.01201)"


def shapes(options: Options, d_model: int, parts: int = 2) -> Shapes:
    """Returns the shape of each parameter; the rows of in.weight are the gate's, then the candidate's.

    parts counts both; minLSTM has another gate.
    """
    inner = round(float(options.get("expand", 1)) * d_model)
    result: Shapes = {}
    if options.get("conv"):
        result["conv.weight"] = (int(options["conv"]), d_model)
    result["in.weight"] = (parts * inner, d_model)
    if inner != d_model:
        result["out.weight"] = (d_model, inner)
    return result


def positive_candidate(u: Array) -> Array:
    """g(u) = u + 0.5 for u >= 0, sigmoid(u) for u < 0 (Feng et al. 2024, the log-space form)."""
    return np.where(u >= 0.0, u + 0.5, sigmoid(u))


def min_gru(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """h_t = (1 - z_t) h_{t-1} + z_t c_t with z_t = sigmoid(W_z x_t), c_t = g(W_h x_t), h_0 = 0; x and y [B,T,D]."""
    batch, tokens, d_model = x.shape
    positions = document_positions(segments, batch, tokens)
    if options.get("conv"):
        x = short_conv(x, params["conv.weight"], positions)
    inner = params["in.weight"].shape[0] // 2
    w_z, w_h = params["in.weight"][:inner], params["in.weight"][inner:]
    candidate = {"g": positive_candidate, "linear": lambda u: u}[options.get("candidate", "g")]
    hidden = np.zeros((batch, tokens, inner))
    for b in range(batch):
        for t in range(tokens):
            previous = np.zeros(inner) if positions[b, t] == 0 else hidden[b, t - 1]
            z = sigmoid(linear(x[b, t], w_z))
            hidden[b, t] = (1.0 - z) * previous + z * candidate(linear(x[b, t], w_h))
    return linear(hidden, params["out.weight"]) if inner != d_model else hidden


# The documents have the convolution too, which must not read across a border.
VARIANTS = {
    "default": Variant({"expand": 1, "candidate": "g", "conv": 0}),
    "linear": Variant({"expand": 1, "candidate": "linear", "conv": 0}),
    "expand2": Variant({"expand": 2, "candidate": "g", "conv": 0}),
    "conv3": Variant({"expand": 1, "candidate": "g", "conv": 3}),
    "documents": Variant({"expand": 1, "candidate": "g", "conv": 3}, documents=True),
}
