"""SwiGLU, a feed-forward network with a multiplicative gate (Shazeer 2020, arXiv:2002.05202, equation 6)."""

from __future__ import annotations

from common import Array, Options, Params, Shapes, Variant
from equations import linear, silu

KIND = "ffn"
PAPER = "Shazeer 2020 (arXiv:2002.05202)"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of gate_up are the gate's, then up's."""
    inner = round(float(options["expand"]) * d_model)
    return {"gate_up.weight": (2 * inner, d_model), "down.weight": (d_model, inner)}


def swiglu(x: Array, params: Params, options: Options) -> Array:
    """y = W_down (silu(W_gate x) * W_up x); x and y [B,T,D]. The inner width is read from the weights."""
    inner = params["gate_up.weight"].shape[0] // 2
    w_gate, w_up = params["gate_up.weight"][:inner], params["gate_up.weight"][inner:]
    return linear(silu(linear(x, w_gate)) * linear(x, w_up), params["down.weight"])


VARIANTS = {"default": Variant({"expand": 3})}
