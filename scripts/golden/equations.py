"""Small equations that several mechanisms share, in float64, one row or one token at a time."""

from __future__ import annotations

import math

import numpy as np

from common import Array, Options, Params, Shapes


def log_sigmoid(u: Array) -> Array:
    """log(1 / (1 + e^-u)) = min(u, 0) - log(1 + e^-|u|)."""
    return np.minimum(u, 0.0) - np.log1p(np.exp(-np.abs(u)))


def sigmoid(u: Array) -> Array:
    """1 / (1 + e^-u), as e^(log sigmoid(u)), which no u overflows."""
    return np.exp(log_sigmoid(u))


def softplus(u: Array) -> Array:
    """log(1 + e^u), which no u overflows."""
    return np.maximum(u, 0.0) + np.log1p(np.exp(-np.abs(u)))


def silu(u: Array) -> Array:
    """u sigmoid(u)."""
    return u * sigmoid(u)


def gelu(u: Array) -> Array:
    """u Phi(u) with the normal distribution function Phi(u) = (1 + erf(u / sqrt 2)) / 2 (Hendrycks & Gimpel 2016)."""
    return u * 0.5 * (1.0 + np.vectorize(math.erf)(u / math.sqrt(2.0)))


def gelu_tanh(u: Array) -> Array:
    """0.5 u (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3))) (Hendrycks & Gimpel 2016, section 2)."""
    return 0.5 * u * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (u + 0.044715 * u**3)))


def softmax(logits: Array) -> Array:
    """e^u_i / sum_j e^u_j of one row."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def rms_norm(row: Array, weight: Array, eps: float) -> Array:
    """weight * row / sqrt(mean(row^2) + eps), over the last dimension (Zhang & Sennrich 2019)."""
    return weight * row / np.sqrt(np.mean(row**2, axis=-1, keepdims=True) + eps)


def l2_normalize(row: Array, eps: float = 1e-6) -> Array:
    """row / sqrt(sum(row^2) + eps), over the last dimension."""
    return row / np.sqrt(np.sum(row**2, axis=-1, keepdims=True) + eps)


def layer_norm(row: Array, weight: Array, bias: Array | None, eps: float) -> Array:
    """weight * (row - mean) / sqrt(variance + eps) + bias, biased variance, last dimension (Ba et al. 2016)."""
    centred = row - np.mean(row, axis=-1, keepdims=True)
    y = weight * centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + eps)
    return y if bias is None else y + bias


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """y = x W^T + b with W [out, in]."""
    y = x @ weight.T
    return y if bias is None else y + bias


def attend(q: Array, keys: list[Array], values: list[Array], scale: float) -> tuple[Array, Array]:
    """(sum_j p_j v_j, p) with p = softmax_j(scale q.k_j), for one query [dk]; at least one key and value."""
    scores = scale * np.array([np.dot(q, key) for key in keys])
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    mixed = np.zeros_like(values[0])
    for weight, value in zip(weights, values):
        mixed = mixed + weight * value
    return mixed, weights


def document_positions(segments: Array | None, batch: int, tokens: int) -> Array:
    """Position of each token inside its own document, int64 [B,T]; without segments a sequence is one document."""
    positions = np.zeros((batch, tokens), dtype=np.int64)
    for b in range(batch):
        for t in range(1, tokens):
            new_document = segments is not None and segments[b, t] != segments[b, t - 1]
            positions[b, t] = 0 if new_document else positions[b, t - 1] + 1
    return positions


def documents(segments: Array | None, batch: int, tokens: int) -> list[tuple[int, slice]]:
    """Returns (sequence, slice of its tokens) of each document; without segments a sequence is one document."""
    found: list[tuple[int, slice]] = []
    for b in range(batch):
        starts = [t for t in range(tokens) if t == 0 or (segments is not None and segments[b, t] != segments[b, t - 1])]
        found += [(b, slice(start, end)) for start, end in zip(starts, starts[1:] + [tokens])]
    return found


def short_conv(x: Array, weight: Array, positions: Array) -> Array:
    """x'_t[c] = sum_j weight[j,c] x_{t-(w-1)+j}[c]; x [B,T,C], weight [w,C]; zeros before a document's start."""
    width = weight.shape[0]
    y = np.zeros_like(x)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for j in range(width):
                back = width - 1 - j
                if back <= positions[b, t]:
                    y[b, t] += weight[j] * x[b, t - back]
    return y


def augment_shape(options: Options, heads: int) -> Shapes:
    """The filter of augment: dwconv, one for each head."""
    if options.get("augment", "none") != "dwconv":
        return {}
    return {"augment.weight": (heads, int(options.get("augment_taps", 32)))}


def augmentation(v: Array, params: Params, options: Options, positions: Array) -> Array:
    """augment: dwconv is sum_j weight[h,j] v_{t-(taps-1)+j} for each head h, otherwise zeros.

    The causal convolution that You et al. 2024 (arXiv:2406.07368) add to linear attention, one filter per head; v
    [B,T,V] with V/H columns per head, "augment.weight" [H,taps].
    """
    if options.get("augment", "none") != "dwconv":
        return np.zeros_like(v)
    weight = params["augment.weight"]
    return short_conv(v, np.repeat(weight, v.shape[-1] // weight.shape[0], axis=0).T, positions)


def previous_token(x: Array, positions: Array) -> Array:
    """x_{t-1} in place of x_t; zeros at a document's start; x [B,T,C]."""
    y = np.zeros_like(x)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            if positions[b, t] > 0:
                y[b, t] = x[b, t - 1]
    return y


def normalize(x: Array, params: Params, name: str, norm: Config | None) -> Array:
    """Applies layer_norm or rms_norm with "<name>.weight", unless the norm says weight: false, and "<name>.bias"."""
    if norm is None:
        return x
    weight = params[f"{name}.weight"] if norm.get("weight", True) else np.ones(x.shape[-1])
    bias, eps = params.get(f"{name}.bias"), float(norm["eps"])
    if norm["type"] == "layer_norm":
        return layer_norm(x, weight, bias, eps)
    if norm["type"] == "rms_norm":
        y = rms_norm(x, weight, eps)
        return y if bias is None else y + bias
    raise ValueError(f"norm {norm['type']} is none of layer_norm, rms_norm, none")
