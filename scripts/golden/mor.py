"""Mixture-of-Recursions: one residual block that is taken up to N times, by ever fewer tokens.

Bae et al. 2025 (arXiv:2507.10524), section 2.2, of which states: shared is recursive KV sharing (2.2.2);
raymin0223/mixture_of_recursions@82c97f2, expert_choice_router.py, and @aef56f7, token_choice_router.py. Not as in that
code:

- It adds g (h + f(h)) where these equations add g f(h): its blocks hold their residual connection, and another stands
  around them, so that h is multiplied by 1 + g in each step, and h_0 by 1 + p in token choice.
- It keeps floor(capacity T) tokens, at least one, where these keep ceil(capacity T).
- It has no inference: out of training it chooses among the tokens to come, too. The rule here is what its auxiliary
  loss trains, the mean cross entropy of sigmoid(s) and of whether the token was chosen, over those that could be.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, sqrt

import numpy as np

from attention import QK_NORM_EPS, head_sizes, rotate, sees
from common import Array, Options, Params, Shapes, Variant
from cross_attention import cross_shapes
from equations import attend, document_positions, linear, normalize, rms_norm, sigmoid, softmax
from mechanisms import below
from mod import contribution
from moba import largest
from residual import LAYER_NORM, MLP, NORM, NORM_NAMES, TOKEN_SHIFT, branches
from residual import contribution as branch_contribution
from residual import shapes as residual_shapes

KIND = "block"
PAPER = "Bae et al. 2025 (arXiv:2507.10524)"

# The least distance of a decision from the other one that a golden file may have.
LEAST_MARGIN = 1e-6

# f(h, active): what the block adds to the tokens [K,D] with these numbers.
Block = Callable[[Array, list[int]], Array]
# y [T,D] of one sequence, the numbers of the tokens that took each step, the smallest margin of the decisions.
Result = tuple[Array, list[list[int]], float]


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the row r - 1 of routers.weight is that of step r.

    states: shared has mixer.q and mixer.kv, whose rows are those of k, then of v, in place of mixer.qkv.
    """
    result: Shapes = {"routers.weight": (int(options["recursions"]), d_model)} | residual_shapes(options, d_model)
    if shares_states(options):
        result = {name: shape for name, shape in result.items() if not name.startswith("mixer.")}
        result |= {f"mixer.{name}": shape for name, shape in cross_shapes(options["mixer"], d_model).items()}
    return result


def shares_states(options: Options) -> bool:
    """Whether all steps read the keys and values of the first one; ValueError where that is not defined."""
    states, mixer = options.get("states", "own"), branches(options).get("mixer", {})
    if states not in ("own", "shared"):
        raise ValueError(f"mor: states: {states} is none of own, shared")
    if states == "own":
        return False
    if mixer.get("type") != "attention" or mixer.get("position", "rope") not in ("rope", "none"):
        raise ValueError("mor: states: shared is that of attention with position: rope or none")
    if any(mixer.get(name) for name in ("projection", "value_residual", "value_embedding")):
        raise ValueError("mor: states: shared knows no projection, value_residual or value_embedding")
    if options.get("routing", "expert") == "expert" and capacities(options)[0] < 1.0:
        raise ValueError("mor: states: shared needs all tokens in the first step")
    return True


def capacities(options: Options) -> list[float]:
    """Returns the share of a sequence's tokens that takes each step, (N - r + 1) / N of them by default."""
    steps = int(options["recursions"])
    return [float(share) for share in options.get("capacities", [(steps - r) / steps for r in range(steps)])]


