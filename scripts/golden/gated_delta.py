"""Gated DeltaNet: the delta rule on a state that decays by data (Yang et al. 2024, arXiv:2412.06464)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import document_positions, l2_normalize, linear, rms_norm, short_conv, sigmoid, silu, softplus
from equations import value_augmentation

PAPER = "Yang et al. 2024 (arXiv:2412.06464)"
NORM_EPS = 1e-5


def widths(options: Options, d_model: int) -> tuple[int, int, int]:
    """Returns (heads H, width of all keys K, width of all values V)."""
    keys = round(float(options.get("expand_k", 0.75)) * d_model)
    values = round(float(options.get("expand_v", 1.5)) * d_model)
    return int(options.get("heads", 4)), keys, values


def shapes(options: Options, d_model: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter; the rows of qkvg are q, k, v, g, those of gates are beta, decay."""
    heads, keys, values = widths(options, d_model)
    result: dict[str, tuple[int, ...]] = {"qkvg.weight": (2 * keys + 2 * values, d_model)}
    if int(options.get("conv", 4)):
        result["conv.weight"] = (int(options.get("conv", 4)), 2 * keys + values)
    result |= {"gates.weight": (2 * heads, d_model), "a_log": (heads,), "dt_bias": (heads,)}
    result |= {"norm.weight": (values // heads,), "out.weight": (d_model, values)}
    if options.get("augment", "none") == "dwconv":
        result["augment.weight"] = (heads, int(options.get("augment_taps", 32)))
    return result


def gated_delta(
    x: Array, params: Params, options: Options, segments: Array | None = None, direction: str = "causal"
) -> Array:
    """S_t = a_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T, o_t = S_t^T q_t / sqrt(dk), S_0 = 0.

    log a_t = -e^(a_log) softplus(W_a x_t + dt_bias) and beta_t = sigmoid(W_b x_t), twice that with
    negative_eigenvalues. q, k, v = silu(conv(W x)), q and k of unit length; without a convolution silu stays.
    y_t = W_o (RMSNorm(o_t) * silu(g_t)), the norm over each head's values; x and y [B,T,D]. augment: dwconv adds its
    causal convolution of the values to o_t before the norm.
    """
    if direction != "causal":
        raise ValueError("gated_delta: the recurrence is causal only")
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
    added = np.zeros_like(v)
    if options.get("augment", "none") == "dwconv":
        added = value_augmentation(v, params["augment.weight"], positions)

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


# variant: (options, packed documents)
VARIANTS: dict[str, tuple[Options, bool]] = {
    "default": ({"heads": 2}, False),
    "expand": ({"heads": 4, "expand_k": 1, "expand_v": 3, "conv": 3}, False),
    "no_conv": ({"heads": 2, "conv": 0}, False),
    "negative_eigenvalues": ({"heads": 2, "conv": 3, "negative_eigenvalues": True}, False),
    "strong_decay": ({"heads": 4, "expand_k": 1, "expand_v": 3, "conv": 3}, False),
    "documents": ({"heads": 2, "conv": 3}, True),
    "augment3": ({"heads": 2, "conv": 3, "augment": "dwconv", "augment_taps": 3}, False),
    "augment5": ({"heads": 2, "expand_k": 1, "conv": 3, "augment": "dwconv", "augment_taps": 5}, True),
}

# dt_bias and a_log of strong_decay: log a of the heads is around -1000, -20, -1 and -1e-7.
STRONG_DT_BIASES, STRONG_A_LOGS = [20.0, 2.5, 0.0, -16.0], [4.0, 2.0, 0.3, 0.0]


def write(folder: Path) -> None:
    """Writes gated_delta.<variant>.safetensors for each variant."""
    for variant, (options, documents) in VARIANTS.items():
        x, params = draw_case(f"gated_delta.{variant}", shapes(options, D_MODEL))
        # As at the start of training: softplus(dt_bias) between 1e-3 and 0.1, e^a_log up to 16.
        heads = params["a_log"].shape[0]
        params["dt_bias"] = np.log(np.expm1(np.geomspace(1e-3, 0.1, heads)))
        params["a_log"] = np.log(np.linspace(12.0, 1.0, heads))
        if variant == "strong_decay":
            params["dt_bias"], params["a_log"] = np.array(STRONG_DT_BIASES), np.array(STRONG_A_LOGS)
        segments = packed_segments() if documents else None
        y = gated_delta(x, params, options, segments)
        write_golden(folder, "mixer", "gated_delta", variant, options, PAPER, x, y, params, segments)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
