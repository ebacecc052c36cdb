"""Multi-scale retention: linear attention with a fixed decay per head (Sun et al. 2023, arXiv:2307.08621).

The division by the root of the decays' sum is that of the authors' torchscale, in all of its forms.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from attention import rotate
from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import document_positions, linear, rms_norm, silu, value_augmentation

PAPER = "Sun et al. 2023 (arXiv:2307.08621)"
NORM_EPS = 1e-6
ROPE_THETA = 10000.0


def shapes(options: Options, d_model: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter; the rows of qkvg are q, k, v, then the output gate g."""
    values = round(float(options.get("expand_v", 2)) * d_model)
    result: dict[str, tuple[int, ...]] = {
        "qkvg.weight": (2 * d_model + 2 * values, d_model),
        "out.weight": (d_model, values),
    }
    if options.get("augment", "none") == "dwconv":
        result["augment.weight"] = (int(options.get("heads", 4)), int(options.get("augment_taps", 32)))
    return result


def retnet(
    x: Array, params: Params, options: Options, segments: Array | None = None, direction: str = "causal"
) -> Array:
    """S_t = gamma_h S_{t-1} + k_t v_t^T, gamma_h = 1 - 2^(-5-h), S_0 = 0; x and y [B,T,D].

    o_t = S_t^T q_t / sqrt(gamma^0 + .. + gamma^t), t counted in the document; row_scale: false leaves the root out.
    q and k are turned by their position, k is divided by sqrt(dk). Then y_t = W_o (RMSNorm(o_t) *
    silu(g_t)), the norm over each head's values and without a weight. augment: dwconv adds its causal convolution of
    the values to o_t before the norm.
    """
    if direction != "causal":
        raise ValueError("retnet: the recurrence is causal only")
    batch, tokens, d_model = x.shape
    heads, values = int(options.get("heads", 4)), params["out.weight"].shape[1]
    dk, dv = d_model // heads, values // heads
    positions = document_positions(segments, batch, tokens)
    q, k, v, gate = np.split(linear(x, params["qkvg.weight"]), np.cumsum([d_model, d_model, values]), axis=-1)
    added = np.zeros_like(v)
    if options.get("augment", "none") == "dwconv":
        added = value_augmentation(v, params["augment.weight"], positions)

    gated = np.zeros((batch, tokens, values))
    for b in range(batch):
        for h in range(heads):
            key_rows, value_rows = slice(h * dk, (h + 1) * dk), slice(h * dv, (h + 1) * dv)
            gamma = 1.0 - 2.0 ** (-5 - h)
            state = np.zeros((dk, dv))
            for t in range(tokens):
                position = int(positions[b, t])
                if position == 0:
                    state = np.zeros((dk, dv))
                turned_q = rotate(q[b, t, key_rows], position, ROPE_THETA)
                turned_k = rotate(k[b, t, key_rows], position, ROPE_THETA) / np.sqrt(dk)
                state = gamma * state + np.outer(turned_k, v[b, t, value_rows])
                row = sum(gamma**i for i in range(position + 1)) if options.get("row_scale", True) else 1.0
                o = state.T @ turned_q / np.sqrt(row) + added[b, t, value_rows]
                gated[b, t, value_rows] = rms_norm(o, np.ones(dv), NORM_EPS) * silu(gate[b, t, value_rows])
    return linear(gated, params["out.weight"])


# variant: (options, packed documents)
VARIANTS: dict[str, tuple[Options, bool]] = {
    "default": ({"heads": 2, "expand_v": 2}, False),
    "four_heads": ({"heads": 4, "expand_v": 3}, False),
    "one_head": ({"heads": 1, "expand_v": 1.5}, False),
    "documents": ({"heads": 2, "expand_v": 2}, True),
    "unscaled": ({"heads": 2, "expand_v": 2, "row_scale": False}, True),
    "augment3": ({"heads": 2, "expand_v": 2, "augment": "dwconv", "augment_taps": 3}, False),
    "augment5": ({"heads": 4, "expand_v": 1, "augment": "dwconv", "augment_taps": 5}, True),
}


def write(folder: Path) -> None:
    """Writes retnet.<variant>.safetensors for each variant."""
    for variant, (options, documents) in VARIANTS.items():
        x, params = draw_case(f"retnet.{variant}", shapes(options, D_MODEL))
        segments = packed_segments() if documents else None
        y = retnet(x, params, options, segments)
        write_golden(folder, "mixer", "retnet", variant, options, PAPER, x, y, params, segments)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
