"""Linearized attention: squared-ReLU or Laplace attention inside groups, linear attention to the groups before.

You et al. 2024 (arXiv:2406.07368) on the gated unit and mixed chunks of Hua et al. 2022 (arXiv:2202.10447); a causal
filter over the values is added, which all channels share.
"""

from __future__ import annotations

import math

import numpy as np

from attention import rotate
from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, previous_token, silu

PAPER = "You et al. 2024 (arXiv:2406.07368); FLASH 2202.10447; Laplace 2209.10655"
BUCKETS, MAX_DISTANCE = 32, 128
ROPE_THETA = 10000.0


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; rows of hidden: v, gate; of offset_scale: quad_q, lin_q, quad_k, lin_k."""
    inner, keys = round(float(options.get("expand", 2)) * d_model), int(options.get("query_key_dim", 128))
    return {
        "hidden.weight": (2 * inner, d_model),
        "hidden.bias": (2 * inner,),
        "z.weight": (keys, d_model),
        "z.bias": (keys,),
        "offset_scale.weight": (4, keys),
        "offset_scale.bias": (4, keys),
        "position_bias": (BUCKETS,),
        "conv.weight": (1, int(options.get("taps", 32))),
        "out.weight": (d_model, inner),
        "out.bias": (d_model,),
    }


def bucket(distance: int) -> int:
    """T5's causal bucket of a distance >= 0 (Raffel et al. 2019): one each below 16, then on a log scale up to 128."""
    exact = BUCKETS // 2
    if distance < exact:
        return distance
    part = math.log(distance / exact) / math.log(MAX_DISTANCE / exact)
    return min(exact + int(part * (BUCKETS - exact)), BUCKETS - 1)


def score(u: float, kind: str) -> float:
    """relu(u)^2, or (1 + erf((u - sqrt(1/2)) / (sqrt(1/(4 pi)) sqrt 2))) / 2 (Ma et al. 2022, arXiv:2209.10655)."""
    if kind == "relu2":
        return max(u, 0.0) ** 2
    if kind != "laplace":
        raise ValueError(f"linearized_attention: scores: {kind} is none of laplace, relu2")
    return 0.5 * (1.0 + math.erf((u - math.sqrt(0.5)) / (math.sqrt(1.0 / (4.0 * math.pi)) * math.sqrt(2.0))))


def linearized_attention(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """y_t = W_o [gate_t * (local_t + global_t + filter_t)] + b_o; x and y [B,T,D].

    [v; gate] = silu(W_h x + b_h), z = silu(W_z x + b_z), each of the four q, k is RoPE(z * gamma_i + beta_i).
    local_t = sum_{j<=t, same group} f(q.k_j / g + sqrt(S) bias[bucket(t - j)]) v_j;
    global_t = sum_{j in earlier groups} (q.k_j) v_j / g; filter_t = sum_i w_i v_{t-(taps-1)+i}.
    With token_shift the first half of the channels of x comes from the token before.
    """
    batch, tokens, d_model = x.shape
    keys, g = int(options.get("query_key_dim", 128)), int(options.get("group", 256))
    rotary, kind = int(options.get("rotary_dim", 32)), str(options.get("scores", "laplace"))
    positions = document_positions(segments, batch, tokens)
    if options.get("token_shift", True):
        half = d_model // 2
        x = np.concatenate([previous_token(x, positions)[..., :half], x[..., half:]], axis=-1)
    v, gate = np.split(silu(linear(x, params["hidden.weight"], params["hidden.bias"])), 2, axis=-1)
    z = silu(linear(x, params["z.weight"], params["z.bias"]))
    roles = np.zeros((4, batch, tokens, keys))
    for role in range(4):
        for b in range(batch):
            for t in range(tokens):
                row = z[b, t] * params["offset_scale.weight"][role] + params["offset_scale.bias"][role]
                turned = rotate(row[:rotary], int(positions[b, t]), ROPE_THETA)
                roles[role, b, t] = np.concatenate([turned, row[rotary:]])
    quad_q, lin_q, quad_k, lin_k = roles

    taps = params["conv.weight"].shape[1]
    mixed = np.zeros_like(v)
    for b in range(batch):
        for t in range(tokens):
            place = int(positions[b, t])
            for back in range(place + 1):
                j = t - back
                if (place - back) // g == place // g:
                    if options.get("local", True):
                        bias = math.sqrt(keys) * float(params["position_bias"][bucket(back)])
                        mixed[b, t] += score(float(np.dot(quad_q[b, t], quad_k[b, j])) / g + bias, kind) * v[b, j]
                elif options.get("global", True):
                    mixed[b, t] += float(np.dot(lin_q[b, t], lin_k[b, j])) / g * v[b, j]
                if back < taps:
                    mixed[b, t] += params["conv.weight"][0, taps - 1 - back] * v[b, j]
    return linear(gate * mixed, params["out.weight"], params["out.bias"])


TINY: Options = {"query_key_dim": 4, "group": 4, "rotary_dim": 2, "taps": 3}

VARIANTS = {
    "laplace": Variant(TINY),
    "relu2": Variant(TINY | {"scores": "relu2"}),
    "local_only": Variant(TINY | {"global": False}),
    "global_only": Variant(TINY | {"local": False}),
    "no_token_shift": Variant(TINY | {"token_shift": False}),
    # The log-scaled buckets are beyond 15 tokens, so in groups of more than 16.
    "wide_group": Variant({"query_key_dim": 6, "group": 20, "rotary_dim": 6, "taps": 32, "expand": 1}),
    "documents": Variant(TINY, documents=True),
    "documents_relu2": Variant(TINY | {"scores": "relu2", "group": 3, "taps": 5}, documents=True),
}
