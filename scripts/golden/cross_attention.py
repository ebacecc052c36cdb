"""Attention of a decoder's tokens to what an encoder made.

Vaswani et al. 2017, arXiv:1706.03762, sections 3.1 and 3.2.3. Nothing knows of positions; scores are divided by the root
of a head's width, which T5 (google-research/text-to-text-transfer-transformer@e081111) leaves to the start of its
weights; the memory is read as it is.
"""

from __future__ import annotations

import math

import numpy as np

from attention import QK_NORM_EPS, head_sizes
from common import Array, Options, Params, Shapes
from equations import attend, linear, rms_norm


def sizes(options: Options, d_model: int) -> tuple[int, int, int]:
    """Returns (query heads H, key-value heads G, width of a head dh)."""
    return head_sizes({"heads": 4} | options, d_model)


def cross_shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of kv are those of k, then of v."""
    heads, kv_heads, dh = sizes(options, d_model)
    result: Shapes = {"q.weight": (heads * dh, d_model), "kv.weight": (2 * kv_heads * dh, d_model)}
    result["out.weight"] = (d_model, heads * dh)
    if options.get("bias"):
        result |= {"q.bias": (heads * dh,), "kv.bias": (2 * kv_heads * dh,), "out.bias": (d_model,)}
    if options.get("qk_norm"):
        result |= {"q_norm.weight": (dh,), "k_norm.weight": (dh,)}
    return result


def cross_attention(x: Array, memory: Array, lengths: Array | None, params: Params, options: Options) -> Array:
    """y_i = W_o [softmax_j(q_i.k_j / sqrt(dh)) v_j], q of x [B,T,D], k and v of memory [B,S,D], of which sequence b has
    lengths[b] rows, or all."""
    (batch, tokens, d_model), (heads, kv_heads, dh) = x.shape, sizes(options, x.shape[2])
    q = linear(x, params["q.weight"], params.get("q.bias")).reshape(batch, tokens, heads, dh)
    kv = linear(memory, params["kv.weight"], params.get("kv.bias")).reshape(batch, -1, 2 * kv_heads, dh)
    k, v = kv[:, :, :kv_heads], kv[:, :, kv_heads:]
    if options.get("qk_norm"):
        q, k = rms_norm(q, params["q_norm.weight"], QK_NORM_EPS), rms_norm(k, params["k_norm.weight"], QK_NORM_EPS)
    mixed = np.zeros_like(q)
    for b, i, h in np.ndindex(batch, tokens, heads):
        there, g = memory.shape[1] if lengths is None else int(lengths[b]), h * kv_heads // heads
        mixed[b, i, h], _ = attend(q[b, i, h], list(k[b, :there, g]), list(v[b, :there, g]), 1 / math.sqrt(dh))
    return linear(mixed.reshape(batch, tokens, heads * dh), params["out.weight"], params.get("out.bias"))
