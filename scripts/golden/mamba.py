"""Mamba: a diagonal state space layer that selects by the data (Gu & Dao 2023, arXiv:2312.00752)."""

from __future__ import annotations

import math

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, linear, short_conv, silu, softplus

PAPER = "Gu & Dao 2023 (arXiv:2312.00752)"


def sizes(options: Options, d_model: int) -> tuple[int, int, int]:
    """Returns (inner width I, state N, rank R of the step's projection)."""
    inner = round(float(options.get("expand", 2)) * d_model)
    return inner, int(options.get("state", 16)), int(options.get("dt_rank") or math.ceil(d_model / 16))


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of in are x, z, those of x_proj are dt, B, C."""
    inner, state, rank = sizes(options, d_model)
    return {
        "in.weight": (2 * inner, d_model),
        "conv.weight": (int(options.get("conv", 4)), inner),
        "conv.bias": (inner,),
        "x_proj.weight": (rank + 2 * state, inner),
        "dt.weight": (inner, rank),
        "dt.bias": (inner,),
        "a_log": (inner, state),
        "d": (inner,),
        "out.weight": (d_model, inner),
    }


def mamba(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """h_t[i] = exp(-delta_t[i] e^(a_log[i])) h_{t-1}[i] + delta_t[i] B_t x_t[i], y_t[i] = C_t . h_t[i] + d[i] x_t[i].

    h_t [I,N], h_0 = 0 (algorithm 2). x = silu(conv(W_x x) + bias), (dt, B, C) = W_p x, delta = softplus(W_dt dt + b).
    The result is W_o (y * silu(z)); x and result [B,T,D].
    """
    batch, tokens, d_model = x.shape
    inner, n, rank = sizes(options, d_model)
    positions = document_positions(segments, batch, tokens)
    u, z = np.split(linear(x, params["in.weight"]), 2, axis=-1)
    u = silu(short_conv(u, params["conv.weight"], positions) + params["conv.bias"])

    y = np.zeros((batch, tokens, inner))
    for b in range(batch):
        state = np.zeros((inner, n))
        for t in range(tokens):
            if positions[b, t] == 0:
                state = np.zeros((inner, n))
            low_rank, b_t, c_t = np.split(linear(u[b, t], params["x_proj.weight"]), [rank, rank + n])
            delta = softplus(linear(low_rank, params["dt.weight"], params["dt.bias"]))
            for i in range(inner):
                a = np.exp(-delta[i] * np.exp(params["a_log"][i]))
                state[i] = a * state[i] + delta[i] * b_t * u[b, t, i]
                y[b, t, i] = c_t @ state[i] + params["d"][i] * u[b, t, i]
    return linear(y * silu(z), params["out.weight"])


def start(params: Params) -> None:
    """As at the start of training, plus noise: delta between 1e-3 and 0.1, e^a_log = 1..N, d = 1."""
    inner, state = params["a_log"].shape
    params["dt.bias"] = np.log(np.expm1(np.geomspace(1e-3, 0.1, inner)))
    params["a_log"] = 0.2 * params["a_log"] + np.log(np.arange(1.0, state + 1.0))
    params["d"] += 1.0


def strong_decay(params: Params) -> None:
    """From delta = 2e-9, a state that never changes, to delta = 20, whose decay e^-3000 leaves one token."""
    params["dt.bias"] = np.linspace(-20.0, 20.0, params["dt.bias"].shape[0])
    params["a_log"][:, -1] += 4.0


# default_rank leaves the rank at ceil(D / 16) = 1.
VARIANTS = {
    "default": Variant({"expand": 2, "state": 3, "conv": 3, "dt_rank": 2}),
    "default_rank": Variant({"expand": 2, "state": 4, "conv": 4}),
    "expand1": Variant({"expand": 1, "state": 1, "conv": 2, "dt_rank": 3}),
    "strong_decay": Variant({"expand": 2, "state": 3, "conv": 3, "dt_rank": 2}, change=strong_decay),
    "documents": Variant({"expand": 2, "state": 3, "conv": 3, "dt_rank": 2}, documents=True),
}
