"""Attention residuals: a block whose branches read a softmax over what earlier branches made, in place of their sum.

Kimi Team 2026, arXiv:2603.15031, section 3; fla-org/flash-linear-attention@bc3b101 (fla/ops/attnres/naive.py for the
aggregation, fla/models/abc/modeling_abc.py for where it stands and where a block of layers ends). In the paper's
pseudocode the embedding is a source twice in the first layer of all, as a finished block and as the running sum; here,
as in its equations and in that code, it is one once. Each layer's output is the aggregation that the code takes behind
the last layer, since a layer cannot know that it is the last.
"""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import rms_norm, softmax
from residual import ATTENTION, MLP, TOKEN_SHIFT, branches, contribution
from residual import shapes as residual_shapes

KIND = "block"
PAPER = "Kimi Team 2026 (arXiv:2603.15031)"
MODEL_WIDE = ("attn_res.query", "attn_res.key_norm.weight")
# What one layer leaves on the shelf for the next; another kind of block between them ends it.
OF_A_RUN = ("depth.",)


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    result: Shapes = {name: (d_model,) for name in MODEL_WIDE}
    for name in branches(options):
        result |= {f"{name}_query": (d_model,), f"{name}_key_norm.weight": (d_model,)}
    return result | residual_shapes(options, d_model)


def start(params: Params) -> None:
    """Draws the model's key norm as the other norms."""
    params["attn_res.key_norm.weight"] = 1.0 + 0.4 * params["attn_res.key_norm.weight"]


def aggregate(sources: list[Array], query: Array, weight: Array, eps: float) -> Array:
    """Returns sum_i p_i v_i with p = softmax_i(w . rms_norm(v_i)) of each token; v_i [B,T,D], w [D]."""
    mixed = np.zeros_like(sources[0])
    for place in np.ndindex(*mixed.shape[:-1]):
        scores = np.array([np.dot(query, rms_norm(v[place], weight, eps)) for v in sources])
        for p, v in zip(softmax(scores), sources):
            mixed[place] += p * v[place]
    return mixed


def attn_res(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
    shelf: Params | None = None,
) -> Array:
    """Returns the aggregation of all sources behind this layer; x and y [B,T,D].

    The sources are v_0, which enters the first layer, then sums of branches' outputs, of which the last still runs.
    block_size 1: each branch's output is a sum of its own. Otherwise a sum ends before each layer whose number, counted
    from the first of these, is a multiple of block_size / 2.
    """
    shelf = {} if shelf is None else shelf
    size, eps = int(options.get("block_size", 1)), float(options.get("eps", 1e-6))
    index = int(shelf.get("depth.layer", "depth.partial" in shelf))
    finished = [shelf[f"depth.{i}"] for i in range(len(shelf)) if f"depth.{i}" in shelf]
    running: Array | None = shelf["depth.partial"] if index > 0 else x
    for i, name in enumerate(branches(options)):
        sources = finished if running is None else [*finished, running]
        if (2 * index + i) % size == 0:
            finished, running = sources, None
        read = aggregate(sources, params[f"{name}_query"], params[f"{name}_key_norm.weight"], eps)
        made = contribution(read, params, name, options, segments, direction, layer, shelf)
        running = made if running is None else running + made
    for i, source in enumerate(finished):
        shelf[f"depth.{i}"] = source
    shelf |= {"depth.partial": running, "depth.layer": np.array(index + 1)}
    return aggregate([*finished, running], params["attn_res.query"], params["attn_res.key_norm.weight"], eps)


SOURCES = ("depth.0", "depth.1", "depth.partial")

VARIANTS = {
    "first": Variant({"mixer": ATTENTION, "ffn": MLP}),
    "first_none": Variant({"mixer": ATTENTION, "ffn": "none"}, documents=True),
    "first_block": Variant({"mixer": ATTENTION, "ffn": TOKEN_SHIFT, "block_size": 4, "norm_at": "after"}),
    "later": Variant({"mixer": ATTENTION, "ffn": MLP, "eps": 0.01}, shelf=SOURCES),
    "later_none": Variant({"mixer": ATTENTION, "ffn": "none"}, shelf=SOURCES[::2]),
    "later_2": Variant(
        {"mixer": ATTENTION, "ffn": MLP, "block_size": 2, "norm_at": "both"}, shelf=("depth.0", "depth.partial")
    ),
    "later_4": Variant(
        {"mixer": ATTENTION, "ffn": TOKEN_SHIFT, "block_size": 4}, documents=True, shelf=("depth.0", "depth.partial")
    ),
    "later_4_none": Variant(
        {"mixer": ATTENTION, "ffn": "none", "block_size": 4}, shelf=("depth.0", "depth.partial")
    ),
}
