"""Linear attention: features in place of the softmax kernel (Katharopoulos et al. 2020, arXiv:2006.16236)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import document_positions, linear, rms_norm, value_augmentation

PAPER = "Katharopoulos et al. 2020 (arXiv:2006.16236); normalize: false: Qin et al. 2022 (arXiv:2210.10340)"
DENOMINATOR_EPS = 1e-6
NORM_EPS = 1e-5


def shapes(options: Options, d_model: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter; the rows of qkv are q, k, then v."""
    heads = int(options.get("heads", 4))
    result: dict[str, tuple[int, ...]] = {"qkv.weight": (3 * d_model, d_model), "out.weight": (d_model, d_model)}
    if not options.get("normalize", True):
        result["norm.weight"] = (d_model // heads,)
    if options.get("augment", "none") == "dwconv":
        result["augment.weight"] = (heads, int(options.get("augment_taps", 32)))
    return result


def features(u: Array) -> Array:
    """phi(u) = elu(u) + 1: u + 1 for u > 0, else e^u (section 3.2.1)."""
    return np.where(u > 0.0, u + 1.0, np.exp(np.minimum(u, 0.0)))


def linear_attention(
    x: Array, params: Params, options: Options, segments: Array | None = None, direction: str = "causal"
) -> Array:
    """o_t = S_t^T phi(q_t) / (z_t . phi(q_t) + 1e-6), S_t = S_{t-1} + phi(k_t) v_t^T, z_t = z_{t-1} + phi(k_t).

    Equations 18 to 20, y_t = W_o o_t; x and y [B,T,D]. normalize: false has RMSNorm over each head's values of
    S_t^T phi(q_t) in place of the denominator. augment: dwconv adds its causal convolution of the values after the
    division, before the norm.
    """
    if direction != "causal":
        raise ValueError("linear_attention: the recurrence is causal only")
    batch, tokens, d_model = x.shape
    heads, normalize = int(options.get("heads", 4)), bool(options.get("normalize", True))
    dh = d_model // heads
    positions = document_positions(segments, batch, tokens)
    q, k, v = np.split(linear(x, params["qkv.weight"]), 3, axis=-1)
    added = np.zeros_like(v)
    if options.get("augment", "none") == "dwconv":
        added = value_augmentation(v, params["augment.weight"], positions)

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


# variant: (options, packed documents)
VARIANTS: dict[str, tuple[Options, bool]] = {
    "default": ({"heads": 2, "normalize": True}, False),
    "norm": ({"heads": 4, "normalize": False}, False),
    "small_features": ({"heads": 2, "normalize": True}, False),
    "documents": ({"heads": 2, "normalize": True}, True),
    "norm_documents": ({"heads": 2, "normalize": False}, True),
    "augment3": ({"heads": 2, "normalize": True, "augment": "dwconv", "augment_taps": 3}, False),
    "augment5": ({"heads": 2, "normalize": False, "augment": "dwconv", "augment_taps": 5}, True),
    "augment32": ({"heads": 4, "normalize": True, "augment": "dwconv"}, False),
}

# The factor on the rows of q and k in small_features: many features are e^-10 and smaller.
SMALL_FEATURES = 6.0


def write(folder: Path) -> None:
    """Writes linear_attention.<variant>.safetensors for each variant."""
    for variant, (options, documents) in VARIANTS.items():
        x, params = draw_case(f"linear_attention.{variant}", shapes(options, D_MODEL))
        if variant == "small_features":
            params["qkv.weight"][: 2 * D_MODEL] *= SMALL_FEATURES
        segments = packed_segments() if documents else None
        y = linear_attention(x, params, options, segments)
        write_golden(folder, "mixer", "linear_attention", variant, options, PAPER, x, y, params, segments)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
