"""Gated linear attention: a matrix state whose rows decay by data (Yang et al. 2023, arXiv:2312.06635)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import augment_shape, augmentation, document_positions, linear, log_sigmoid, rms_norm, short_conv, silu

PAPER = "Yang et al. 2023 (arXiv:2312.06635)"
NORM_EPS = 1e-6  # of the models in flash-linear-attention


def widths(options: Options, d_model: int) -> tuple[int, int, int]:
    """Returns (heads H, width of all keys K, width of all values V)."""
    keys = round(float(options.get("expand_k", 0.5)) * d_model)
    values = round(float(options.get("expand_v", 1.0)) * d_model)
    return int(options["heads"]), keys, values


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of qkvg are q, k, v, then the output gate g."""
    heads, keys, values = widths(options, d_model)
    result: Shapes = {"qkvg.weight": (2 * keys + 2 * values, d_model)}
    if options.get("conv"):
        result["conv.weight"] = (int(options["conv"]), 2 * keys + values)
    if options.get("gate", "key") == "key":
        rank = int(options.get("gate_rank", 16))
        result |= {"decay_down.weight": (rank, d_model), "decay_up.weight": (keys, rank), "decay_up.bias": (keys,)}
    else:
        result |= {"decay.weight": (heads, d_model), "decay.bias": (heads,)}
    result |= augment_shape(options, heads)
    result |= {"norm.weight": (values // heads,), "out.weight": (d_model, values)}
    return result


def log_decay(x: Array, params: Params, options: Options, keys: int) -> Array:
    """log a_t [B,T,K] = log sigmoid(gate(x_t)) / temperature (section 4.4); gate: head shares it in a head.

    gate: key is the low-rank W_up W_down x + b; gate: head is W x + b, one number per head.
    """
    temperature = float(options.get("gate_temperature", 16.0))
    if options.get("gate", "key") == "key":
        low_rank = linear(x, params["decay_down.weight"])
        return log_sigmoid(linear(low_rank, params["decay_up.weight"], params["decay_up.bias"])) / temperature
    per_head = log_sigmoid(linear(x, params["decay.weight"], params["decay.bias"])) / temperature
    return np.repeat(per_head, keys // per_head.shape[-1], axis=-1)


def gla(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """S_t = diag(a_t) S_{t-1} + k_t v_t^T, o_t = S_t^T q_t / sqrt(dk), S_0 = 0; x and y [B,T,D].

    Section 4.1. Then y_t = W_o (RMSNorm(o_t) * silu(g_t)), the norm over each head's dv values (section 4.4).
    augment: dwconv adds its causal convolution of the values to o_t before the norm.
    """
    batch, tokens, d_model = x.shape
    heads, keys, values = widths(options, d_model)
    dk, dv = keys // heads, values // heads
    positions = document_positions(segments, batch, tokens)
    norm_eps = float(options.get("norm_eps", NORM_EPS))
    qkvg = linear(x, params["qkvg.weight"])
    qkv, gate = qkvg[..., : 2 * keys + values], qkvg[..., 2 * keys + values :]
    if options.get("conv"):
        qkv = silu(short_conv(qkv, params["conv.weight"], positions))
    log_a = log_decay(x, params, options, keys)
    added = augmentation(qkv[..., 2 * keys :], params, options, positions)

    gated = np.zeros((batch, tokens, values))
    for b in range(batch):
        for h in range(heads):
            key_rows, value_rows = slice(h * dk, (h + 1) * dk), slice(h * dv, (h + 1) * dv)
            state = np.zeros((dk, dv))
            for t in range(tokens):
                if positions[b, t] == 0:
                    state = np.zeros((dk, dv))
                q = qkv[b, t, :keys][key_rows] / np.sqrt(dk)
                k = qkv[b, t, keys : 2 * keys][key_rows]
                v = qkv[b, t, 2 * keys :][value_rows]
                a = np.exp(log_a[b, t, key_rows])
                state = np.diag(a) @ state + np.outer(k, v)
                o = state.T @ q + added[b, t, value_rows]
                normed = rms_norm(o, params["norm.weight"], norm_eps)
                gated[b, t, value_rows] = normed * silu(gate[b, t, value_rows])
    return linear(gated, params["out.weight"])


def strong_decay(params: Params) -> None:
    """Gate biases of strong decays: -640 / 16 is log a = -40 per token, whose running product underflows within a few
    tokens and whose inverse would overflow; other channels keep e^(-30/16) or nearly everything."""
    if "decay.bias" in params:
        params["decay.bias"] = np.array([-640.0, -30.0])
    else:
        params["decay_up.bias"] = np.array([-640.0, -30.0, -480.0, 4.0])


VARIANTS = {
    "key": Variant({"heads": 2, "gate": "key", "gate_rank": 3}),
    "head": Variant({"heads": 4, "expand_k": 1, "expand_v": 2, "gate": "head", "gate_temperature": 4}),
    "large_eps": Variant({"heads": 2, "gate": "key", "gate_rank": 3, "norm_eps": 0.1}),
    "strong_decay": Variant({"heads": 2, "gate": "key", "gate_rank": 3}, change=strong_decay),
    "strong_decay_head": Variant({"heads": 2, "gate": "head"}, change=strong_decay),
    "conv3": Variant({"heads": 2, "gate": "key", "gate_rank": 3, "conv": 3}),
    "documents": Variant({"heads": 2, "gate": "key", "gate_rank": 3, "conv": 3}, documents=True),
    "augment3": Variant({"heads": 2, "gate": "key", "gate_rank": 3, "augment": "dwconv", "augment_taps": 3}),
    "augment5": Variant(
        {"heads": 2, "gate": "head", "conv": 3, "augment": "dwconv", "augment_taps": 5}, documents=True
    ),
}
