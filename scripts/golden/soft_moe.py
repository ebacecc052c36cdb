"""Soft mixture of experts: experts work on slots, each a mean of all tokens (Puigcerver et al. 2023, arXiv:2308.00951).

Every token takes part in every slot, so it reads both ways only. Followed is google-research/vmoe@942a78b
(vmoe/projects/soft_moe/router.py); the paper's algorithm 2 divides by |u| + eps where the code has sqrt(|u|^2 + eps).

Parameters: "slots.weight" [E*p,D], the p slots of the first expert, then those of the second, and so on; "slots.scale"
[1]; experts as in moe. A document of a packed sequence has slots to itself.
"""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import documents, l2_normalize, softmax
from moe import feed_forward, feed_forward_shapes

KIND = "ffn"
PAPER = "Puigcerver et al. 2023 (arXiv:2308.00951)"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    experts = int(options["experts"])
    result: Shapes = {"slots.weight": (experts * int(options["slots"]), d_model), "slots.scale": (1,)}
    return result | feed_forward_shapes("experts", options, d_model, experts)


def soft_moe(
    x: Array, params: Params, options: Options, segments: Array | None = None, direction: str = "bidirectional"
) -> Array:
    """y_t = sum_s c_ts f_e(s)(sum_u d_us x_u), expert e(s) being that of slot s; x and y [B,T,D].

    The logits are l_ts = scale (x_t / |x_t|) . (phi_s / |phi_s|) with |u| = sqrt(sum u^2 + 1e-6); d is their softmax
    over the tokens, c over the slots of all experts. What the slots are means of is x itself, not x / |x|.
    """
    if direction != "bidirectional":
        raise ValueError("soft_moe: bidirectional only")
    per_expert, y = int(options["slots"]), np.zeros_like(x)
    slots = params["slots.scale"][0] * l2_normalize(params["slots.weight"], 1e-6)
    for b, place in documents(segments, x.shape[0], x.shape[1]):
        rows = x[b, place]
        logits = np.array([[np.dot(l2_normalize(row, 1e-6), slot) for slot in slots] for row in rows])
        combine = [softmax(of_token) for of_token in logits]
        for s in range(len(slots)):
            dispatch, mean = softmax(logits[:, s]), np.zeros(x.shape[2])
            for t, row in enumerate(rows):
                mean += dispatch[t] * row
            output = feed_forward(mean, params, "experts", s // per_expert, options)
            for t in range(len(rows)):
                y[b, place.start + t] += combine[t][s] * output
    return y


def start(params: Params) -> None:
    """A scale around 2, at which tokens and slots differ in weight."""
    params["slots.scale"] += 2.0


def large_scale(params: Params) -> None:
    """A scale at which a few tokens and slots have most of the weight."""
    params["slots.scale"][:] = 12.0


BOTH = "bidirectional"
VARIANTS = {
    "default": Variant({"experts": 4, "slots": 1, "expand": 1}, direction=BOTH),
    "slots": Variant({"experts": 3, "slots": 2, "expand": 0.5, "activation": "gelu_tanh"}, direction=BOTH),
    "large_scale": Variant({"experts": 2, "slots": 3, "expand": 1}, direction=BOTH, change=large_scale),
    "documents": Variant({"experts": 2, "slots": 2, "expand": 1}, direction=BOTH, documents=True),
}
