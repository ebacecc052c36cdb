"""Manifold-constrained hyper-connections: hyper-connections whose streams are mixed by doubly stochastic matrices.

Xie et al. 2025, arXiv:2512.24880, section 4.2, equations 7 to 9. mhc_deepseek_v4.py has the form that a model was
released with.
"""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import linear, sigmoid
from hyper_connections import OF_A_RUN, run_streams, shelf_columns
from residual import ATTENTION, MLP, branches
from residual import shapes as residual_shapes

KIND = "block"
PAPER = "Xie et al. 2025 (arXiv:2512.24880)"

__all__ = ["KIND", "OF_A_RUN", "PAPER", "VARIANTS", "mhc", "shapes", "shelf_columns"]


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of a connection are pre, post, then res by rows."""
    n, result = int(options.get("streams", 4)), Shapes()
    for name in branches(options):
        connection = f"{name}_connection"
        result[f"{connection}.weight"] = (2 * n + n * n, n * d_model)
        result |= {f"{connection}.bias": (2 * n + n * n,), f"{connection}.scale": (3,)}
    return result | residual_shapes(options, d_model)


def unit_rms(streams: Array, eps: float) -> Array:
    """vec(H) / sqrt(mean(vec(H)^2) + eps) of the streams [n,D] of one token."""
    flat = streams.reshape(-1)
    return flat / np.sqrt(np.mean(flat**2) + eps)


def mappings(streams: Array, params: Params, prefix: str, eps: float) -> tuple[Array, Array, Array]:
    """Equation 7, of one token: a phi x' + b with x' = RMSNorm(vec(H)), of pre [n], post [n] and res [n,n]."""
    n = len(streams)
    raw, bias = linear(unit_rms(streams, eps), params[f"{prefix}.weight"]), params[f"{prefix}.bias"]
    pre, post, res = (slice(0, n), slice(n, 2 * n), slice(2 * n, None))
    made = [a * raw[part] + bias[part] for a, part in zip(params[f"{prefix}.scale"], (pre, post, res))]
    return made[0], made[1], made[2].reshape(n, n)


def sinkhorn_knopp(logits: Array, iterations: int) -> Array:
    """Equation 9: M <- T_r(T_c(M)) from M = exp(logits), columns before rows."""
    made = np.exp(logits)
    for _ in range(iterations):
        made = made / made.sum(axis=0, keepdims=True)
        made = made / made.sum(axis=1, keepdims=True)
    return made


def mhc(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
    shelf: Params | None = None,
) -> Array:
    """H <- res H + post^T f(pre H) of each branch; y = the sum of the streams behind the layer; x and y [B,T,D].

    Equation 8: pre = sigmoid, post = 2 sigmoid, and res = sinkhorn_knopp of their mappings.
    """

    def connection(streams: Array, name: str) -> tuple[Array, Array, Array]:
        eps, iterations = float(options.get("eps", 1e-6)), int(options.get("iterations", 20))
        pre, post, res = mappings(streams, params, f"{name}_connection", eps)
        return sigmoid(pre) @ streams, sinkhorn_knopp(res, iterations) @ streams, 2 * sigmoid(post)

    shelf = {} if shelf is None else shelf
    return run_streams(x, params, options, segments, direction, layer, shelf, connection).sum(axis=2)


VARIANTS = {
    "first": Variant({"streams": 3, "mixer": ATTENTION, "ffn": MLP}),
    "later": Variant({"streams": 2, "iterations": 3, "mixer": ATTENTION, "ffn": MLP}, shelf=("streams",)),
    "later_documents": Variant({"mixer": ATTENTION, "ffn": "none"}, documents=True, shelf=("streams",)),
    "once": Variant(
        {"streams": 3, "iterations": 1, "eps": 0.1, "mixer": ATTENTION, "ffn": MLP, "norm_at": "both"},
        shelf=("streams",),
    ),
}
