"""Gated DeltaNet: the delta rule on a state that decays by data (Yang et al. 2024, arXiv:2412.06464)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import augment_shape, augmentation, document_positions, l2_normalize, linear, rms_norm, short_conv
from equations import sigmoid, silu, softplus

PAPER = "Yang et al. 2024 (arXiv:2412.06464)"
NORM_EPS = 1e-5


def widths(options: Options, d_model: int) -> tuple[int, int, int]:
    """Returns (heads H, width of all keys K, width of all values V)."""
    keys = round(float(options.get("expand_k", 0.75)) * d_model)
    values = round(float(options.get("expand_v", 1.5)) * d_model)
    return int(options.get("heads", 4)), keys, values


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of qkvg are q, k, v, g, those of gates are beta, decay."""
    heads, keys, values = widths(options, d_model)
    result: Shapes = {"qkvg.weight": (2 * keys + 2 * values, d_model)}
    if int(options.get("conv", 4)):
        result["conv.weight"] = (int(options.get("conv", 4)), 2 * keys + values)
    result |= {"gates.weight": (2 * heads, d_model), "a_log": (heads,), "dt_bias": (heads,)}
    result |= {"norm.weight": (values // heads,), "out.weight": (d_model, values)}
    result |= augment_shape(options, heads)
    return result


def gated_delta(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """S_t = a_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T, o_t = S_t^T q_t / sqrt(dk), S_0 = 0.

    log a_t = -e^(a_log) softplus(W_a x_t + dt_bias) and beta_t = sigmoid(W_b x_t), twice that with
    negative_eigenvalues. q, k, v = silu(conv(W x)), q and k of unit length; without a convolution silu stays.
    y_t = W_o (RMSNorm(o_t) * silu(g_t)), the norm over each head's values; x and y [B,T,D]. augment: dwconv adds its
    causal convolution of the values to o_t before the norm.
    """
    batch, tokens, d_model = x.shape
    heads, keys, values = widths(options, d_model)
    dk, dv = keys // heads, values // heads
    positions = document_positions(segments, batch, tokens)
    qkv, gate = np.split(linear(x, params["qkvg.weight"]), [2 * keys + values], axis=-1)
    if int(options.get("conv", 4)):
        qkv = short_conv(qkv, params["conv.weight"], positions)
    q, k, v = np.split(silu(qkv), [keys, 2 * keys], axis=-1)
    u_beta, u_decay = np.split(linear(x, params["gates.weight"]), 2, axis=-1)
    beta = sigmoid(u_beta) * (2.0 if options.get("negative_eigenvalues") else 1.0)
    log_a = -np.exp(params["a_log"]) * softplus(u_decay + params["dt_bias"])
    added = augmentation(v, params, options, positions)

    gated = np.zeros((batch, tokens, values))
    for b in range(batch):
        for h in range(heads):
            key_rows, value_rows = slice(h * dk, (h + 1) * dk), slice(h * dv, (h + 1) * dv)
            state = np.zeros((dk, dv))
            for t in range(tokens):
                if positions[b, t] == 0:
                    state = np.zeros((dk, dv))
                unit_q, unit_k = l2_normalize(q[b, t, key_rows]), l2_normalize(k[b, t, key_rows])
                erase = np.eye(dk) - beta[b, t, h] * np.outer(unit_k, unit_k)
                decayed = np.exp(log_a[b, t, h]) * state
                state = erase @ decayed + beta[b, t, h] * np.outer(unit_k, v[b, t, value_rows])
                o = state.T @ unit_q / np.sqrt(dk) + added[b, t, value_rows]
                normed = rms_norm(o, params["norm.weight"], NORM_EPS)
                gated[b, t, value_rows] = normed * silu(gate[b, t, value_rows])
    return linear(gated, params["out.weight"])


def start(params: Params) -> None:
    """As at the start of training: softplus(dt_bias) between 1e-3 and 0.1, e^a_log up to 16."""
    heads = params["a_log"].shape[0]
    params["dt_bias"] = np.log(np.expm1(np.geomspace(1e-3, 0.1, heads)))
    params["a_log"] = np.log(np.linspace(12.0, 1.0, heads))


def strong_decay(params: Params) -> None:
    """log a of the heads is around -1000, -20, -1 and -1e-7."""
    params["dt_bias"], params["a_log"] = np.array([20.0, 2.5, 0.0, -16.0]), np.array([4.0, 2.0, 0.3, 0.0])


VARIANTS = {
    "default": Variant({"heads": 2}),
    "expand": Variant({"heads": 4, "expand_k": 1, "expand_v": 3, "conv": 3}),
    "no_conv": Variant({"heads": 2, "conv": 0}),
    "negative_eigenvalues": Variant({"heads": 2, "conv": 3, "negative_eigenvalues": True}),
    "strong_decay": Variant({"heads": 4, "expand_k": 1, "expand_v": 3, "conv": 3}, change=strong_decay),
    "documents": Variant({"heads": 2, "conv": 3}, documents=True),
    "augment3": Variant({"heads": 2, "conv": 3, "augment": "dwconv", "augment_taps": 3}),
    "augment5": Variant({"heads": 2, "expand_k": 1, "conv": 3, "augment": "dwconv", "augment_taps": 5}, documents=True),
}
