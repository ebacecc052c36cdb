"""Mixture of experts in which every expert chooses its tokens (Zhou et al. 2022, arXiv:2202.09368, section 3.2).

In training an expert takes its best tokens of the whole sequence, so what a token becomes depends on later ones. The
causal form for inference is that of Sun et al. 2026 (arXiv:2603.11535): it takes every token that scores more than the
expert's threshold. In the paper the tokens of a batch compete; here those of a
sequence, as in the groups of google-research/vmoe@942a78b (vmoe/nn/routing.py, NoisyTopItemsPerExpertRouter, without its
noise), and a document of a packed sequence counts as a sequence of its own. With noops some experts make nothing, as
where Raposo et al. 2024 (arXiv:2404.02258) integrate mixture-of-depths into the experts.
"""

from __future__ import annotations

from math import ceil, inf

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import documents, linear, softmax
from moba import largest, refuse_ties
from moe import feed_forward, feed_forward_shapes

KIND = "ffn"
PAPER = "Zhou et al. 2022 (arXiv:2202.09368)"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter, which are those of moe; the router's last rows are those of the no-ops."""
    experts, noops = int(options["experts"]), int(options.get("noops", 0))
    return {"router.weight": (experts + noops, d_model)} | feed_forward_shapes("experts", options, d_model, experts)


def expert_choice_margin(
    x: Array, params: Params, options: Options, segments: Array | None = None, phase: str = "inference"
) -> tuple[Array, float]:
    """Returns (y [B,T,D], the smallest margin of a choice of tokens).

    s_t = softmax(W_r x_t) over the experts; of a sequence's T tokens expert e takes the ceil(T factor / E) with the
    largest s_te, factor being at most E, the number of all experts, or in inference those above its threshold; y_t =
    sum over those that took t of s_te f_e(x_t), zero if none did.
    """
    experts, y, smallest = int(options["experts"]), np.zeros_like(x), inf
    among = experts + int(options.get("noops", 0))
    for b, place in documents(segments, x.shape[0], x.shape[1]):
        rows = x[b, place]
        scores = np.array([softmax(logits) for logits in linear(rows, params["router.weight"])])
        count = ceil(len(rows) * float(options["factor"]) / among)
        for e in range(experts):
            if phase == "train":
                taken, margin = largest(list(scores[:, e]), count)
            else:
                beyond = scores[:, e] - params["buffers.router.threshold"][e]
                taken, margin = list(np.flatnonzero(beyond > 0)), float(np.abs(beyond).min())
            smallest = min(smallest, margin)
            for t in taken:
                y[b, place.start + t] += scores[t, e] * feed_forward(rows[t], params, "experts", e, options)
    return y, smallest


def moe_expert_choice(
    x: Array, params: Params, options: Options, segments: Array | None = None, phase: str = "inference"
) -> Array:
    """Returns y [B,T,D] of expert_choice_margin."""
    return expert_choice_margin(x, params, options, segments, phase)[0]


def check(x: Array, params: Params, options: Options, segments: Array | None) -> None:
    """Refuses a case whose choices are nearly ties in either form; one without thresholds is of the training form."""
    for phase in ["train", "inference"] if "buffers.router.threshold" in params else ["train"]:
        refuse_ties(expert_choice_margin(x, params, options, segments, phase)[1])


def thresholds(params: Params) -> None:
    """Thresholds that differ from one another."""
    params["buffers.router.threshold"] = np.array([0.2, 0.35, 0.15, 0.3])


def three_thresholds(params: Params) -> None:
    """The same of three experts; a no-op has none."""
    params["buffers.router.threshold"] = np.array([0.2, 0.3, 0.1])


VARIANTS = {
    "default": Variant({"experts": 4, "factor": 2, "expand": 1}, phase="train"),
    "few": Variant({"experts": 6, "factor": 0.5, "expand": 0.5, "activation": "gelu"}, phase="train"),
    "all_tokens": Variant({"experts": 2, "factor": 2, "expand": 1, "activation": "relu2"}, phase="train"),
    "documents": Variant({"experts": 4, "factor": 1, "expand": 1}, documents=True, phase="train"),
    "noops": Variant({"experts": 3, "noops": 2, "factor": 2, "expand": 1}, phase="train"),
    "noops_causal": Variant({"experts": 3, "noops": 2, "factor": 2, "expand": 1}, change=three_thresholds),
    "noops_documents": Variant(
        {"experts": 2, "noops": 3, "factor": 1.5, "expand": 1, "activation": "gelu"}, documents=True, phase="train"
    ),
    "causal": Variant({"experts": 4, "factor": 1, "expand": 1}, change=thresholds),
}