def choose_by_step(h: Array, f: Block, params: Params, options: Options, phase: str) -> Result:
    """routing: expert, of one sequence [T,D]: h_i <- h_i + g(s_i) f_i(h_A) for i in A_r, the others keep h; r = 1 .. N.

    s = w_r.h before the step; g = alpha sigmoid(s), alpha tanh(s), s itself, or 1. A_0 are all tokens. In training A_r are the
    ceil(capacity_r T) of A_{r-1} with the largest s, over all documents of the sequence, ties to the lowest index. In
    inference they are those of A_{r-1} with sigmoid(s) > 1/2; a step of capacity 1 does not ask but takes all of
    A_{r-1}, as in training.
    """
    h, active, steps, smallest = h.copy(), list(range(len(h))), [], float("inf")
    for weight, capacity in zip(params["routers.weight"], capacities(options)):
        scores = [float(np.dot(weight, h[t])) for t in active]
        if phase == "train" or capacity >= 1.0:
            chosen, margin = largest(scores, ceil(capacity * len(h) - 1e-9))
        else:
            chosen = [i for i, s in enumerate(scores) if s > 0.0]
            margin = min((abs(s) for s in scores), default=float("inf"))
        smallest, active = min(smallest, margin), [active[i] for i in chosen]
        steps.append(active)
        if not active:
            continue
        s = np.array([scores[i] for i in chosen])[:, None]
        alpha = float(options.get("alpha", 0.1))
        weights = {"raw": s, "sigmoid": alpha * sigmoid(s), "tanh": alpha * np.tanh(s), "none": np.ones_like(s)}
        g = weights[options.get("weight", "sigmoid")]
        h[active] = h[active] + g * f(h[active], active)
    return h, steps, smallest


def choose_depth(x: Array, f: Block, params: Params, options: Options) -> Result:
    """routing: token, of one sequence [T,D]: y_i = x_i + p_i (h_i - x_i) with p_i = softmax(W x_i)_d, the largest;
    or p_i = alpha sigmoid(W x_i)_d.

    h starts as x, and in each step r = 1 .. N the tokens with d >= r have h <- h + f(h), in which f sees them alone. Of
    equal ones the first is the largest. In training and inference alike.
    """
    h, count = x.copy(), int(options["recursions"])
    logits = linear(x, params["routers.weight"])
    depth = [int(np.argmax(row)) + 1 for row in logits]
    steps = [[t for t in range(len(x)) if depth[t] >= r] for r in range(1, count + 1)]
    for active in steps:
        if active:
            h[active] = h[active] + f(h[active], active)
    if options.get("depth_weight", "softmax") == "softmax":
        p = np.array([softmax(row)[d - 1] for row, d in zip(logits, depth)])[:, None]
    else:
        p = np.array([float(options.get("alpha", 0.1)) * sigmoid(row[d - 1]) for row, d in zip(logits, depth)])[:, None]
    return x + p * (h - x), steps, min(float(np.ptp(np.sort(row)[-2:])) for row in logits)


def heads_of(x: Array, params: Params, name: str, options: Options, positions: Array) -> Array:
    """Returns q or k, as name says, of the tokens x [K,D] at these positions in their documents: [K,heads,dh].

    Both are normed where qk_norm says so, then turned.
    """
    dh = head_sizes(options, x.shape[1])[2]
    rows = linear(x, params[f"{name}.weight"], params.get(f"{name}.bias")).reshape(len(x), -1, dh)
    if options.get("qk_norm"):
        rows = rms_norm(rows, params[f"{name}_norm.weight"], QK_NORM_EPS)
    if options.get("position", "rope") == "rope":
        turned, theta = round(dh * float(options.get("rope_share", 1.0))), float(options.get("rope_theta", 10000.0))
        rows = rows.copy()
        for t in range(len(x)):
            rows[t, :, :turned] = [rotate(row[:turned], int(positions[t]), theta) for row in rows[t]]
    return rows


def keys_and_values(x: Array, params: Params, options: Options, positions: Array) -> tuple[Array, Array]:
    """Returns k and v [T,G,dh] of all tokens x [T,D] of one sequence; the rows of kv are those of k, then of v."""
    _, kv_heads, dh = head_sizes(options, x.shape[1])
    part: Params = {name: value for name, value in params.items() if name == "k_norm.weight"}
    for kind in ("weight", "bias"):
        if f"kv.{kind}" in params:
            part[f"k.{kind}"], part[f"v.{kind}"] = np.split(params[f"kv.{kind}"], 2)
    v = linear(x, part["v.weight"], part.get("v.bias")).reshape(len(x), kv_heads, dh)
    return heads_of(x, part, "k", options, positions), v


