"""Manifold-constrained hyper-connections as the Transformers library first had them, for DeepSeek-V4.

huggingface/transformers@02356fe (src/transformers/models/deepseek_v4/modular_deepseek_v4.py: DeepseekV4HyperConnection,
DeepseekV4HyperHead, DeepseekV4DecoderLayer), which is its release 5.8.0; from 5.8.1 on it has what mhc_deepseek_v4.py
has. Against that: the mixing matrix begins with a sigmoid, its rows are divided before its columns in every iteration,
it is not transposed, and post is sigmoid + eps.
"""

from __future__ import annotations

from common import Array, Options, Params, Variant
from equations import sigmoid
from hyper_connections import OF_A_RUN, run_streams, shelf_columns
from mhc import mappings
from mhc_deepseek_v4 import MODEL_WIDE, read_by_head, shapes
from residual import ATTENTION, MLP

KIND = "block"
PAPER = "Xie et al. 2025 (arXiv:2512.24880)"

__all__ = ["KIND", "MODEL_WIDE", "OF_A_RUN", "PAPER", "VARIANTS", "mhc_transformers", "shapes", "shelf_columns"]


def mixing(logits: Array, iterations: int, eps: float) -> Array:
    """Returns the matrix [n,n] whose entry [j,k] weighs old stream k in new stream j: so many times rows, then columns,
    divided by their sums + eps, from sigmoid + eps."""
    made = sigmoid(logits) + eps
    for _ in range(iterations):
        made = made / (made.sum(axis=1, keepdims=True) + eps)
        made = made / (made.sum(axis=0, keepdims=True) + eps)
    return made


def mhc_transformers(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
    shelf: Params | None = None,
) -> Array:
    """h_j <- sum_k comb[j,k] h_k + post_j f(sum_k pre_k h_k) of each branch; x and y [B,T,D].

    pre = sigmoid + eps, post = sigmoid + eps, comb = mixing of mhc's mappings; y = read_by_head of the streams.
    """
    eps, iterations = float(options.get("eps", 1e-6)), int(options.get("iterations", 20))

    def connection(streams: Array, name: str) -> tuple[Array, Array, Array]:
        pre, post, comb = mappings(streams, params, f"{name}_connection", eps)
        return (sigmoid(pre) + eps) @ streams, mixing(comb, iterations, eps) @ streams, sigmoid(post) + eps

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
