"""Softmax attention with shared key-value heads, RoPE or ALiBi, windows and sinks, token by token.

Vaswani et al. 2017 (arXiv:1706.03762), Shazeer 2019 (arXiv:1911.02150), Ainslie et al. 2023 (arXiv:2305.13245), Su et
al. 2021 (arXiv:2104.09864), Press et al. 2021 (arXiv:2108.12409), Xiao et al. 2023 (arXiv:2309.17453), Zhou et al. 2024
(arXiv:2410.17897). Value embeddings as in karpathy/nanochat@92d63d4 (nanochat/gpt.py). With a projection of type
pattention q, k, v and what is behind the heads are those of TokenFormer (Wang et al. 2024, arXiv:2410.23168), which
turns the first quarter of a head.
"""

from __future__ import annotations

import math

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, rms_norm, sigmoid
from pattention import pattention, pattention_shapes

PAPER = "Vaswani et al. 2017 (arXiv:1706.03762); RoPE 2104.09864; ALiBi 2108.12409; GQA 2305.13245; sinks 2309.17453"
QK_NORM_EPS = 1e-6
IDS = 16  # tokens of the vocabulary, of which each has a value embedding


def head_sizes(options: Options, d_model: int) -> tuple[int, int, int]:
    """Returns (query heads H, key-value heads G, width of a head dh)."""
    heads = int(options["heads"])
    return heads, int(options.get("kv_heads") or heads), int(options.get("head_dim") or d_model // heads)


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of qkv are q heads, then k heads, then v heads."""
    heads, kv_heads, dh = head_sizes(options, d_model)
    rows = (heads + 2 * kv_heads) * dh
    projection = options.get("projection", {"type": "linear"})
    result: Shapes = {"qkv.weight": (rows, d_model), "out.weight": (d_model, heads * dh)}
    if projection["type"] == "pattention":
        parts = {"qkv.q": (d_model, heads * dh), "qkv.k": (d_model, kv_heads * dh), "qkv.v": (d_model, kv_heads * dh)}
        parts["out"] = (heads * dh, d_model)
        each = {part: pattention_shapes(projection, *sizes, d_model) for part, sizes in parts.items()}
        result = {f"{part}.{name}": shape for part, of in each.items() for name, shape in of.items()}
    if options.get("bias"):
        result |= {"qkv.bias": (rows,), "out.bias": (d_model,)}
    if options.get("qk_norm"):
        result |= {"q_norm.weight": (dh,), "k_norm.weight": (dh,)}
    if options.get("value_embedding"):
        result |= {"value_embedding.weight": (IDS, kv_heads * dh)}
        result |= {"value_gate.weight": (kv_heads, int(options["value_embedding"]))}
    return result


def alibi_slopes(heads: int) -> list[float]:
    """Returns m_h = 2^(-8(h+1)/H) for H a power of two (Press et al. 2021, section 3).

    Otherwise the authors' rule: the slopes of the closest lower power of two P, then the 1st, 3rd, 5th ... of 2P.
    """
    lower = 2 ** int(math.floor(math.log2(heads)))
    slopes = [2.0 ** (-8.0 * (h + 1) / lower) for h in range(lower)]
    twice = [2.0 ** (-8.0 * (h + 1) / (2 * lower)) for h in range(2 * lower)]
    return slopes + twice[0::2][: heads - lower]


def project(x: Array, params: Params, name: str, parts: tuple[str, ...], options: Options) -> Array:
    """Returns what the projection called name makes of x [B,T,D]: its parts side by side, or all where it has none."""
    projection = options.get("projection", {"type": "linear"})
    if projection["type"] == "linear":
        return linear(x, params[f"{name}.weight"], params.get(f"{name}.bias"))
    made = []
    for place in [f"{name}.{part}" for part in parts] or [name]:
        own = {of: params[f"{place}.{of}"] for of in ("keys.weight", "values.weight")}
        made.append(pattention(x, own, projection))
    return np.concatenate(made, axis=-1)


def rotate(row: Array, position: int, theta: float) -> Array:
    """Turns each pair (i, i + dh/2) of a row [dh] by position * theta^(-2i/dh).

    Su et al. 2021, equation 34, with the pairs laid out as two halves instead of neighbours.
    """
    half = row.shape[0] // 2
    turned = np.empty_like(row)
    for i in range(half):
        angle = position * theta ** (-2.0 * i / row.shape[0])
        turned[i] = row[i] * math.cos(angle) - row[i + half] * math.sin(angle)
        turned[i + half] = row[i] * math.sin(angle) + row[i + half] * math.cos(angle)
    return turned


def sees(query: int, key: int, window: int, sinks: int, direction: str) -> bool:
    """Whether the token at position query reads the one at position key, both counted within one document."""
    if direction == "causal" and key > query:
        return False
    return window == 0 or abs(query - key) < window or key < sinks


def attention(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    shelf: Params | None = None,
    positions: Array | None = None,
) -> Array:
    """y_i = W_o [softmax_j(q_i.k_j / sqrt(dh) + bias_ij) v_j] over the tokens j that i sees; x and y [B,T,D].

    With value_residual l, v_j is l v_j of the first layer + (1 - l) v_j (Zhou et al. 2024; l = 0.5 in their code); the
    first layer's own values are as they are. With value_embedding c, 3 sigmoid(W_g x_j[:c]) e_j is added to what that
    left of v_j, a gate for each key-value head, e_j the value embedding of token j. Distances are those of the
    positions [B,T] inside the documents, which are given where tokens between these are missing.
    """
    batch, tokens, d_model = x.shape
    heads, kv_heads, dh = head_sizes(options, d_model)
    window, sinks = int(options.get("window") or 0), int(options.get("sinks") or 0)
    position_kind, theta = options.get("position", "rope"), float(options.get("rope_theta", 10000.0))
    if position_kind not in ("rope", "alibi", "none"):
        raise ValueError(f"attention: position: {position_kind} is none of rope, alibi, none")
    slopes = alibi_slopes(heads)
    positions = document_positions(segments, batch, tokens) if positions is None else positions
    turned = round(dh * float(options.get("rope_share", 1.0)))
    qkv = project(x, params, "qkv", ("q", "k", "v"), options).reshape(batch, tokens, heads + 2 * kv_heads, dh)
    q, k, v = qkv[:, :, :heads].copy(), qkv[:, :, heads : heads + kv_heads].copy(), qkv[:, :, heads + kv_heads :]
    if options.get("qk_norm"):
        q, k = rms_norm(q, params["q_norm.weight"], QK_NORM_EPS), rms_norm(k, params["k_norm.weight"], QK_NORM_EPS)
    share, shelf = options.get("value_residual"), {} if shelf is None else shelf
    if share is not None and "values" in shelf:
        v = float(share) * shelf["values"].reshape(v.shape) + (1.0 - float(share)) * v
    elif share is not None:
        shelf["values"] = v.reshape(batch, tokens, kv_heads * dh)
    if channels := int(options.get("value_embedding") or 0):
        gate = 3.0 * sigmoid(linear(x[..., :channels], params["value_gate.weight"]))
        v = v + gate[..., None] * params["value_embedding.weight"][shelf["ids"]].reshape(v.shape)

    mixed = np.zeros((batch, tokens, heads, dh))
    for b in range(batch):
        place = [int(p) for p in positions[b]]
        if position_kind == "rope":
            for t in range(tokens):
                for rows in (q, k):
                    rows[b, t, :, :turned] = [rotate(row[:turned], place[t], theta) for row in rows[b, t]]
        for i in range(tokens):
            same = [j for j in range(tokens) if segments is None or segments[b, j] == segments[b, i]]
            visible = [j for j in same if sees(place[i], place[j], window, sinks, direction)]
            for h in range(heads):
                g = h * kv_heads // heads
                scores = np.array([np.dot(q[b, i, h], k[b, j, g]) for j in visible]) / math.sqrt(dh)
                if position_kind == "alibi":
                    scores -= np.array([slopes[h] * abs(place[i] - place[j]) for j in visible])
                weights = np.exp(scores - scores.max())
                weights /= weights.sum()
                for weight, j in zip(weights, visible):
                    mixed[b, i, h] += weight * v[b, j, g]
    return project(mixed.reshape(batch, tokens, heads * dh), params, "out", (), options)


VARIANTS = {
    "mha_rope": Variant({"heads": 2, "position": "rope"}),
    "gqa": Variant(
        {"heads": 4, "kv_heads": 2, "head_dim": 4, "position": "rope", "rope_theta": 500, "qk_norm": True}
    ),
    "mqa_alibi": Variant({"heads": 4, "kv_heads": 1, "position": "alibi"}),
    "alibi_six_heads": Variant({"heads": 6, "head_dim": 4, "position": "alibi"}),
    "window": Variant({"heads": 2, "window": 5, "position": "rope"}),
    "window_sinks": Variant({"heads": 2, "window": 5, "sinks": 2, "position": "rope"}),
    "none_bias": Variant({"heads": 2, "position": "none", "bias": True}),
    "bidirectional": Variant({"heads": 2, "position": "rope"}, direction="bidirectional"),
    "bidirectional_window": Variant({"heads": 2, "window": 5, "position": "rope"}, direction="bidirectional"),
    "documents": Variant({"heads": 2, "window": 5, "sinks": 1, "position": "rope"}, documents=True),
    "value_embedding": Variant({"heads": 2, "value_embedding": 3}, ids=IDS),
    "value_embedding_groups": Variant(
        {"heads": 4, "kv_heads": 2, "head_dim": 4, "qk_norm": True, "value_embedding": 8, "window": 3},
        documents=True,
        ids=IDS,
    ),
    "value_embedding_residual": Variant(
        {"heads": 2, "value_residual": 0.5, "value_embedding": 4}, shelf=("values",), ids=IDS
    ),
    "half_rope": Variant({"heads": 2, "rope_share": 0.5}),
    "pattention": Variant({"heads": 2, "rope_share": 0.5, "projection": {"type": "pattention", "tokens": 6}}),
    "pattention_gqa": Variant(
        {
            "heads": 4,
            "kv_heads": 2,
            "head_dim": 4,
            "projection": {"type": "pattention", "nonlinearity": "gelu", "tokens": 12},
        }
    ),
}
