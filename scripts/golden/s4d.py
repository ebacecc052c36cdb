"""S4D: a diagonal state space layer with constant complex decays (Gu et al. 2022, arXiv:2206.11893)."""

from __future__ import annotations

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import document_positions, gelu, linear, sigmoid

PAPER = "Gu et al. 2022 (arXiv:2206.11893)"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; state counts real numbers, two for each conjugate pair.

    The columns 2n and 2n+1 of c are the real and the imaginary part; the rows of out are the values, then the gates.
    """
    state = int(options.get("state", 64))
    return {
        "log_dt": (d_model,),
        "c": (d_model, state),
        "log_a_real": (d_model, state // 2),
        "a_imag": (d_model, state // 2),
        "d": (d_model,),
        "out.weight": (2 * d_model, d_model),
        "out.bias": (2 * d_model,),
    }


def discretize(params: Params) -> tuple[Array, Array]:
    """Returns (dt A, C (e^(dt A) - 1) / A), complex [D, N/2]: zero-order hold, A = -e^(log_a_real) + i a_imag."""
    a = -np.exp(params["log_a_real"]) + 1j * params["a_imag"]
    dt_a = np.exp(params["log_dt"])[:, None] * a
    c = params["c"][:, 0::2] + 1j * params["c"][:, 1::2]
    return dt_a, c * np.expm1(dt_a) / a


def recurrence(x: Array, params: Params, positions: Array) -> Array:
    """h_t = e^(dt A) h_{t-1} + u_t, y_t = 2 Re(C' . h_t) with h_0 = 0; x and y [B,T,D]."""
    dt_a, c = discretize(params)
    y = np.zeros_like(x)
    for b in range(x.shape[0]):
        state = np.zeros_like(dt_a)
        for t in range(x.shape[1]):
            if positions[b, t] == 0:
                state = np.zeros_like(dt_a)
            state = np.exp(dt_a) * state + x[b, t][:, None]
            y[b, t] = 2.0 * np.sum(c * state, axis=-1).real
    return y


def convolution(x: Array, params: Params, positions: Array) -> Array:
    """y_t = sum_l K_l u_{t-l} within a document, K_l = 2 Re sum_n C_n (e^(dt A_n) - 1) / A_n e^(dt A_n l)."""
    dt_a, c = discretize(params)
    kernel = [2.0 * np.sum(c * np.exp(dt_a * lag), axis=-1).real for lag in range(x.shape[1])]
    y = np.zeros_like(x)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for lag in range(int(positions[b, t]) + 1):
                y[b, t] += kernel[lag] * x[b, t - lag]
    return y


def s4d(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """y_t = GLU(W gelu(K * u + d u) + b) with GLU(p, q) = p sigmoid(q); x and y [B,T,D].

    The recurrence is compared with the convolution.
    """
    positions = document_positions(segments, *x.shape[:2])
    filtered = recurrence(x, params, positions)
    np.testing.assert_allclose(filtered, convolution(x, params, positions), rtol=1e-10, atol=1e-12)
    inner = gelu(filtered + params["d"] * x)
    value, gate = np.split(linear(inner, params["out.weight"], params["out.bias"]), 2, axis=-1)
    return value * sigmoid(gate)


def start(params: Params) -> None:
    """As at the start of training, plus noise: dt between 1e-3 and 0.1 (here up to 1), A = -1/2 + i pi n.

    The amplitude of c makes up for small steps, whose kernels are of the order of dt.
    """
    width, pairs = params["a_imag"].shape
    params["log_dt"] = np.linspace(np.log(1e-3), 0.0, width)
    params["c"] *= 1.0 / np.sqrt(np.exp(params["log_dt"]))[:, None]
    params["log_a_real"] = 0.5 * params["log_a_real"] + np.log(0.5)
    params["a_imag"] = 0.2 * params["a_imag"] + np.pi * np.arange(pairs)


def extreme_decay(params: Params) -> None:
    """Pairs that hardly decay, that decay by e^-60 dt, and that turn fast."""
    params["log_a_real"][:, 0], params["a_imag"][:, 0] = -8.0, 1.0
    params["log_a_real"][:, 1], params["a_imag"][:, 1] = 4.1, 0.0
    params["a_imag"][:, 2] = 100.0


VARIANTS = {
    "default": Variant({"state": 4}),
    "one_pair": Variant({"state": 2}),
    "extreme_decay": Variant({"state": 6}, change=extreme_decay),
    "documents": Variant({"state": 4}, documents=True),
}
