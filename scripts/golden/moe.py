"""Mixture of experts: each token goes through the few experts that its router likes best (token choice).

Shazeer et al. 2017 (arXiv:1701.06538); groups and selection bias as DeepSeek-AI 2024 (arXiv:2412.19437), section
2.1.2; the average with shared experts as in OLMo-core. In training an expert may have a capacity, a share of the tokens
of a sequence; in evaluation it has none, and nothing is drawn at random in either. Followed are
allenai/OLMo-core@fa6c501 (src/olmo_core/nn/moe) and deepseek-ai/DeepSeek-V3@9b4e978 (inference/model.py), but that
nothing is added to a sigmoid, and that a group counts its two best without a bias too.

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

from collections.abc import Callable
from math import floor, inf
from typing import Any

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import sigmoid, silu, softmax
from mlp import ACTIVATIONS
from moba import largest, refuse_ties
from random_numbers import Stream
from slopes import parameter_gradient, token_gradient

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


def choose(row: Array, params: Params, options: Options, token: int = 0) -> Choice:
    """Returns the experts that one token [D] chooses, the best liked first, and the smallest margin of the choices.

    Of experts that it likes the same the first comes first.
    """
    rule = options.get("choose", "top_k")
    if rule == "hash":
        return [hashed_expert(token, options)], inf
    logits = params["router.weight"] @ row
    if rule == "relu":
        return [e for e, logit in enumerate(logits) if logit > 0], float(np.abs(logits).min())
    scores = scores_of(logits, options)
    likes = scores + params.get("buffers.router.bias", np.zeros_like(scores))  # these choose, the scores weigh
    allowed, margin, groups = list(range(len(scores))), inf, int(options.get("groups", 1))
    if groups > 1:
        allowed, margin = allowed_experts(likes, groups, int(options["groups_kept"]))
    if rule == "top_p":
        chosen, other = fewest_with_sum(likes, scores, allowed, float(options["top_p"]))
    else:
        top_k = int(options["top_k"])
        if top_k > len(allowed):
            raise ValueError(f"top_k {top_k} of {len(allowed)} experts that may be chosen")
        best, other = largest([likes[e] for e in allowed], top_k)
        chosen = [allowed[i] for i in best]
    chosen.sort(key=lambda e: (-likes[e], e))
    return chosen, min(margin, other, *(likes[one] - likes[next_one] for one, next_one in zip(chosen, chosen[1:])))


def scores_of(logits: Array, options: Options) -> Array:
    """Returns the score of each expert of one token, from its logits."""
    return sigmoid(logits) if options.get("score", "softmax") == "sigmoid" else softmax(logits)


def weigh(row: Array, params: Params, options: Options, chosen: list[int]) -> dict[int, float]:
    """Returns the weight of each chosen expert of one token [D]; those that answer 0 have none and count in no sum."""
    rule, scale = options.get("choose", "top_k"), float(options.get("scale", 1.0))
    if rule == "hash":
        return {e: scale for e in chosen}
    logits = params["router.weight"] @ row
    if rule == "relu":
        return {e: logits[e] for e in chosen}
    scores = scores_of(logits, options)
    chosen = [e for e in sorted(chosen) if e < len(scores) - int(options.get("zeros", 0))]
    total = sum(scores[e] for e in chosen) + 1e-20 if options["topk_norm"] else 1.0
    return {e: scale * scores[e] / total for e in chosen}


def served(chosen: list[list[int]], options: Options) -> list[list[int]]:
    """Returns which of the choices of a sequence's tokens the experts have room for, in training.

    Of T tokens with top_k choices each an expert of E has room for floor(capacity top_k T / E), for one at least.
    Tokens come one after the other, each with its best liked expert first, or first choices come before all second ones
    (choice_major).
    """
    experts = sum(int(options.get(name, 0)) for name in ("experts", "constants", "copies", "zeros"))
    room = [max(1, floor(float(options["capacity"]) * int(options["top_k"]) * len(chosen) / experts))] * experts
    asks = [(rank, t) for t, own in enumerate(chosen) for rank in range(len(own))]
    if options.get("drop_order", "token_major") == "choice_major":
        asks.sort()
    kept: list[list[int]] = [[] for _ in chosen]
    for rank, t in asks:
        e = chosen[t][rank]
        if room[e] > 0:
            room[e] -= 1
            kept[t].append(e)
    return kept


def answer(row: Array, params: Params, options: Options, chosen: list[int], kept: list[int]) -> Array:
    """Returns y of one token [D]: r = sum over the kept experts of w_e f_e(x), w from all chosen ones.

    With shared experts, which all tokens pass, s of them is added: y = s + r, or (s + top_k r) / (top_k + 1) where
    shared_as is average.
    """
    weights = weigh(row, params, options, chosen)
    y = np.zeros_like(row)
    for e in sorted(kept):
        if e in weights:
            y = y + weights[e] * expert(row, params, options, e)
    if int(options.get("shared", 0)) == 0:
        return y
    shared = feed_forward(row, params, "shared", 0, options)
    top_k = int(options["top_k"])
    return (shared + top_k * y) / (top_k + 1) if options.get("shared_as", "sum") == "average" else shared + y


Choices = list[list[list[int]]]  # of each token of each sequence


def decide(
    x: Array, params: Params, options: Options, ids: Array | None, phase: str
) -> tuple[Choices, Choices, float]:
    """Returns the experts chosen, those kept, and the smallest margin above 0 of all choices; x [B,T,D], ids [B,T]."""
    chosen: Choices = []
    smallest = inf
    for b in range(x.shape[0]):
        found = [choose(x[b, t], params, options, 0 if ids is None else int(ids[b, t])) for t in range(x.shape[1])]
        chosen.append([experts for experts, _ in found])
        smallest = min(smallest, *(margin for _, margin in found if margin > 0))  # at 0 no rounding decides
    limited = phase == "train" and "capacity" in options
    return chosen, [served(row, options) for row in chosen] if limited else chosen, smallest


def answers(x: Array, params: Params, options: Options, chosen: Choices, kept: Choices) -> Array:
    """Returns y [B,T,D], given the choices of each token."""
    y = np.zeros_like(x)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            y[b, t] = answer(x[b, t], params, options, chosen[b][t], kept[b][t])
    return y


def moe(
    x: Array, params: Params, options: Options, shelf: Params | None = None, phase: str = "inference"
) -> Array:
    """Returns y [B,T,D]; choose: hash asks for the shelf's ids [B,T]."""
    chosen, kept, _ = decide(x, params, options, (shelf or {}).get("ids"), phase)
    return answers(x, params, options, chosen, kept)


