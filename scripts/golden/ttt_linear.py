"""TTT-Linear: the state is a linear model that one gradient step per token trains on the sequence itself.

Sun et al. 2024 (arXiv:2407.04620), sections 2.1 to 2.7; the loss reads the model through a LayerNorm and a residual.
"""

from __future__ import annotations

import math

import numpy as np

from attention import rotate
from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, gelu_tanh, layer_norm, linear, short_conv, sigmoid

PAPER = "Sun et al. 2024 (arXiv:2407.04620)"
NORM_EPS = 1e-6


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; w0 maps rows: y = x w0 + b0 per head."""
    heads, width = int(options["heads"]), int(options.get("conv", 4))
    dh, square = d_model // heads, (d_model, d_model)
    result: Shapes = {
        "qk.weight": square,
        "v.weight": square,
        "conv_q.weight": (width, d_model),
        "conv_q.bias": (d_model,),
        "conv_k.weight": (width, d_model),
        "conv_k.bias": (d_model,),
        "lr.weight": (heads, d_model),
        "lr.bias": (heads,),
        "token_scale": (int(options.get("mini_batch", 16)),),
        "ln.weight": (d_model,),
        "ln.bias": (d_model,),
        "w0": (heads, dh, dh),
        "b0": (d_model,),
        "post_norm.weight": (d_model,),
        "post_norm.bias": (d_model,),
    }
    if options.get("gate", True):
        result["gate.weight"] = square
    result["out.weight"] = square
    return result


def inner_loss(k: Array, v: Array, weight: Array, bias: Array, ln_weight: Array, ln_bias: Array) -> float:
    """1/2 |LN(k W + b) - (v - k)|^2 for one token of one head."""
    error = layer_norm(k @ weight + bias, ln_weight, ln_bias, NORM_EPS) - (v - k)
    return 0.5 * float(np.sum(error**2))


def inner_gradient(
    k: Array, v: Array, weight: Array, bias: Array, ln_weight: Array, ln_bias: Array
) -> tuple[Array, Array]:
    """Gradient of inner_loss by W [dh,dh] and b [dh].

    With z = k W + b, s = sqrt(var z + eps), n = (z - mean z) / s and e = ln_weight * (LN(z) - (v - k)):
    dz_i = (e_i - mean(e) - n_i mean(e n)) / s, because dn_j/dz_i = (delta_ij - 1/d - n_i n_j / d) / s;
    then dW = k dz^T and db = dz.
    """
    z = k @ weight + bias
    centred = z - np.mean(z)
    deviation = math.sqrt(float(np.mean(centred**2)) + NORM_EPS)
    n = centred / deviation
    e = ln_weight * (ln_weight * n + ln_bias - (v - k))
    dz = (e - np.mean(e) - n * np.mean(e * n)) / deviation
    return np.outer(k, dz), dz


def ttt_linear(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """W_i = W_0 - tau_i sum_{j<=i} eta_j dW_j inside a mini-batch, likewise b; x and y [B,T,D].

    dW_j: gradient of token j's inner loss at the mini-batch's first W_0, b_0; tau_i = max(0, 1/i + token_scale_i);
    eta_j = base_lr sigmoid(lr x_j + bias) / dh; o_i = q_i + LN(q_i W_i + b_i). The next mini-batch starts at W_M, b_M.
    """
    batch, tokens, d_model = x.shape
    heads, mini_batch = int(options["heads"]), int(options.get("mini_batch", 16))
    base_lr, theta = float(options.get("base_lr", 1.0)), float(options.get("rope_theta", 10000.0))
    dh = d_model // heads
    positions = document_positions(segments, batch, tokens)
    shared = linear(x, params["qk.weight"])
    q = short_conv(shared, params["conv_q.weight"], positions) + params["conv_q.bias"]
    k = short_conv(shared, params["conv_k.weight"], positions) + params["conv_k.bias"]
    v = linear(x, params["v.weight"])
    eta = base_lr * sigmoid(linear(x, params["lr.weight"], params["lr.bias"])) / dh

    mixed = np.zeros((batch, tokens, d_model))
    for b in range(batch):
        for h in range(heads):
            own = slice(h * dh, (h + 1) * dh)
            ln_weight, ln_bias = params["ln.weight"][own], params["ln.bias"][own]
            weight_i, bias_i = params["w0"][h], params["b0"][own]
            for t in range(tokens):
                i = int(positions[b, t]) % mini_batch
                if positions[b, t] == 0:
                    weight_i, bias_i = params["w0"][h], params["b0"][own]
                if i == 0:
                    weight, bias = weight_i, bias_i
                    sum_weight, sum_bias = np.zeros((dh, dh)), np.zeros(dh)
                turned_q, turned_k = rotate(q[b, t, own], i, theta), rotate(k[b, t, own], i, theta)
                d_weight, d_bias = inner_gradient(turned_k, v[b, t, own], weight, bias, ln_weight, ln_bias)
                sum_weight = sum_weight + eta[b, t, h] * d_weight
                sum_bias = sum_bias + eta[b, t, h] * d_bias
                tau = max(0.0, 1.0 / (i + 1) + float(params["token_scale"][i]))
                weight_i, bias_i = weight - tau * sum_weight, bias - tau * sum_bias
                mixed[b, t, own] = turned_q + layer_norm(turned_q @ weight_i + bias_i, ln_weight, ln_bias, NORM_EPS)
    y = layer_norm(mixed, params["post_norm.weight"], params["post_norm.bias"], NORM_EPS)
    if options.get("gate", True):
        y = y * gelu_tanh(linear(x, params["gate.weight"]))
    return linear(y, params["out.weight"])


def check(x: Array, params: Params, options: Options, segments: Array | None) -> None:
    """Compares inner_gradient with central differences of inner_loss, two tokens being key and value of a head."""
    dh, step = params["w0"].shape[1], 1e-6
    k, v, weight = x[0, 0, :dh], x[0, 1, :dh], params["w0"][0]
    bias, norm = params["b0"][:dh], (params["ln.weight"][:dh], params["ln.bias"][:dh])
    d_weight, d_bias = inner_gradient(k, v, weight, bias, *norm)
    for (i, j), nudge in zip(np.ndindex(dh, dh), step * np.eye(dh * dh).reshape(-1, dh, dh)):
        rise = inner_loss(k, v, weight + nudge, bias, *norm) - inner_loss(k, v, weight - nudge, bias, *norm)
        np.testing.assert_allclose(rise / (2.0 * step), d_weight[i, j], atol=1e-7)
    for i, nudge in enumerate(step * np.eye(dh)):
        rise = inner_loss(k, v, weight, bias + nudge, *norm) - inner_loss(k, v, weight, bias - nudge, *norm)
        np.testing.assert_allclose(rise / (2.0 * step), d_bias[i], atol=1e-7)


def start(params: Params) -> None:
    """Turns the norm's weight into 1 + N(0, 0.2^2)."""
    params["ln.weight"] = 1.0 + 0.4 * params["ln.weight"]


def clamped_scale(params: Params) -> None:
    """1/i + token_scale_i is below 0 for i = 1 and i = 3: those tokens read W_0 as it is, later ones all gradients."""
    params["token_scale"] = np.array([-1.25, 0.2, -0.5, 0.1])


VARIANTS = {
    "default": Variant({"heads": 2, "mini_batch": 4, "conv": 3}),
    "no_gate": Variant({"heads": 2, "mini_batch": 4, "conv": 3, "gate": False}),
    "base_lr": Variant({"heads": 2, "mini_batch": 5, "conv": 4, "base_lr": 0.3, "rope_theta": 100}),
    "one_token": Variant({"heads": 2, "mini_batch": 1, "conv": 3}),
    "one_head": Variant({"heads": 1, "mini_batch": 7, "conv": 2}),
    "clamped_scale": Variant({"heads": 2, "mini_batch": 4, "conv": 3}, change=clamped_scale),
    "documents": Variant({"heads": 2, "mini_batch": 4, "conv": 3}, documents=True),
}
