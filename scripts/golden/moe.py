"""Mixture of experts: each token goes through the few experts that its router likes best (token choice).

Shazeer et al. 2017 (arXiv:1701.06538); groups and selection bias as DeepSeek-AI 2024 (arXiv:2412.19437), section
2.1.2; the average with shared experts as in OLMo-core. These are the values of evaluation: no capacity, nothing drawn
at random. Followed are allenai/OLMo-core@fa6c501 (src/olmo_core/nn/moe) and deepseek-ai/DeepSeek-V3@9b4e978
(inference/model.py), but that nothing is added to a sigmoid, and that a group counts its two best without a bias too.

choose: relu is Wang et al. 2024 (arXiv:2412.14711, ReMoE) as in thu-ml/ReMoE@463c6af (megatron/core/transformer/moe/
router.py, ReLURouter). choose: hash is Roller et al. 2021 (arXiv:2106.04426) as in facebookresearch/ParlAI@13fe067
(projects/params_vs_compute/hash_ladder/hash_ladder.py, HashLayerFFN), with random numbers of its own. Experts without
products are Jin et al. 2024 (arXiv:2410.07348, MoE++) as in SkyworkAI/MoE-plus-plus@7f43967
(MoE++/moe_plus_plus_layer.py), without its residual of the router, the second layer of it, and the multiplication of
what experts read by top_k.

Parameters of `constants` experts: "constants.mix.weight" [2 constants,D], two rows an expert, and
"constants.vectors.weight" [D,constants], a column an expert.
"""

from __future__ import annotations

from math import inf

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import sigmoid, silu, softmax
from mlp import ACTIVATIONS
from moba import largest, refuse_ties
from random_numbers import Stream

KIND = "ffn"
PAPER = "Shazeer et al. 2017 (arXiv:1701.06538); groups and bias: DeepSeek-AI 2024 (arXiv:2412.19437)"

Choice = tuple[list[int], float]  # experts, and how far the choice is from another one


def feed_forward_shapes(name: str, options: Options, d_model: int, count: int, width: int = 1) -> Shapes:
    """Returns the shapes of `count` feed-forward networks one below the other, each as wide as `width` experts."""
    inner = width * max(1, round(float(options.get("expand", 8 / 3)) * d_model))
    gated = options.get("activation", "swiglu") == "swiglu"
    first, rows = ("gate_up", 2 * inner) if gated else ("up", inner)
    return {f"{name}.{first}.weight": (count * rows, d_model), f"{name}.down.weight": (count * d_model, inner)}


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; an expert's rows of gate_up are the gate's, then up's."""
    experts, shared = int(options["experts"]), int(options.get("shared", 0))
    constants = int(options.get("constants", 0))
    others = constants + int(options.get("copies", 0)) + int(options.get("zeros", 0))
    hashed = options.get("choose") == "hash"
    result: Shapes = {} if hashed else {"router.weight": (experts + others, d_model)}
    result |= feed_forward_shapes("experts", options, d_model, experts)
    if constants > 0:
        result |= {"constants.mix.weight": (2 * constants, d_model), "constants.vectors.weight": (d_model, constants)}
    if shared > 0:
        result |= feed_forward_shapes("shared", options, d_model, 1, width=shared)
    return result


def expert(row: Array, params: Params, options: Options, index: int) -> Array:
    """Returns what the index-th expert makes of one token [D].

    First come the feed-forward networks, then those that answer a_0 x + a_1 v with a = softmax(M x), M [2,D], then those
    that answer x, then those that answer 0.
    """
    feed_forwards, constants = int(options["experts"]), int(options.get("constants", 0))
    if index < feed_forwards:
        return feed_forward(row, params, "experts", index, options)
    index -= feed_forwards
    if index < constants:
        mix = softmax(params["constants.mix.weight"][2 * index : 2 * index + 2] @ row)
        return mix[0] * row + mix[1] * params["constants.vectors.weight"][:, index]
    return row if index < constants + int(options.get("copies", 0)) else np.zeros_like(row)