def gradients(
    x: Array, params: Params, options: Options, shelf: Params, phase: str, seed: Array
) -> Params:
    """Returns the gradient of sum(seed y) by x, "x", and by each parameter; seed [B,T,D].

    Choices have none, and stay as they are: the rest is smooth, and its differences are taken to the fourth order.
    """
    chosen, kept, _ = decide(x, params, options, shelf.get("ids"), phase)
    trained = {name: value for name, value in params.items() if not name.startswith("buffers.")}

    def y_of(values: Params) -> Array:
        return answers(values["x"], values, options, chosen, kept)

    values = {"x": x} | trained
    result = {"x": token_gradient(y_of, values, seed)}
    return result | {name: parameter_gradient(y_of, values, name, seed) for name in trained}


def check(x: Array, params: Params, options: Options, segments: Array | None) -> None:
    """Refuses a case whose choices are nearly ties, and one with a capacity that drops nothing."""
    if options.get("choose") == "hash":
        return
    chosen, kept, margin = decide(x, params, options, None, "train")
    refuse_ties(margin)
    if "capacity" in options and chosen == kept:
        raise ValueError(f"a capacity of {options['capacity']} drops nothing")


def bias_of_groups(params: Params) -> None:
    """A bias that decides which groups are kept, and with it likes below zero among the chosen."""
    bias = [-1.2, 0.3, -1.6, 0.15, -1.3, -0.9, -1.1, 0.2, -1.4, 0.1, -1.7, -1.0]
    params["buffers.router.bias"] = np.array(bias)


def zero_rows(*experts: int) -> Callable[[Params], None]:
    """Returns the change of parameters with which tokens like these experts the same, to the bit."""

    def change(params: Params) -> None:
        params["router.weight"][list(experts)] = 0.0

    return change


def bias_of_three(params: Params) -> None:
    """A bias that makes first choices of experts whose scores are second."""
    params["buffers.router.bias"] = np.array([0.35, -0.1, 0.0])


GROUPS = {"experts": 12, "top_k": 4, "expand": 0.5, "score": "sigmoid", "topk_norm": True, "groups": 4, "groups_kept": 2, "bias_rate": 0.001}
SHARED = {"experts": 4, "top_k": 2, "expand": 1}
AVERAGE = {"topk_norm": False, "activation": "relu2", "shared": 1, "shared_as": "average"}
HASHED = {"experts": 3, "top_k": 1, "expand": 1, "choose": "hash", "hash_seed": 7}
WITHOUT_PRODUCTS = {"constants": 2, "copies": 1, "zeros": 1}
MANY = {"experts": 16, "top_k": 5, "expand": 0.5, "activation": "gelu", "topk_norm": True, "scale": 2.5}

# A capacity is one of training, whose balance loss is left out here: gradients are those of the output alone.
LIMITED = {"experts": 4, "top_k": 2, "expand": 0.5, "topk_norm": True, "balance": 0, "capacity": 0.75}
SIGMOID = {"score": "sigmoid", "scale": 2.5}
CHOICE_MAJOR = {"drop_order": "choice_major"}
LIMITED_HASH = {"experts": 3, "top_k": 1, "expand": 0.5, "choose": "hash", "capacity": 0.8, "copies": 1}


def limited(options: Options | None = None, **more: Any) -> Variant:
    """Returns a case of training with LIMITED and these options, which has its gradients."""
    return Variant(LIMITED | (options or {}), phase="train", gradients=True, **more)


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
    "capacity": limited(),
    "capacity_choice_major": limited(CHOICE_MAJOR),
    "capacity_one_choice": limited({"top_k": 1, "topk_norm": False, "capacity": 1}),
    "capacity_one_each": limited({"capacity": 0.05, "shared": 1}),
    "capacity_ties": limited(CHOICE_MAJOR, change=zero_rows(1, 3)),
    "capacity_shared": limited({"shared": 2, "topk_norm": False}),
    "capacity_average": limited(CHOICE_MAJOR | {"shared": 1, "shared_as": "average", "activation": "gelu"}),
    "capacity_sigmoid": limited(SIGMOID | {"capacity": 1.1}),
    "capacity_bias": limited(SIGMOID | CHOICE_MAJOR | {"experts": 3, "bias_rate": 0.01}, change=bias_of_three),
    "capacity_groups": limited(SIGMOID | {"experts": 6, "top_k": 3, "groups": 3, "groups_kept": 2}),
    "capacity_without_products": limited({"experts": 2} | WITHOUT_PRODUCTS),
    "capacity_documents": limited(CHOICE_MAJOR, documents=True),
    "capacity_hash": Variant(LIMITED_HASH, ids=11, phase="train", gradients=True),
    "capacity_evaluation": Variant(LIMITED),
}
