"""DeltaNet: a linear attention that corrects what it has stored for a key (Yang et al. 2024, arXiv:2406.06484)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import augment_shape, augmentation, document_positions, l2_normalize, linear, rms_norm, short_conv
from equations import sigmoid, silu

PAPER = "Yang et al. 2024 (arXiv:2406.06484); negative eigenvalues: Grazzi et al. 2024 (arXiv:2411.12537)"
NORM_EPS = 1e-6  # of the models in flash-linear-attention


def widths(options: Options, d_model: int) -> tuple[int, int, int]:
    """Returns (heads H, width of all keys K, width of all values V)."""
    keys = round(float(options.get("expand_k", 1)) * d_model)
    values = round(float(options.get("expand_v", 1)) * d_model)
    return int(options.get("heads", 4)), keys, values


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of qkv are q, k, then v."""
    heads, keys, values = widths(options, d_model)
    result: Shapes = {"qkv.weight": (2 * keys + values, d_model)}
    if int(options.get("conv", 4)):
        result["conv.weight"] = (int(options.get("conv", 4)), 2 * keys + values)
    result |= {"beta.weight": (heads, d_model), "norm.weight": (values // heads,), "out.weight": (d_model, values)}
    result |= augment_shape(options, heads)
    return result


def delta_net(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """S_t = (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T, o_t = S_t^T q_t / sqrt(dk), S_0 = 0; x and y [B,T,D].

    q, k, v = silu(conv(W x)), q and k of unit length; without a convolution silu stays. beta_t = sigmoid(W_b x_t),
    twice that with negative_eigenvalues. y_t = W_o RMSNorm(o_t), the norm over each head's values. augment: dwconv
    adds its causal convolution of the values to o_t before the norm.
    """
    batch, tokens, d_model = x.shape
    heads, keys, values = widths(options, d_model)
    dk, dv = keys // heads, values // heads
    positions = document_positions(segments, batch, tokens)
    norm_eps = float(options.get("norm_eps", NORM_EPS))
    qkv = linear(x, params["qkv.weight"])
    if int(options.get("conv", 4)):
        qkv = short_conv(qkv, params["conv.weight"], positions)
    q, k, v = np.split(silu(qkv), [keys, 2 * keys], axis=-1)
    beta = sigmoid(linear(x, params["beta.weight"])) * (2.0 if options.get("negative_eigenvalues") else 1.0)
    added = augmentation(v, params, options, positions)

    normed = np.zeros((batch, tokens, values))
    for b in range(batch):
        for h in range(heads):
            key_rows, value_rows = slice(h * dk, (h + 1) * dk), slice(h * dv, (h + 1) * dv)
            state = np.zeros((dk, dv))
            for t in range(tokens):
                if positions[b, t] == 0:
                    state = np.zeros((dk, dv))
                unit_q, unit_k = l2_normalize(q[b, t, key_rows]), l2_normalize(k[b, t, key_rows])
                erase = np.eye(dk) - beta[b, t, h] * np.outer(unit_k, unit_k)
                state = erase @ state + beta[b, t, h] * np.outer(unit_k, v[b, t, value_rows])
                o = state.T @ unit_q / np.sqrt(dk) + added[b, t, value_rows]
                normed[b, t, value_rows] = rms_norm(o, params["norm.weight"], norm_eps)
    return linear(normed, params["out.weight"])


def reflections(params: Params) -> None:
    """Makes beta nearly 0 or nearly 2, so that a write mirrors the state."""
    params["beta.weight"] *= 20.0


VARIANTS = {
    "default": Variant({"heads": 2}),
    "expand": Variant({"heads": 2, "expand_k": 0.5, "expand_v": 2, "conv": 3}),
    "no_conv": Variant({"heads": 2, "conv": 0}),
    "large_eps": Variant({"heads": 2, "conv": 3, "norm_eps": 0.1}),
    "negative_eigenvalues": Variant({"heads": 2, "conv": 3, "negative_eigenvalues": True}),
    "reflections": Variant({"heads": 2, "conv": 3, "negative_eigenvalues": True}, change=reflections),
    "documents": Variant({"heads": 2, "conv": 3}, documents=True),
    "augment3": Variant({"heads": 2, "conv": 3, "augment": "dwconv", "augment_taps": 3}),
    "augment5": Variant({"heads": 2, "conv": 3, "expand_v": 2, "augment": "dwconv", "augment_taps": 5}, documents=True),
}