def read_states(
    x: Array,
    active: list[int],
    states: tuple[Array, Array],
    params: Params,
    options: Options,
    segments: Array,
    positions: Array,
) -> Array:
    """y_i = W_o [softmax_j(q_i.k_j / sqrt(dh)) v_j] of the tokens x [K,D] with the numbers active; y [K,D].

    k_j and v_j are the states of the first step; j are all tokens of the document of i up to i itself, chosen or not,
    within the window. segments and positions [T] are those of all tokens.
    """
    heads, kv_heads, dh = head_sizes(options, x.shape[1])
    window, sinks = int(options.get("window") or 0), int(options.get("sinks") or 0)
    (k, v), q = states, heads_of(x, params, "q", options, positions[active])
    mixed = np.zeros((len(active), heads, dh))
    for row, i in enumerate(active):
        same = [j for j in range(len(k)) if segments[j] == segments[i]]
        visible = [j for j in same if sees(int(positions[i]), int(positions[j]), window, sinks, "causal")]
        for h in range(heads):
            g = h * kv_heads // heads
            mixed[row, h], _ = attend(q[row, h], [k[j, g] for j in visible], [v[j, g] for j in visible], 1 / sqrt(dh))
    return linear(mixed.reshape(len(active), heads * dh), params["out.weight"], params.get("out.bias"))


def shared_block(
    params: Params, options: Options, segments: Array | None, layer: int, positions: Array, ids: Array | None
) -> Block:
    """states: shared (section 2.2.2), of one sequence: its f(h, active) keeps k and v of its first call for the others.

    Later calls make q alone of their own tokens; the rest of f is that of mod.contribution. All arrays are [T].
    """
    mixer, norm = below(params, "mixer"), NORM | options.get("norm", {})
    norms, documents = NORM_NAMES[options.get("norm_at", "before")], np.zeros_like(positions)
    if segments is not None:
        documents = segments
    if options.get("x0"):
        raise ValueError("what one layer leaves for later ones is not defined for tokens that skip it")
    kept: list[tuple[Array, Array]] = []

    def mix(h: Array, active: list[int]) -> Array:
        x = normalize(h, params, "mixer_norm", norm) if "norm" in norms else h
        if not kept:
            if active != list(range(len(positions))):
                raise ValueError("the first step is not that of all tokens")
            kept.append(keys_and_values(x, mixer, options["mixer"], positions))
        y = read_states(x, active, kept[0], mixer, options["mixer"], documents, positions)
        return normalize(y, params, "mixer_post_norm", norm) if "post_norm" in norms else y

    def f(h: Array, active: list[int]) -> Array:
        own, tokens = (None if all_of is None else all_of[None, active] for all_of in (segments, ids))
        total, shelf = np.zeros_like(h), {} if tokens is None else {"ids": tokens}
        for name in branches(options):
            read = h if options.get("parallel") else h + total
            if name == "mixer":
                total = total + mix(read, active)
            else:
                places = positions[None, active]
                made = branch_contribution(read[None], params, name, options, own, "causal", layer, shelf, places)
                total = total + made[0]
        return total

    return f


def recur(
    x: Array, params: Params, options: Options, segments: Array | None, layer: int, phase: str, ids: Array | None = None
) -> list[Result]:
    """Returns the result of each sequence of x [B,T,D].

    A step sees its own tokens alone: they are a sequence, but for their positions in the documents that they are from.
    With states: shared its attention sees all tokens, as they were in the first step.
    """
    positions = document_positions(segments, *x.shape[:2])
    results: list[Result] = []
    for b in range(x.shape[0]):

        def f(h: Array, active: list[int], b: int = b) -> Array:
            own, tokens = (None if all_of is None else all_of[b : b + 1, active] for all_of in (segments, ids))
            return contribution(h[None], params, options, own, layer, positions[b : b + 1, active], tokens)[0]

        block: Block = f
        if shares_states(options):
            whole, tokens = (None if all_of is None else all_of[b] for all_of in (segments, ids))
            block = shared_block(params, options, whole, layer, positions[b], tokens)
        if options.get("routing", "expert") == "token":
            results.append(choose_depth(x[b], block, params, options))
        else:
            results.append(choose_by_step(x[b], block, params, options, phase))
    return results


