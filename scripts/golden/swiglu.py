"""SwiGLU, a feed-forward network with a multiplicative gate (Shazeer 2020, arXiv:2002.05202, equation 6)."""

from __future__ import annotations

from pathlib import Path

from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, write_golden
from equations import linear, silu

PAPER = "Shazeer 2020 (arXiv:2002.05202)"


def shapes(options: Options, d_model: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter; the rows of gate_up are the gate's, then up's."""
    inner = round(float(options["expand"]) * d_model)
    return {"gate_up.weight": (2 * inner, d_model), "down.weight": (d_model, inner)}


def swiglu(x: Array, params: Params, options: Options) -> Array:
    """y = W_down (silu(W_gate x) * W_up x); x and y [B,T,D]. The inner width is read from the weights."""
    inner = params["gate_up.weight"].shape[0] // 2
    w_gate, w_up = params["gate_up.weight"][:inner], params["gate_up.weight"][inner:]
    return linear(silu(linear(x, w_gate)) * linear(x, w_up), params["down.weight"])


VARIANTS: dict[str, Options] = {"default": {"expand": 3}}


def write(folder: Path) -> None:
    """Writes swiglu.<variant>.safetensors for each variant."""
    for variant, options in VARIANTS.items():
        x, params = draw_case(f"swiglu.{variant}", shapes(options, D_MODEL))
        write_golden(folder, "ffn", "swiglu", variant, options, PAPER, x, swiglu(x, params, options), params)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