def feed_forward(row: Array, params: Params, name: str, index: int, options: Options) -> Array:
    """Returns W_down (silu(W_gate x) * W_up x), or W_down f(W_up x), of the index-th network below `name`; x [D]."""
    activation, down = options.get("activation", "swiglu"), params[f"{name}.down.weight"]
    inner, d_model = down.shape[1], row.shape[0]
    if activation == "swiglu":
        gate_up = params[f"{name}.gate_up.weight"][index * 2 * inner : (index + 1) * 2 * inner]
        hidden = silu(gate_up[:inner] @ row) * (gate_up[inner:] @ row)
    else:
        hidden = ACTIVATIONS[activation](params[f"{name}.up.weight"][index * inner : (index + 1) * inner] @ row)
    return down[index * d_model : (index + 1) * d_model] @ hidden


def allowed_experts(likes: Array, groups: int, kept: int) -> Choice:
    """Returns the experts of the `kept` groups whose two best members' likes [E] have the largest sum."""
    size = len(likes) // groups
    if size * groups != len(likes):
        raise ValueError(f"{len(likes)} experts are not {groups} equal groups")
    sums = [sum(sorted(likes[g * size : (g + 1) * size])[-2:]) for g in range(groups)]
    best, margin = largest(sums, kept)
    return [g * size + i for g in best for i in range(size)], margin


def fewest_with_sum(likes: Array, scores: Array, allowed: list[int], top_p: float) -> Choice:
    """Returns the fewest best liked experts whose scores add up to at least top_p; all if the scores do not reach it."""
    nearest = inf
    for count in range(1, len(allowed)):
        best, margin = largest([likes[e] for e in allowed], count)
        total = sum(scores[allowed[i]] for i in best)
        nearest = min(nearest, abs(total - top_p))
        if total >= top_p:
            return [allowed[i] for i in best], min(margin, nearest)
    return allowed, nearest


def hashed_expert(token: int, options: Options) -> int:
    """Returns the expert of a token of the vocabulary, one of all, in every layer of the same hash_seed."""
    experts = sum(int(options.get(name, 0)) for name in ("experts", "constants", "copies", "zeros"))
    return Stream(int(options.get("hash_seed", 0)), "hash").below(token, experts)


def route(row: Array, params: Params, options: Options) -> tuple[dict[int, float], float]:
    """Returns the weight of each chosen expert of one token [D], and the smallest margin of the choices made."""
    logits = params["router.weight"] @ row
    if options.get("choose", "top_k") == "relu":
        return {e: float(logit) for e, logit in enumerate(logits) if logit > 0}, float(np.abs(logits).min())
    scores = sigmoid(logits) if options.get("score", "softmax") == "sigmoid" else softmax(logits)
    likes = scores + params.get("buffers.router.bias", np.zeros_like(scores))  # these choose, the scores weigh
    allowed, margin, groups = list(range(len(scores))), inf, int(options.get("groups", 1))
    if groups > 1:
        allowed, margin = allowed_experts(likes, groups, int(options["groups_kept"]))
    if options.get("choose", "top_k") == "top_p":
        chosen, other = fewest_with_sum(likes, scores, allowed, float(options["top_p"]))
    else:
        top_k = int(options["top_k"])
        if top_k > len(allowed):
            raise ValueError(f"top_k {top_k} of {len(allowed)} experts that may be chosen")
        best, other = largest([likes[e] for e in allowed], top_k)
        chosen = [allowed[i] for i in best]
    zeros = int(options.get("zeros", 0))
    chosen = [e for e in chosen if e < len(scores) - zeros]  # those that answer 0 don't count in the sum either
    total = sum(scores[e] for e in chosen) + 1e-20 if options["topk_norm"] else 1.0
    return {e: float(options.get("scale", 1.0)) * scores[e] / total for e in chosen}, min(margin, other)


