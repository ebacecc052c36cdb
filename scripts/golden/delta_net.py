"""DeltaNet: a linear attention that corrects what it has stored for a key (Yang et al. 2024, arXiv:2406.06484)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import document_positions, l2_normalize, linear, rms_norm, short_conv, sigmoid, silu, value_augmentation

PAPER = "Yang et al. 2024 (arXiv:2406.06484); negative eigenvalues: Grazzi et al. 2024 (arXiv:2411.12537)"
NORM_EPS = 1e-6  # of the models in flash-linear-attention


def widths(options: Options, d_model: int) -> tuple[int, int, int]:
    """Returns (heads H, width of all keys K, width of all values V)."""
    keys = round(float(options.get("expand_k", 1)) * d_model)
    values = round(float(options.get("expand_v", 1)) * d_model)
    return int(options.get("heads", 4)), keys, values


def shapes(options: Options, d_model: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter; the rows of qkv are q, k, then v."""
    heads, keys, values = widths(options, d_model)
    result: dict[str, tuple[int, ...]] = {"qkv.weight": (2 * keys + values, d_model)}
    if int(options.get("conv", 4)):
        result["conv.weight"] = (int(options.get("conv", 4)), 2 * keys + values)
    result |= {"beta.weight": (heads, d_model), "norm.weight": (values // heads,), "out.weight": (d_model, values)}
    if options.get("augment", "none") == "dwconv":
        result["augment.weight"] = (heads, int(options.get("augment_taps", 32)))
    return result


def delta_net(
    x: Array, params: Params, options: Options, segments: Array | None = None, direction: str = "causal"
) -> Array:
    """S_t = (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T, o_t = S_t^T q_t / sqrt(dk), S_0 = 0; x and y [B,T,D].

    q, k, v = silu(conv(W x)), q and k of unit length; without a convolution silu stays. beta_t = sigmoid(W_b x_t),
    twice that with negative_eigenvalues. y_t = W_o RMSNorm(o_t), the norm over each head's values. augment: dwconv
    adds its causal convolution of the values to o_t before the norm.
    """
    if direction != "causal":
        raise ValueError("delta_net: the recurrence is causal only")
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
    added = np.zeros_like(v)
    if options.get("augment", "none") == "dwconv":
        added = value_augmentation(v, params["augment.weight"], positions)

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


# variant: (options, packed documents)
VARIANTS: dict[str, tuple[Options, bool]] = {
    "default": ({"heads": 2}, False),
    "expand": ({"heads": 2, "expand_k": 0.5, "expand_v": 2, "conv": 3}, False),
    "no_conv": ({"heads": 2, "conv": 0}, False),
    "large_eps": ({"heads": 2, "conv": 3, "norm_eps": 0.1}, False),
    "negative_eigenvalues": ({"heads": 2, "conv": 3, "negative_eigenvalues": True}, False),
    "reflections": ({"heads": 2, "conv": 3, "negative_eigenvalues": True}, False),
    "documents": ({"heads": 2, "conv": 3}, True),
    "augment3": ({"heads": 2, "conv": 3, "augment": "dwconv", "augment_taps": 3}, False),
    "augment5": ({"heads": 2, "conv": 3, "expand_v": 2, "augment": "dwconv", "augment_taps": 5}, True),
}

# The factor on beta.weight in reflections: beta is nearly 0 or nearly 2, so that a write mirrors the state.
REFLECTIONS = 20.0


def write(folder: Path) -> None:
    """Writes delta_net.<variant>.safetensors for each variant."""
    for variant, (options, documents) in VARIANTS.items():
        x, params = draw_case(f"delta_net.{variant}", shapes(options, D_MODEL))
        if variant == "reflections":
            params["beta.weight"] *= REFLECTIONS
        segments = packed_segments() if documents else None
        y = delta_net(x, params, options, segments)
        write_golden(folder, "mixer", "delta_net", variant, options, PAPER, x, y, params, segments)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
