"""Attention over tokens that are parameters, TokenFormer (Wang et al. 2024, arXiv:2410.23168), token by token.

Follows Haiyang-W/TokenFormer@4d56c73, megatron/model/tokenformer.py, class Pattention, where paper and code differ: the
scores have no scale of their own, and sqrt(n) stands inside the nonlinearity. The code has no eps.
"""

from __future__ import annotations

import math

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import gelu

KIND = "ffn"
PAPER = "Wang et al. 2024 (arXiv:2410.23168)"
EPS = 1e-12


def pattention_shapes(options: Options, d_in: int, d_out: int, tokens: int) -> Shapes:
    """Returns the shape of each parameter: a key is a row of keys.weight, its value a column of values.weight."""
    n = int(options.get("tokens") or tokens)
    return {"keys.weight": (n, d_in), "values.weight": (d_out, n)}


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter of the channel mixer."""
    return pattention_shapes(options, d_model, d_model, 4 * d_model)


def shares(scores: Array, options: Options) -> Array:
    """Returns Theta(a), [n], of the scores [n] of one token."""
    kind = options.get("nonlinearity", "l2_norm_gelu")
    eps = float(options.get("norm_eps", EPS))
    m = float(options.get("scale_tokens") or scores.shape[0])
    if kind == "l2_norm_gelu":
        return gelu(math.sqrt(m) * scores / math.sqrt(float(np.sum(scores**2)) + eps))
    if kind == "gelu_l2_norm":
        bent = gelu(scores)
        return math.sqrt(m) * bent / math.sqrt(float(np.sum(bent**2)) + eps)
    if kind == "gelu":
        return gelu(scores)
    if kind == "scaled_gelu":
        return gelu(scores) / math.sqrt(m)
    exponentials = np.exp(scores - scores.max())
    if kind == "softmax":
        return exponentials / exponentials.sum()
    if kind == "scaled_softmax":
        return m * exponentials / exponentials.sum()
    raise ValueError(f"pattention: nonlinearity: {kind}")


def pattention(x: Array, params: Params, options: Options) -> Array:
    """y_t = sum_i Theta(K x_t)_i v_i; x [B,T,D], y [B,T,D_out]."""
    keys, values = params["keys.weight"], params["values.weight"].T
    y = np.zeros((*x.shape[:2], values.shape[1]))
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            scores = np.array([np.dot(key, x[b, t]) for key in keys])
            for share, value in zip(shares(scores, options), values):
                y[b, t] += share * value
    return y


VARIANTS = {
    "default": Variant({}),
    "gelu": Variant({"tokens": 5, "nonlinearity": "gelu"}),
    "scaled_gelu": Variant({"tokens": 9, "nonlinearity": "scaled_gelu"}),
    "l2_norm_gelu": Variant({"tokens": 9, "nonlinearity": "l2_norm_gelu", "norm_eps": 0.1}),
    "gelu_l2_norm": Variant({"tokens": 9, "nonlinearity": "gelu_l2_norm"}),
    "scaled_softmax": Variant({"tokens": 9, "nonlinearity": "scaled_softmax"}),
    "softmax": Variant({"tokens": 9, "nonlinearity": "softmax"}),
    "grown": Variant({"tokens": 9, "nonlinearity": "l2_norm_gelu", "scale_tokens": 6}),
    "grown_gelu_l2_norm": Variant({"tokens": 9, "nonlinearity": "gelu_l2_norm", "scale_tokens": 6}),
    "grown_scaled_gelu": Variant({"tokens": 9, "nonlinearity": "scaled_gelu", "scale_tokens": 6}),
}
