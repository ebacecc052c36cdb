"""Multi-scale retention: linear attention with a fixed decay per head (Sun et al. 2023, arXiv:2307.08621).

The division by the root of the decays' sum is that of the authors' torchscale, in all of its forms.
"""

from __future__ import annotations

import numpy as np

from attention import rotate
from common import Array, Options, Params, Shapes, Variant
from equations import augment_shape, augmentation, document_positions, linear, rms_norm, silu

PAPER = "Sun et al. 2023 (arXiv:2307.08621)"
NORM_EPS = 1e-6
ROPE_THETA = 10000.0


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of qkvg are q, k, v, then the output gate g."""
    values = round(float(options.get("expand_v", 2)) * d_model)
    result: Shapes = {
        "qkvg.weight": (2 * d_model + 2 * values, d_model),
        "out.weight": (d_model, values),
    }
    result |= augment_shape(options, int(options.get("heads", 4)))
    return result


def retnet(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """S_t = gamma_h S_{t-1} + k_t v_t^T, gamma_h = 1 - 2^(-5-h), S_0 = 0; x and y [B,T,D].

    o_t = S_t^T q_t / sqrt(gamma^0 + .. + gamma^t), t counted in the document; row_scale: false leaves the root out.
    q and k are turned by their position, k is divided by sqrt(dk). Then y_t = W_o (RMSNorm(o_t) *
    silu(g_t)), the norm over each head's values and without a weight. augment: dwconv adds its causal convolution of
    the values to o_t before the norm.
    """
    batch, tokens, d_model = x.shape
    heads, values = int(options.get("heads", 4)), params["out.weight"].shape[1]
    dk, dv = d_model // heads, values // heads
    positions = document_positions(segments, batch, tokens)
    q, k, v, gate = np.split(linear(x, params["qkvg.weight"]), np.cumsum([d_model, d_model, values]), axis=-1)
    added = augmentation(v, params, options, positions)

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


VARIANTS = {
    "default": Variant({"heads": 2, "expand_v": 2}),
    "four_heads": Variant({"heads": 4, "expand_v": 3}),
    "one_head": Variant({"heads": 1, "expand_v": 1.5}),
    "documents": Variant({"heads": 2, "expand_v": 2}, documents=True),
    "unscaled": Variant({"heads": 2, "expand_v": 2, "row_scale": False}, documents=True),
    "augment3": Variant({"heads": 2, "expand_v": 2, "augment": "dwconv", "augment_taps": 3}),
    "augment5": Variant({"heads": 4, "expand_v": 1, "augment": "dwconv", "augment_taps": 5}, documents=True),
}
