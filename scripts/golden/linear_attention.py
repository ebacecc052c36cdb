"""Linear attention: features in place of the softmax kernel (Katharopoulos et al. 2020, arXiv:2006.16236)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import augment_shape, augmentation, document_positions, linear, rms_norm

PAPER = "Katharopoulos et al. 2020 (arXiv:2006.16236); normalize: false: Qin et al. 2022 (arXiv:2210.10340)"
DENOMINATOR_EPS = 1e-6
NORM_EPS = 1e-5


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of qkv are q, k, then v."""
    heads = int(options.get("heads", 4))
    result: Shapes = {"qkv.weight": (3 * d_model, d_model), "out.weight": (d_model, d_model)}
    if not options.get("normalize", True):
        result["norm.weight"] = (d_model // heads,)
    result |= augment_shape(options, heads)
    return result


def features(u: Array) -> Array:
    """phi(u) = elu(u) + 1: u + 1 for u > 0, else e^u (section 3.2.1)."""
    return np.where(u > 0.0, u + 1.0, np.exp(np.minimum(u, 0.0)))


def linear_attention(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """o_t = S_t^T phi(q_t) / (z_t . phi(q_t) + 1e-6), S_t = S_{t-1} + phi(k_t) v_t^T, z_t = z_{t-1} + phi(k_t).

    Equations 18 to 20, y_t = W_o o_t; x and y [B,T,D]. normalize: false has RMSNorm over each head's values of
    S_t^T phi(q_t) in place of the denominator. augment: dwconv adds its causal convolution of the values after the
    division, before the norm.
    """
    batch, tokens, d_model = x.shape
    heads, normalize = int(options.get("heads", 4)), bool(options.get("normalize", True))
    dh = d_model // heads
    positions = document_positions(segments, batch, tokens)
    q, k, v = np.split(linear(x, params["qkv.weight"]), 3, axis=-1)
    added = augmentation(v, params, options, positions)

    mixed = np.zeros((batch, tokens, d_model))
    for b in range(batch):
        for h in range(heads):
            rows = slice(h * dh, (h + 1) * dh)
            state, total = np.zeros((dh, dh)), np.zeros(dh)
            for t in range(tokens):
                if positions[b, t] == 0:
                    state, total = np.zeros((dh, dh)), np.zeros(dh)
                phi_q, phi_k = features(q[b, t, rows]), features(k[b, t, rows])
                state = state + np.outer(phi_k, v[b, t, rows])
                total = total + phi_k
                o = state.T @ phi_q
                if normalize:
                    mixed[b, t, rows] = o / (total @ phi_q + DENOMINATOR_EPS) + added[b, t, rows]
                else:
                    mixed[b, t, rows] = rms_norm(o + added[b, t, rows], params["norm.weight"], NORM_EPS)
    return linear(mixed, params["out.weight"])


def small_features(params: Params) -> None:
    """Makes many features of q and k e^-10 and smaller."""
    q, k, _ = np.split(params["qkv.weight"], 3)
    q *= 6.0
    k *= 6.0


VARIANTS = {
    "default": Variant({"heads": 2, "normalize": True}),
    "norm": Variant({"heads": 4, "normalize": False}),
    "small_features": Variant({"heads": 2, "normalize": True}, change=small_features),
    "documents": Variant({"heads": 2, "normalize": True}, documents=True),
    "norm_documents": Variant({"heads": 2, "normalize": False}, documents=True),
    "augment3": Variant({"heads": 2, "normalize": True, "augment": "dwconv", "augment_taps": 3}),
    "augment5": Variant({"heads": 2, "normalize": False, "augment": "dwconv", "augment_taps": 5}, documents=True),
    "augment32": Variant({"heads": 4, "normalize": True, "augment": "dwconv"}),
}