def mor(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    layer: int = 0,
    shelf: Params | None = None,
    phase: str = "inference",
) -> Array:
    """N steps of one residual block, x + f(x), for the tokens that routing chooses; x and y [B,T,D]."""
    ids = (shelf or {}).get("ids")
    return np.stack([y for y, _, _ in recur(x, params, options, segments, layer, phase, ids)])


def check(x: Array, params: Params, options: Options, segments: Array | None) -> None:
    """Refuses a case where a step that chooses keeps nobody or all, or nearly chooses by a tie, in either phase."""
    shares = [1.0] + capacities(options)
    token = options.get("routing", "expert") == "token"
    for phase in ("inference", "train"):
        for _, steps, margin in recur(x, params, options, segments, 0, phase):
            counts = [x.shape[1]] + [len(active) for active in steps]
            for r in range(1, len(counts)):
                free = r == 1 if token else shares[r] == shares[r - 1]
                if not 0 < counts[r] < counts[r - 1] + free:
                    raise ValueError(f"{phase}: step {r} has {counts[r]} of {counts[r - 1]} tokens")
            if margin < LEAST_MARGIN:
                raise ValueError(f"a choice of {phase} is nearly a tie, {margin:.3g}")


ATTENTION: Options = {"type": "attention", "heads": 2, "position": "rope"}
MIN_GRU: Options = {"type": "min_gru", "expand": 1, "candidate": "g", "conv": 3}
BLOCK: Options = {"recursions": 3, "mixer": ATTENTION, "ffn": MLP}
SHARED: Options = BLOCK | {"states": "shared"}
GROUPS: Options = {"heads": 4, "kv_heads": 2, "head_dim": 4, "qk_norm": True}
RECURRENT: Options = {"mixer": MIN_GRU, "ffn": TOKEN_SHIFT, "norm": LAYER_NORM}

VARIANTS = {
    "inference": Variant(BLOCK),
    "inference_documents": Variant(BLOCK | {"capacities": [0.9, 0.6, 0.3], "alpha": 1.5}, documents=True),
    "inference_recurrent": Variant(RECURRENT | {"recursions": 2, "weight": "raw"}, documents=True),
    "train": Variant(BLOCK | {"alpha": 1.0}, phase="train"),
    "train_documents": Variant(
        BLOCK | {"capacities": [0.8, 0.4, 0.4], "weight": "raw"}, documents=True, phase="train"
    ),
    "train_recurrent": Variant(RECURRENT | {"recursions": 3, "alpha": 0.5}, documents=True, phase="train"),
    "train_tanh": Variant(BLOCK | {"weight": "tanh", "alpha": 0.6}, phase="train"),
    "inference_unweighted": Variant(RECURRENT | {"recursions": 2, "weight": "none"}, documents=True),
    "token_sigmoid": Variant(BLOCK | {"routing": "token", "depth_weight": "sigmoid", "alpha": 0.7}, documents=True),
    "token": Variant(BLOCK | {"routing": "token"}),
    "token_documents": Variant(RECURRENT | {"recursions": 4, "routing": "token"}, documents=True, phase="train"),
    "shared_inference": Variant(SHARED | {"alpha": 0.3}),
    "shared_train_documents_window_groups": Variant(
        SHARED | {"mixer": ATTENTION | GROUPS | {"window": 5}, "capacities": [1.0, 0.7, 0.4], "alpha": 1.0},
        documents=True,
        phase="train",
    ),
    "shared_token_documents_bias": Variant(
        SHARED | {"mixer": ATTENTION | {"bias": True}, "routing": "token"}, documents=True
    ),
}
