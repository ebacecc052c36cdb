"""Gated linear attention: a matrix state whose rows decay by data (Yang et al. 2023, arXiv:2312.06635)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import document_positions, linear, log_sigmoid, rms_norm, short_conv, silu, value_augmentation

PAPER = "Yang et al. 2023 (arXiv:2312.06635)"
NORM_EPS = 1e-6  # of the models in flash-linear-attention


def widths(options: Options, d_model: int) -> tuple[int, int, int]:
    """Returns (heads H, width of all keys K, width of all values V)."""
    keys = round(float(options.get("expand_k", 0.5)) * d_model)
    values = round(float(options.get("expand_v", 1.0)) * d_model)
    return int(options["heads"]), keys, values


def shapes(options: Options, d_model: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter; the rows of qkvg are q, k, v, then the output gate g."""
    heads, keys, values = widths(options, d_model)
    result: dict[str, tuple[int, ...]] = {"qkvg.weight": (2 * keys + 2 * values, d_model)}
    if options.get("conv"):
        result["conv.weight"] = (int(options["conv"]), 2 * keys + values)
    if options.get("gate", "key") == "key":
        rank = int(options.get("gate_rank", 16))
        result |= {"decay_down.weight": (rank, d_model), "decay_up.weight": (keys, rank), "decay_up.bias": (keys,)}
    else:
        result |= {"decay.weight": (heads, d_model), "decay.bias": (heads,)}
    if options.get("augment", "none") == "dwconv":
        result["augment.weight"] = (heads, int(options.get("augment_taps", 32)))
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


def gla(x: Array, params: Params, options: Options, segments: Array | None = None, direction: str = "causal") -> Array:
    """S_t = diag(a_t) S_{t-1} + k_t v_t^T, o_t = S_t^T q_t / sqrt(dk), S_0 = 0; x and y [B,T,D].

    Section 4.1. Then y_t = W_o (RMSNorm(o_t) * silu(g_t)), the norm over each head's dv values (section 4.4).
    augment: dwconv adds its causal convolution of the values to o_t before the norm.
    """
    if direction != "causal":
        raise ValueError("gla: the recurrence is causal only")
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
    added = np.zeros((batch, tokens, values))
    if options.get("augment", "none") == "dwconv":
        added = value_augmentation(qkv[..., 2 * keys :], params["augment.weight"], positions)

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


# variant: (options, packed documents)
VARIANTS: dict[str, tuple[Options, bool]] = {
    "key": ({"heads": 2, "gate": "key", "gate_rank": 3}, False),
    "head": ({"heads": 4, "expand_k": 1, "expand_v": 2, "gate": "head", "gate_temperature": 4}, False),
    "large_eps": ({"heads": 2, "gate": "key", "gate_rank": 3, "norm_eps": 0.1}, False),
    "strong_decay": ({"heads": 2, "gate": "key", "gate_rank": 3}, False),
    "strong_decay_head": ({"heads": 2, "gate": "head"}, False),
    "conv3": ({"heads": 2, "gate": "key", "gate_rank": 3, "conv": 3}, False),
    "documents": ({"heads": 2, "gate": "key", "gate_rank": 3, "conv": 3}, True),
    "augment3": ({"heads": 2, "gate": "key", "gate_rank": 3, "augment": "dwconv", "augment_taps": 3}, False),
    "augment5": (
        {"heads": 2, "gate": "head", "conv": 3, "augment": "dwconv", "augment_taps": 5},
        True,
    ),
}

# Gate biases of the strong decays: -640 / 16 is log a = -40 per token, whose running product underflows within a few
# tokens and whose inverse would overflow; other channels keep e^(-30/16) or nearly everything.
STRONG_BIASES: dict[str, tuple[str, list[float]]] = {
    "strong_decay": ("decay_up.bias", [-640.0, -30.0, -480.0, 4.0]),
    "strong_decay_head": ("decay.bias", [-640.0, -30.0]),
}


def write(folder: Path) -> None:
    """Writes gla.<variant>.safetensors for each variant."""
    for variant, (options, documents) in VARIANTS.items():
        x, params = draw_case(f"gla.{variant}", shapes(options, D_MODEL))
        if variant in STRONG_BIASES:
            name, bias = STRONG_BIASES[variant]
            params[name] = np.array(bias)
        segments = packed_segments() if documents else None
        y = gla(x, params, options, segments)
        write_golden(folder, "mixer", "gla", variant, options, PAPER, x, y, params, segments)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
