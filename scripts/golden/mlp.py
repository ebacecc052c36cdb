"""The two-layer feed-forward network of the transformer (Vaswani et al. 2017, arXiv:1706.03762, section 3.3)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import gelu, gelu_tanh, linear, silu

KIND = "ffn"
PAPER = "Vaswani et al. 2017 (arXiv:1706.03762); GELU 1606.08415; squared ReLU 2109.08668"

ACTIVATIONS = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": lambda u: np.maximum(u, 0.0),
    "relu2": lambda u: np.maximum(u, 0.0) ** 2,
    "silu": silu,
}


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    inner = round(float(options.get("expand", 4)) * d_model)
    result: Shapes = {"up.weight": (inner, d_model), "down.weight": (d_model, inner)}
    if options.get("bias"):
        result |= {"up.bias": (inner,), "down.bias": (d_model,)}
    return result


def mlp(x: Array, params: Params, options: Options) -> Array:
    """y = W_down f(W_up x + b_up) + b_down; x and y [B,T,D]."""
    activation = ACTIVATIONS[options.get("activation", "gelu")]
    inner = activation(linear(x, params["up.weight"], params.get("up.bias")))
    return linear(inner, params["down.weight"], params.get("down.bias"))


VARIANTS = {
    "gelu": Variant({"expand": 4, "activation": "gelu"}),
    "gelu_tanh_bias": Variant({"expand": 4, "activation": "gelu_tanh", "bias": True}),
    "relu2": Variant({"expand": 4, "activation": "relu2"}),
}
