"""Hyper-connections: several residual streams, of which each branch reads a mixture, and to which it adds by weights.

Zhu et al. 2024, arXiv:2409.19606, equations 5 to 14, and algorithms 2 and 3 of its appendix. A branch's pre-norm
follows the mixing, as in algorithm 3; the layers' streams are added up behind each of them, as algorithm 1 does behind
the last, since a layer cannot know that it is the last.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import layer_norm, linear
from residual import ATTENTION, LAYER_NORM, MLP, branches, contribution
from residual import shapes as residual_shapes

KIND = "block"
PAPER = "Zhu et al. 2024 (arXiv:2409.19606)"
NORM_EPS = 1e-5
# What one layer leaves on the shelf for the next; another kind of block between them ends it.
OF_A_RUN = ("streams",)

# (streams [n,D] of one token, name of the branch) -> what the branch reads [D], the streams mixed [n,D], and how much
# each of them gets of what the branch makes [n].
Connect = Callable[[Array, str], tuple[Array, Array, Array]]


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    n, result = int(options.get("streams", 4)), Shapes()
    for name in branches(options):
        own: Shapes = {"static_alpha": (n * (n + 1),), "static_beta": (n,)}
        if options.get("dynamic", True):
            own |= {"norm.weight": (d_model,), "norm.bias": (d_model,), "alpha.weight": (n + 1, d_model)}
            own |= {"beta.weight": (1, d_model), "alpha_scale": (1,), "beta_scale": (1,)}
        result |= {f"{name}_connection.{key}": shape for key, shape in own.items()}
    return result | residual_shapes(options, d_model)


def shelf_columns(key: str, options: Options, d_model: int) -> int:
    """Returns how wide is what an earlier layer left."""
    return int(options.get("streams", 4)) * d_model


def start(params: Params) -> None:
    """Draws the connections' norm weights as those of the other norms."""
    for name in params:
        if name.endswith("_connection.norm.weight"):
            params[name] = 1.0 + 0.4 * params[name]


def connect(streams: Array, params: Params, prefix: str, options: Options) -> tuple[Array, Array, Array]:
    """Algorithm 2, of one token: (h_0 | H') = alpha^T H, with alpha [n,n+1] and beta [n] of each stream."""
    n = len(streams)
    alpha, beta = params[f"{prefix}.static_alpha"].reshape(n, n + 1), params[f"{prefix}.static_beta"]
    if options.get("dynamic", True):
        normed = layer_norm(streams, params[f"{prefix}.norm.weight"], params[f"{prefix}.norm.bias"], NORM_EPS)
        alpha = alpha + params[f"{prefix}.alpha_scale"] * np.tanh(linear(normed, params[f"{prefix}.alpha.weight"]))
        beta = beta + params[f"{prefix}.beta_scale"] * np.tanh(linear(normed, params[f"{prefix}.beta.weight"]))[:, 0]
    mixed = alpha.T @ streams
    return mixed[0], mixed[1:], beta


def run_streams(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None,
    direction: str,
    layer: int,
    shelf: Params,
    connection: Connect,
) -> Array:
    """Returns the streams [B,T,n,D] behind a layer, and leaves them on the shelf: H <- H' + beta f(h_0), twice.

    The first layer of a run has x in every stream.
    """
    n = int(options.get("streams", 4))
    streams = shelf["streams"].reshape(*x.shape[:2], n, -1) if "streams" in shelf else np.repeat(x[:, :, None], n, 2)
    for name in branches(options):
        read, mixed, beta = np.zeros_like(x), np.zeros_like(streams), np.zeros(streams.shape[:3])
        for place in np.ndindex(*x.shape[:2]):
            read[place], mixed[place], beta[place] = connection(streams[place], name)
        made = contribution(read, params, name, options, segments, direction, layer, shelf)
        streams = mixed + beta[..., None] * made[:, :, None]
    shelf["streams"] = streams.reshape(*x.shape[:2], -1)
    return streams


def hyper_connections(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
    shelf: Params | None = None,
) -> Array:
    """y = the sum of the streams behind the layer; x and y [B,T,D]."""

    def connection(streams: Array, name: str) -> tuple[Array, Array, Array]:
        return connect(streams, params, f"{name}_connection", options)

    shelf = {} if shelf is None else shelf
    return run_streams(x, params, options, segments, direction, layer, shelf, connection).sum(axis=2)


VARIANTS = {
    "dynamic_first": Variant({"streams": 3, "mixer": ATTENTION, "ffn": MLP}),
    "static_first": Variant({"dynamic": False, "mixer": ATTENTION, "ffn": MLP, "norm": LAYER_NORM}),
    "static_later": Variant({"streams": 2, "dynamic": False, "mixer": ATTENTION, "ffn": MLP}, shelf=("streams",)),
    "dynamic_later": Variant({"mixer": ATTENTION, "ffn": MLP}, shelf=("streams",)),
    "dynamic_later_documents": Variant(
        {"streams": 2, "mixer": ATTENTION, "ffn": "none", "norm_at": "both"}, documents=True, shelf=("streams",)
    ),
    "one_stream": Variant({"streams": 1, "mixer": ATTENTION, "ffn": MLP, "norm_at": "after"}, shelf=("streams",)),
}
