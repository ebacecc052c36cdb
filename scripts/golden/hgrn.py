"""HGRN, a gated RNN whose forget gates have a floor that rises with depth (Qin et al. 2023, arXiv:2311.04823).

The real-valued form: without the paper's rotation e^(i theta), with silu for the candidate and the output gate.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import document_positions, linear, rms_norm, sigmoid, silu

PAPER = "Qin et al. 2023 (arXiv:2311.04823), real-valued"
NORM_EPS = 1e-5
MODEL_WIDE = ("hgrn_floor",)


def shapes(options: Options, d_model: int, layers: int = 1) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter; the rows of in.weight are the candidate c, forget gate f, output gate g.

    hgrn_floor is one parameter for the whole model, a row for each of its HGRN layers.
    """
    inner = round(float(options.get("expand", 1)) * d_model)
    return {
        "in.weight": (3 * inner, d_model),
        "norm.weight": (inner,),
        "out.weight": (d_model, inner),
        "hgrn_floor": (layers, inner),
    }


def forget_floor(gamma: Array, layer: int) -> Array:
    """floor_l = sum_{j<=l} P_j - P_0 with P = softmax of gamma [layers, W] over the layers; floor_0 = 0."""
    exponentials = np.exp(gamma - gamma.max(axis=0))
    shares = exponentials / exponentials.sum(axis=0)
    return shares[: layer + 1].sum(axis=0) - shares[0]


def hgrn(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
) -> Array:
    """h_t = f_t h_{t-1} + (1 - f_t) silu(W_c x_t), f_t = floor + (1 - floor) sigmoid(W_f x_t), h_0 = 0.

    y_t = W_o (RMSNorm(h_t) * silu(W_g x_t)); x and y [B,T,D].
    """
    if direction != "causal":
        raise ValueError("hgrn: the recurrence is causal only")
    batch, tokens, _ = x.shape
    positions = document_positions(segments, batch, tokens)
    w_c, w_f, w_g = np.split(params["in.weight"], 3)
    floor = forget_floor(params["hgrn_floor"], layer)
    inner = floor.shape[0]
    hidden, gated = np.zeros((batch, tokens, inner)), np.zeros((batch, tokens, inner))
    for b in range(batch):
        for t in range(tokens):
            previous = np.zeros(inner) if positions[b, t] == 0 else hidden[b, t - 1]
            forget = floor + (1.0 - floor) * sigmoid(linear(x[b, t], w_f))
            hidden[b, t] = forget * previous + (1.0 - forget) * silu(linear(x[b, t], w_c))
            gated[b, t] = rms_norm(hidden[b, t], params["norm.weight"], NORM_EPS) * silu(linear(x[b, t], w_g))
    return linear(gated, params["out.weight"])


# variant: (options, layer, layers, packed documents)
VARIANTS: dict[str, tuple[Options, int, int, bool]] = {
    "default": ({"expand": 1}, 0, 1, False),
    "expand2": ({"expand": 2}, 0, 1, False),
    "layer_0_of_3": ({"expand": 1}, 0, 3, False),
    "layer_1_of_3": ({"expand": 1}, 1, 3, False),
    "layer_2_of_3": ({"expand": 1.5}, 2, 3, False),
    "strong_gates": ({"expand": 1}, 2, 3, False),
    "documents": ({"expand": 1}, 2, 3, True),
}

# Factors on the rows of f and on the floors in strong_gates: gates and floors near 0 and near 1.
STRONG_GATES, STRONG_FLOORS = 15.0, 10.0


def write(folder: Path) -> None:
    """Writes hgrn.<variant>.safetensors for each variant."""
    for variant, (options, layer, layers, documents) in VARIANTS.items():
        x, params = draw_case(f"hgrn.{variant}", shapes(options, D_MODEL, layers))
        if variant == "strong_gates":
            params["in.weight"][D_MODEL : 2 * D_MODEL] *= STRONG_GATES
            params["hgrn_floor"] *= STRONG_FLOORS
        segments = packed_segments() if documents else None
        y = hgrn(x, params, options, segments, layer=layer)
        extra = {"layer": str(layer), "layers": str(layers)}
        write_golden(folder, "mixer", "hgrn", variant, options, PAPER, x, y, params, segments, extra=extra)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
