"""Multi-head latent attention: keys and values are grown from one small vector per token, positions have their own key.

DeepSeek-AI 2024 (arXiv:2405.04434), section 2.1; the norms of the two latent vectors as in DeepSeek-V3.
"""

from __future__ import annotations

import numpy as np

from attention import rotate
from common import Array, Options, Params, Shapes, Variant
from equations import attend, document_positions, linear, rms_norm

PAPER = "DeepSeek-AI 2024 (arXiv:2405.04434)"
NORM_EPS = 1e-6
ROPE_THETA = 10000.0


def sizes(options: Options, d_model: int) -> tuple[int, int, int, int, int]:
    """Returns (heads H, latent width of keys and values, width n without positions, width r with RoPE, value width)."""
    heads = int(options["heads"])
    nope = int(options.get("nope_dim") or d_model // heads)
    rope = int(options.get("rope_dim") or nope // 2)
    return heads, int(options.get("kv_rank") or d_model // 2), nope, rope, int(options.get("v_dim") or d_model // heads)


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; rows of q per head: nope, rope; of kv_down: c, k_rope; of kv_up: k, v."""
    heads, kv_rank, nope, rope, value = sizes(options, d_model)
    q_rank = int(options.get("q_rank") or 0)
    result: Shapes = {}
    if q_rank:
        result["q_down.weight"] = (q_rank, d_model)
        result["q_norm.weight"] = (q_rank,)
        result["q_up.weight"] = (heads * (nope + rope), q_rank)
    else:
        result["q.weight"] = (heads * (nope + rope), d_model)
    result["kv_down.weight"] = (kv_rank + rope, d_model)
    result["kv_norm.weight"] = (kv_rank,)
    result["kv_up.weight"] = (heads * (nope + value), kv_rank)
    result["out.weight"] = (d_model, heads * value)
    return result


def mla(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """y_t = W_o [softmax_j((q_n.k_n + rope(q_r).rope(k_r)) / sqrt(n + r)) v_j] over j <= t; x and y [B,T,D].

    [k_n; v] = W_up RMSNorm(c), [c; k_r] = W_down x, k_r shared by the heads; q = W_q x or W_up RMSNorm(W_down x).
    """
    batch, tokens, d_model = x.shape
    heads, kv_rank, nope, rope, value = sizes(options, d_model)
    positions = document_positions(segments, batch, tokens)
    if options.get("q_rank"):
        latent = rms_norm(linear(x, params["q_down.weight"]), params["q_norm.weight"], NORM_EPS)
        q = linear(latent, params["q_up.weight"])
    else:
        q = linear(x, params["q.weight"])
    q = q.reshape(batch, tokens, heads, nope + rope)
    down = linear(x, params["kv_down.weight"])
    latent = rms_norm(down[..., :kv_rank], params["kv_norm.weight"], NORM_EPS)
    up = linear(latent, params["kv_up.weight"]).reshape(batch, tokens, heads, nope + value)

    mixed = np.zeros((batch, tokens, heads, value))
    for b in range(batch):
        place = [int(p) for p in positions[b]]
        shared = [rotate(down[b, t, kv_rank:], place[t], ROPE_THETA) for t in range(tokens)]
        for t in range(tokens):
            visible = range(t - place[t], t + 1)  # from the document's start
            for h in range(heads):
                query = np.concatenate([q[b, t, h, :nope], rotate(q[b, t, h, nope:], place[t], ROPE_THETA)])
                keys = [np.concatenate([up[b, j, h, :nope], shared[j]]) for j in visible]
                values = [up[b, j, h, nope:] for j in visible]
                mixed[b, t, h], _ = attend(query, keys, values, (nope + rope) ** -0.5)
    return linear(mixed.reshape(batch, tokens, heads * value), params["out.weight"])


TINY: Options = {"heads": 2, "kv_rank": 3, "nope_dim": 4, "rope_dim": 2, "v_dim": 3}

VARIANTS = {
    "full_q": Variant(TINY),
    "q_rank": Variant(TINY | {"q_rank": 3}),
    "default_sizes": Variant({"heads": 2}),
    "wide_rope": Variant({"heads": 4, "kv_rank": 5, "nope_dim": 3, "rope_dim": 4, "v_dim": 2, "q_rank": 6}),
    "documents": Variant(TINY | {"q_rank": 3}, documents=True),
}
