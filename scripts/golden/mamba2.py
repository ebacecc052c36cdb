"""Mamba-2: a state space layer with one decay per head (Dao & Gu 2024, arXiv:2405.21060)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, rms_norm, short_conv, silu, softplus

PAPER = "Dao & Gu 2024 (arXiv:2405.21060)"
NORM_EPS = 1e-5


def sizes(options: Options, d_model: int) -> tuple[int, int, int, int]:
    """Returns (inner width I, heads H, state N, groups G)."""
    inner = round(float(options.get("expand", 2)) * d_model)
    head_dim = int(options.get("head_dim", 64))
    return inner, inner // head_dim, int(options.get("state", 128)), int(options.get("groups", 1))


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of in are z, x, B, C, then dt."""
    inner, heads, state, groups = sizes(options, d_model)
    convolved = inner + 2 * groups * state
    return {
        "in.weight": (inner + convolved + heads, d_model),
        "conv.weight": (int(options.get("conv", 4)), convolved),
        "conv.bias": (convolved,),
        "dt_bias": (heads,),
        "a_log": (heads,),
        "d": (heads,),
        "norm.weight": (inner,),
        "out.weight": (d_model, inner),
    }


def mamba2(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """S_t = a_t S_{t-1} + B_t (dt_t x_t)^T, y_t = S_t^T C_t + d x_t, a_t = exp(-e^(a_log) dt_t), S_0 = 0.

    dt = softplus(dt + dt_bias) for each head; x, B and C come from silu(conv + bias); B and C are shared by the heads
    of a group. The result is W_o RMSNorm(y * silu(z)), the norm over I/G columns; x and result [B,T,D].
    """
    batch, tokens, d_model = x.shape
    inner, heads, n, groups = sizes(options, d_model)
    head_dim, group_width = inner // heads, inner // groups
    positions = document_positions(segments, batch, tokens)
    projected = linear(x, params["in.weight"])
    z, xbc, dt = np.split(projected, [inner, 2 * inner + 2 * groups * n], axis=-1)
    xbc = silu(short_conv(xbc, params["conv.weight"], positions) + params["conv.bias"])
    u, b_all, c_all = np.split(xbc, [inner, inner + groups * n], axis=-1)
    dt = softplus(dt + params["dt_bias"])

    y = np.zeros((batch, tokens, inner))
    for b in range(batch):
        for h in range(heads):
            columns = slice(h * head_dim, (h + 1) * head_dim)
            g = h * groups // heads
            state = np.zeros((n, head_dim))
            for t in range(tokens):
                if positions[b, t] == 0:
                    state = np.zeros((n, head_dim))
                b_t, c_t = b_all[b, t, g * n : (g + 1) * n], c_all[b, t, g * n : (g + 1) * n]
                a = np.exp(-np.exp(params["a_log"][h]) * dt[b, t, h])
                state = a * state + np.outer(b_t, dt[b, t, h] * u[b, t, columns])
                y[b, t, columns] = state.T @ c_t + params["d"][h] * u[b, t, columns]
    gated = (y * silu(z)).reshape(batch, tokens, groups, group_width)
    normed = rms_norm(gated, params["norm.weight"].reshape(groups, group_width), NORM_EPS)
    return linear(normed.reshape(batch, tokens, inner), params["out.weight"])


def start(params: Params) -> None:
    """As at the start of training: dt between 1e-3 and 0.1, e^a_log between 1 and 16; d = 1 + noise."""
    heads = params["d"].shape[0]
    params["dt_bias"] = np.log(np.expm1(np.geomspace(1e-3, 0.1, heads)))
    params["a_log"] = np.log(np.linspace(16.0, 1.0, heads))
    params["d"] += 1.0


def strong_decay(params: Params) -> None:
    """log a is around -3000, -10, -1e-7 and 0 for every token."""
    params["dt_bias"], params["a_log"] = np.array([20.0, 5.0, -18.0, -12.0]), np.array([5.0, 0.7, 2.7, -20.0])


VARIANTS = {
    "default": Variant({"expand": 2, "head_dim": 4, "state": 3, "groups": 1, "conv": 3}),
    "groups2": Variant({"expand": 2, "head_dim": 4, "state": 3, "groups": 2, "conv": 4}),
    "expand1": Variant({"expand": 1, "head_dim": 8, "state": 5, "groups": 1, "conv": 4}),
    "strong_decay": Variant({"expand": 2, "head_dim": 4, "state": 3, "groups": 1, "conv": 3}, change=strong_decay),
    "documents": Variant({"expand": 2, "head_dim": 4, "state": 3, "groups": 2, "conv": 3}, documents=True),
}
