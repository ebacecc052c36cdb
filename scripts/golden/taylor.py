"""Based: linear attention whose kernel is the Taylor series of softmax's (Arora et al. 2024, arXiv:2402.18668)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import augment_shape, augmentation, document_positions, linear

PAPER = "Arora et al. 2024 (arXiv:2402.18668)"
DENOMINATOR_EPS = 1e-12


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of qkv are q and k, feature_dim for each head, then v."""
    heads, width = int(options.get("heads", 4)), int(options.get("feature_dim", 16))
    result: Shapes = {
        "qkv.weight": (2 * heads * width + d_model, d_model),
        "out.weight": (d_model, d_model),
    }
    result |= augment_shape(options, heads)
    return result


def kernel(q: Array, k: Array) -> float:
    """1 + s + s^2 / 2 with s = q.k / sqrt(f), the second-order Taylor series of e^s."""
    s = float(q @ k) / np.sqrt(q.shape[0])
    return float(1.0 + s + s * s / 2.0)


def features(u: Array) -> Array:
    """phi(u) [1 + f + f^2] with phi(q).phi(k) = kernel(q, k): 1, u_i / f^(1/4), u_i u_j / sqrt(2 f)."""
    f = u.shape[0]
    return np.concatenate([[1.0], u / f**0.25, np.outer(u, u).ravel() / np.sqrt(2.0 * f)])


def taylor(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """o_t = S_t^T phi(q_t) / (z_t . phi(q_t) + 1e-12), S_t = S_{t-1} + phi(k_t) v_t^T, z_t = z_{t-1} + phi(k_t).

    y_t = W_o o_t; x and y [B,T,D]. Each o_t is compared with the sum over the tokens seen. augment: dwconv adds its
    causal convolution of the values after the division.
    """
    batch, tokens, d_model = x.shape
    heads, width = int(options.get("heads", 4)), int(options.get("feature_dim", 16))
    dv = d_model // heads
    positions = document_positions(segments, batch, tokens)
    q, k, v = np.split(linear(x, params["qkv.weight"]), [heads * width, 2 * heads * width], axis=-1)
    added = augmentation(v, params, options, positions)

    mixed = np.zeros((batch, tokens, d_model))
    for b in range(batch):
        for h in range(heads):
            rows, value_rows = slice(h * width, (h + 1) * width), slice(h * dv, (h + 1) * dv)
            for t in range(tokens):
                if positions[b, t] == 0:
                    state, total = np.zeros((1 + width + width**2, dv)), np.zeros(1 + width + width**2)
                phi_q, phi_k = features(q[b, t, rows]), features(k[b, t, rows])
                state = state + np.outer(phi_k, v[b, t, value_rows])
                total = total + phi_k
                o = (state.T @ phi_q) / (total @ phi_q + DENOMINATOR_EPS)

                seen = range(t - int(positions[b, t]), t + 1)
                weights = np.array([kernel(q[b, t, rows], k[b, j, rows]) for j in seen])
                direct = weights @ v[b, seen, value_rows] / (weights.sum() + DENOMINATOR_EPS)
                np.testing.assert_allclose(o, direct, rtol=1e-10, atol=1e-12)
                mixed[b, t, value_rows] = o + added[b, t, value_rows]
    return linear(mixed, params["out.weight"])


def large_scores(params: Params) -> None:
    """Makes kernels as large as about 1e4."""
    v_rows = params["out.weight"].shape[1]
    params["qkv.weight"][:-v_rows] *= 5.0


VARIANTS = {
    "default": Variant({"heads": 2, "feature_dim": 3}),
    "four_heads": Variant({"heads": 4, "feature_dim": 2}),
    "large_scores": Variant({"heads": 2, "feature_dim": 3}, change=large_scores),
    "documents": Variant({"heads": 2, "feature_dim": 3}, documents=True),
    "augment3": Variant({"heads": 2, "feature_dim": 3, "augment": "dwconv", "augment_taps": 3}),
    "augment5": Variant({"heads": 4, "feature_dim": 1, "augment": "dwconv", "augment_taps": 5}, documents=True),
}