def moe_margin(x: Array, params: Params, options: Options, ids: Array | None = None) -> tuple[Array, float]:
    """Returns (y [B,T,D], the smallest margin of all choices).

    r_t = sum over the chosen experts of w_e f_e(x_t). With shared experts, which all tokens pass, s_t of them is added:
    y_t = s_t + r_t, or (s_t + top_k r_t) / (top_k + 1) where shared_as is average. choose: hash asks for ids [B,T].
    """
    y, smallest = np.zeros_like(x), inf
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            if options.get("choose") == "hash":
                weights, margin = {hashed_expert(int(ids[b, t]), options): float(options.get("scale", 1.0))}, inf
            else:
                weights, margin = route(x[b, t], params, options)
            smallest = min(smallest, margin)
            for e, weight in weights.items():
                y[b, t] += weight * expert(x[b, t], params, options, e)
            if int(options.get("shared", 0)) > 0:
                shared = feed_forward(x[b, t], params, "shared", 0, options)
                if options.get("shared_as", "sum") == "average":
                    top_k = int(options["top_k"])
                    y[b, t] = (shared + top_k * y[b, t]) / (top_k + 1)
                else:
                    y[b, t] += shared
    return y, smallest


def moe(x: Array, params: Params, options: Options, shelf: Params | None = None) -> Array:
    """Returns y [B,T,D] of moe_margin."""
    return moe_margin(x, params, options, (shelf or {}).get("ids"))[0]


def check(x: Array, params: Params, options: Options, segments: Array | None) -> None:
    """Refuses a case whose choices are nearly ties."""
    if options.get("choose") != "hash":
        refuse_ties(moe_margin(x, params, options)[1])


def bias_of_groups(params: Params) -> None:
    """A bias that decides which groups are kept, and with it likes below zero among the chosen."""
    bias = [-1.2, 0.3, -1.6, 0.15, -1.3, -0.9, -1.1, 0.2, -1.4, 0.1, -1.7, -1.0]
    params["buffers.router.bias"] = np.array(bias)


GROUPS = {"experts": 12, "top_k": 4, "expand": 0.5, "score": "sigmoid", "topk_norm": True, "groups": 4, "groups_kept": 2, "bias_rate": 0.001}
SHARED = {"experts": 4, "top_k": 2, "expand": 1}
AVERAGE = {"topk_norm": False, "activation": "relu2", "shared": 1, "shared_as": "average"}
HASHED = {"experts": 3, "top_k": 1, "expand": 1, "choose": "hash", "hash_seed": 7}
WITHOUT_PRODUCTS = {"constants": 2, "copies": 1, "zeros": 1}
MANY = {"experts": 16, "top_k": 5, "expand": 0.5, "activation": "gelu", "topk_norm": True, "scale": 2.5}

VARIANTS = {
    "default": Variant({"experts": 4, "top_k": 2, "topk_norm": True}),
    "groups_bias": Variant(GROUPS, change=bias_of_groups),
    "top_p": Variant({"experts": 6, "expand": 1, "choose": "top_p", "top_p": 0.7, "topk_norm": False}),
    "shared_sum": Variant(SHARED | {"topk_norm": True, "shared": 2, "shared_as": "sum"}),
    "shared_average": Variant(SHARED | AVERAGE),
    "many": Variant(MANY),
    "relu": Variant({"experts": 5, "expand": 1, "choose": "relu", "topk_norm": False}),
    "without_products": Variant({"experts": 3, "top_k": 2, "expand": 1, "topk_norm": True} | WITHOUT_PRODUCTS),
    "hash": Variant({"experts": 4, "top_k": 1, "expand": 1, "choose": "hash"}, ids=11),
    "hash_shared": Variant(HASHED | {"shared": 1, "copies": 1, "zeros": 1}, ids=11),
    "hash_average": Variant(HASHED | {"constants": 1, "scale": 2.5, "shared": 2, "shared_as": "average"}, ids=11),
    "copies": Variant({"experts": 2, "top_k": 3, "expand": 1, "topk_norm": False, "copies": 2, "scale": 1.5}),
}
