"""Manifold-constrained hyper-connections as in DeepSeek-V4: another start of the mixing, eps, and a head of its own.

huggingface/transformers@3614558 (src/transformers/models/deepseek_v4/modeling_deepseek_v4.py: DeepseekV4HyperConnection,
DeepseekV4HyperHead, DeepseekV4DecoderLayer), which computes what the released model's own kernel does;
mhc_transformers.py has the form that the library had before. Against the paper (arXiv:2512.24880, section 4.2): the matrix begins with a softmax over its rows
instead of exp, is transposed, ends with its columns' sums instead of its rows', and pre and every sum have eps added.
Each layer's output is that of the head that the model has behind the last layer.
"""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import linear, sigmoid, softmax
from hyper_connections import OF_A_RUN, run_streams, shelf_columns
from mhc import mappings, unit_rms
from mhc import shapes as mhc_shapes
from residual import ATTENTION, MLP

KIND = "block"
PAPER = "Xie et al. 2025 (arXiv:2512.24880)"
MODEL_WIDE = ("streams_head.weight", "streams_head.bias", "streams_head.scale")

__all__ = ["KIND", "MODEL_WIDE", "OF_A_RUN", "PAPER", "VARIANTS", "mhc_deepseek_v4", "shapes", "shelf_columns"]


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    n = int(options.get("streams", 4))
    return dict(zip(MODEL_WIDE, ((n, n * d_model), (n,), (1,)))) | mhc_shapes(options, d_model)


def mixing(logits: Array, iterations: int, eps: float) -> Array:
    """Returns the matrix [n,n] whose entry [j,k] weighs old stream j in new stream k: softmax of each row, then columns,
    then iterations - 1 times rows and columns."""
    made = np.array([softmax(row) for row in logits]) + eps
    made = made / (made.sum(axis=0, keepdims=True) + eps)
    for _ in range(iterations - 1):
        made = made / (made.sum(axis=1, keepdims=True) + eps)
        made = made / (made.sum(axis=0, keepdims=True) + eps)
    return made


def read_by_head(streams: Array, params: Params, eps: float) -> Array:
    """Returns y = sum_j (sigmoid(a w_j.x' + b_j) + eps) h_j [B,T,D] of streams [B,T,n,D], with x' = RMSNorm(vec(H))."""
    weight, bias, scale = (params[name] for name in MODEL_WIDE)
    y = np.zeros_like(streams[:, :, 0])
    for place in np.ndindex(*streams.shape[:2]):
        y[place] = (sigmoid(scale * linear(unit_rms(streams[place], eps), weight) + bias) + eps) @ streams[place]
    return y


def mhc_deepseek_v4(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
    shelf: Params | None = None,
) -> Array:
    """h_k <- sum_j comb[j,k] h_j + post_k f(sum_j pre_j h_j) of each branch; x and y [B,T,D].

    pre = sigmoid + eps, post = 2 sigmoid, comb = mixing of mhc's mappings; y = read_by_head of the streams.
    """
    eps, iterations = float(options.get("eps", 1e-6)), int(options.get("iterations", 20))

    def connection(streams: Array, name: str) -> tuple[Array, Array, Array]:
        pre, post, comb = mappings(streams, params, f"{name}_connection", eps)
        return (sigmoid(pre) + eps) @ streams, mixing(comb, iterations, eps).T @ streams, 2 * sigmoid(post)

    shelf = {} if shelf is None else shelf
    return read_by_head(run_streams(x, params, options, segments, direction, layer, shelf, connection), params, eps)


VARIANTS = {
    "first": Variant({"streams": 3, "mixer": ATTENTION, "ffn": MLP}),
    "later": Variant({"streams": 2, "iterations": 3, "mixer": ATTENTION, "ffn": MLP}, shelf=("streams",)),
    "later_documents": Variant({"mixer": ATTENTION, "ffn": "none"}, documents=True, shelf=("streams",)),
    "once": Variant(
        {"streams": 3, "iterations": 1, "eps": 0.05, "mixer": ATTENTION, "ffn": MLP, "norm_at": "both"},
        shelf=("streams",),
    ),
}
