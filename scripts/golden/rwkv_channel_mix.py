"""RWKV-6's channel mixing, a gated feed-forward network that also reads the previous token.

Peng et al. 2024 (arXiv:2404.05892): the squared ReLU network of Finch.
"""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, previous_token, sigmoid

KIND = "ffn"
PAPER = "Peng et al. 2024 (arXiv:2404.05892)"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    inner = round(float(options.get("expand", 3.5)) * d_model)
    return {
        "mix_k": (d_model,),
        "mix_r": (d_model,),
        "key.weight": (inner, d_model),
        "value.weight": (d_model, inner),
        "receptance.weight": (d_model, d_model),
    }


def rwkv_channel_mix(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """y_t = sigmoid(W_r x_r) * W_v relu(W_k x_k)^2 with x_i = x_t + (x_{t-1} - x_t) * mix_i; x and y [B,T,D].

    Before a document's first token there is a token of zeros.
    """
    batch, tokens, _ = x.shape
    before = previous_token(x, document_positions(segments, batch, tokens))
    y = np.zeros_like(x)
    for b in range(batch):
        for t in range(tokens):
            difference = before[b, t] - x[b, t]
            x_k = x[b, t] + difference * params["mix_k"]
            x_r = x[b, t] + difference * params["mix_r"]
            inner = np.maximum(linear(x_k, params["key.weight"]), 0.0) ** 2
            y[b, t] = sigmoid(linear(x_r, params["receptance.weight"])) * linear(inner, params["value.weight"])
    return y


VARIANTS = {
    "default": Variant({"expand": 3.5}),
    "expand2": Variant({"expand": 2}),
    "documents": Variant({"expand": 3.5}, documents=True),
}
