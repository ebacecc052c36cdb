"""RWKV-6 (Finch) time mixing: a matrix state with a data-dependent decay and a bonus for the newest token.

Peng et al. 2024 (arXiv:2404.05892), Finch; the token shifts, too, depend on the data.
"""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, layer_norm, linear, previous_token, silu

PAPER = "Peng et al. 2024 (arXiv:2404.05892)"
GROUP_NORM_EPS = 64e-5
SHIFTED = ("w", "k", "v", "r", "g")


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; mix, mix_down and mix_up hold the parts w, k, v, r, g in this order."""
    shift_rank, decay_rank = int(options.get("shift_rank", 32)), int(options.get("decay_rank", 64))
    parts = len(SHIFTED)
    square = (d_model, d_model)
    return {
        "mix_x": (d_model,),
        "mix": (parts, d_model),
        "mix_down.weight": (parts * shift_rank, d_model),
        "mix_up.weight": (parts * d_model, shift_rank),
        "r.weight": square,
        "k.weight": square,
        "v.weight": square,
        "g.weight": square,
        "decay_base": (d_model,),
        "decay_down.weight": (decay_rank, d_model),
        "decay_up.weight": (d_model, decay_rank),
        "bonus": (d_model,),
        "group_norm.weight": (d_model,),
        "group_norm.bias": (d_model,),
        "out.weight": square,
    }


def shifted_inputs(x: Array, before: Array, params: Params) -> dict[str, Array]:
    """ddlerp_i = x + (x_{t-1} - x) * (mix_i + A_i tanh(B_i (x + (x_{t-1} - x) * mix_x))) for i of w, k, v, r, g.

    The data-dependent linear interpolation of Finch. x, before and each result [D], one token.
    """
    d_model, difference = x.shape[0], before - x
    low_rank = np.tanh(linear(x + difference * params["mix_x"], params["mix_down.weight"]))
    rank = low_rank.shape[0] // len(SHIFTED)
    result: dict[str, Array] = {}
    for i, name in enumerate(SHIFTED):
        up = params["mix_up.weight"][i * d_model : (i + 1) * d_model]
        moved = linear(low_rank[i * rank : (i + 1) * rank], up)
        result[name] = x + difference * (params["mix"][i] + moved)
    return result


def rwkv6(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """o_t = (S_{t-1} + diag(u) k_t v_t^T)^T r_t, S_t = diag(w_t) S_{t-1} + k_t v_t^T, S_0 = 0; x and y [B,T,D].

    w_t = exp(-exp(base + up tanh(down x_w))); then y_t = W_o (GroupNorm(o_t) * silu(W_g x_g)), a group being a head.
    """
    batch, tokens, d_model = x.shape
    dh = int(options.get("head_dim", 64))
    positions = document_positions(segments, batch, tokens)
    before = previous_token(x, positions)
    gated = np.zeros((batch, tokens, d_model))
    for b in range(batch):
        states = np.zeros((d_model // dh, dh, dh))
        for t in range(tokens):
            if positions[b, t] == 0:
                states = np.zeros_like(states)
            inputs = shifted_inputs(x[b, t], before[b, t], params)
            r, k, v = (linear(inputs[name], params[f"{name}.weight"]) for name in ("r", "k", "v"))
            gate = silu(linear(inputs["g"], params["g.weight"]))
            low_rank = np.tanh(linear(inputs["w"], params["decay_down.weight"]))
            decay = np.exp(-np.exp(params["decay_base"] + linear(low_rank, params["decay_up.weight"])))
            for h in range(d_model // dh):
                own = slice(h * dh, (h + 1) * dh)
                write = np.outer(k[own], v[own])
                o = (states[h] + np.diag(params["bonus"][own]) @ write).T @ r[own]
                states[h] = np.diag(decay[own]) @ states[h] + write
                weight, bias = params["group_norm.weight"][own], params["group_norm.bias"][own]
                gated[b, t, own] = layer_norm(o, weight, bias, GROUP_NORM_EPS) * gate[own]
    return linear(gated, params["out.weight"])


def start(params: Params) -> None:
    """The authors begin with values of -6 to -1: decays between 0.9975 and 0.69."""
    params["decay_base"] = np.array([-6.0, -4.5, -3.0, -2.0, -1.0, -5.0, -0.5, 0.5])


def strong_decay(params: Params) -> None:
    """e^-exp(7) is 0 even in float64, e^-exp(4.5) underflows in float32; their neighbours keep nearly everything."""
    params["decay_base"] = np.array([7.0, -6.0, 4.5, -8.0, 2.0, 3.0, -6.0, 5.0])


VARIANTS = {
    "default": Variant({"head_dim": 4, "shift_rank": 3, "decay_rank": 2}),
    "one_head": Variant({"head_dim": 8, "shift_rank": 2, "decay_rank": 3}),
    "narrow_heads": Variant({"head_dim": 2, "shift_rank": 1, "decay_rank": 1}),
    "strong_decay": Variant({"head_dim": 4, "shift_rank": 3, "decay_rank": 2}, change=strong_decay),
    "documents": Variant({"head_dim": 4, "shift_rank": 3, "decay_rank": 2}, documents=True),
}
