"""Mixture-of-Depths: a residual block that only the tokens take which its router chooses; the others pass unchanged.

Raposo et al. 2024 (arXiv:2404.02258), sections 3.4 and 3.5. There is no code of the authors.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, sigmoid, silu
from moba import largest
from residual import LAYER_NORM, MLP, branches
from residual import contribution as branch_contribution
from residual import shapes as residual_shapes

KIND = "block"
PAPER = "Raposo et al. 2024 (arXiv:2404.02258)"

# The least distance of a decision from the other one that a golden file may have.
LEAST_MARGIN = 1e-6


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    result: Shapes = {"router.weight": (1, d_model)}
    if options.get("causal", "predictor") == "predictor":
        width = int(options.get("predictor_width", 16))
        result |= {"predictor.up.weight": (width, d_model), "predictor.up.bias": (width,)}
        result |= {"predictor.down.weight": (1, width), "predictor.down.bias": (1,)}
    return result | residual_shapes(options, d_model)


def foretell(row: Array, params: Params) -> float:
    """Returns W_2 silu(W_1 x + b_1) + b_2 of one token [D]."""
    hidden = silu(linear(row, params["predictor.up.weight"], params["predictor.up.bias"]))
    return float(linear(hidden, params["predictor.down.weight"], params["predictor.down.bias"])[0])


def choose(row: Array, params: Params, options: Options, phase: str) -> tuple[list[int], float]:
    """Returns the tokens chosen in one sequence [T,D], in their order, and the smallest margin of the decisions.

    In training they are the ceil(capacity T) with the largest r, over all documents of the sequence, ties to the lowest
    index. In inference each token decides by itself: by its predictor, or by its r, where that is above 0. A capacity of
    1 or 0 asks none of them: all tokens are chosen, or none, in inference as in training.
    """
    if float(options.get("capacity", 0.125)) in (0.0, 1.0):
        return list(range(len(row))) if options["capacity"] else [], float("inf")
    r = [float(np.dot(params["router.weight"][0], x)) for x in row]
    if phase == "train":
        return largest(r, ceil(float(options.get("capacity", 0.125)) * len(r) - 1e-9))
    decisions = r if options.get("causal", "predictor") == "aux" else [foretell(x, params) for x in row]
    return [t for t, value in enumerate(decisions) if value > 0.0], min(abs(value) for value in decisions)


def contribution(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None,
    layer: int,
    positions: Array,
    ids: Array | None,
) -> Array:
    """f(x) = a + b with a = mixer(norm(x)), b = ffn(norm(x + a)): what a residual block adds to x; x and f [1,K,D].

    The K tokens are a sequence of their own, but for their positions in the documents that they were taken from.
    """
    total = np.zeros_like(x)
    given: Params = {} if ids is None else {"ids": ids}
    shelf = dict(given)
    for name in branches(options):
        read = x if options.get("parallel") else x + total
        total = total + branch_contribution(read, params, name, options, segments, "causal", layer, shelf, positions)
    if len(shelf) > len(given) or options.get("x0"):
        raise ValueError("what one layer leaves for later ones is not defined for tokens that skip it")
    return total


def mod(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    layer: int = 0,
    shelf: Params | None = None,
    phase: str = "inference",
) -> Array:
    """y_i = x_i + r_i f_i of the chosen tokens, x_i of the others; r = w_r.x, or its sigmoid; x and y [B,T,D]."""
    if options.get("router", "learned") != "learned":
        raise ValueError("mod: the router is learned")
    positions, tokens = document_positions(segments, *x.shape[:2]), (shelf or {}).get("ids")
    y = x.copy()
    for b in range(x.shape[0]):
        chosen, _ = choose(x[b], params, options, phase)
        if not chosen:
            continue
        own, ids = (None if all_of is None else all_of[b : b + 1, chosen] for all_of in (segments, tokens))
        f = contribution(x[b : b + 1, chosen], params, options, own, layer, positions[b : b + 1, chosen], ids)[0]
        for i, t in enumerate(chosen):
            r = np.dot(params["router.weight"][0], x[b, t])
            y[b, t] += {"raw": r, "sigmoid": sigmoid(r)}[options.get("weight", "raw")] * f[i]
    return y


def check(x: Array, params: Params, options: Options, segments: Array | None) -> None:
    """Refuses a case that chooses nobody or all of a sequence, or nearly by a tie, in inference or in training."""
    for phase in ("inference", "train"):
        for row in x:
            chosen, margin = choose(row, params, options, phase)
            if not 0 < len(chosen) < len(row):
                raise ValueError(f"{phase} chooses {len(chosen)} of {len(row)} tokens")
            if margin < LEAST_MARGIN:
                raise ValueError(f"a choice of {phase} is nearly a tie, {margin:.3g}")


def predictor_bias(value: float) -> Callable[[Params], None]:
    """Returns the change of parameters with which the predictor chooses about half of the tokens."""

    def change(params: Params) -> None:
        params["predictor.down.bias"] = np.array([value])

    return change


ATTENTION: Options = {"type": "attention", "heads": 2, "position": "rope"}
MIN_GRU: Options = {"type": "min_gru", "expand": 1, "candidate": "g", "conv": 3}
BLOCK: Options = {"mixer": ATTENTION, "ffn": MLP, "weight": "raw", "causal": "predictor"}
RECURRENT: Options = {"mixer": MIN_GRU, "weight": "sigmoid", "causal": "aux"}
TOKEN_SHIFT: Options = {"ffn": {"type": "rwkv_channel_mix"}, "norm": LAYER_NORM}

VARIANTS = {
    "predictor": Variant(BLOCK, change=predictor_bias(2.05)),
    "predictor_documents": Variant(BLOCK | {"predictor_width": 5}, documents=True, change=predictor_bias(-0.07)),
    "aux": Variant(RECURRENT | {"ffn": "none"}),
    "aux_documents": Variant(RECURRENT | TOKEN_SHIFT, documents=True),
    "train": Variant(BLOCK | {"capacity": 0.5}, phase="train", change=predictor_bias(-0.8)),
    "train_documents": Variant(
        BLOCK | {"capacity": 0.3, "weight": "sigmoid", "causal": "aux"}, documents=True, phase="train"
    ),
    "train_recurrent": Variant(
        RECURRENT | TOKEN_SHIFT | {"capacity": 0.4, "weight": "raw"}, documents=True, phase="train"
    ),
}
