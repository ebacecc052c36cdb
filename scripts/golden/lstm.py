"""Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import document_positions, linear, sigmoid

PAPER = "Hochreiter & Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735)"


def shapes(options: Options, d_model: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter; the rows are the gates i, f, the candidate g, then the gate o."""
    inner = round(float(options.get("expand", 1)) * d_model)
    result: dict[str, tuple[int, ...]] = {
        "in.weight": (4 * inner, d_model),
        "in.bias": (4 * inner,),
        "recurrent.weight": (4 * inner, inner),
    }
    if inner != d_model:
        result["out.weight"] = (d_model, inner)
    return result


def lstm(x: Array, params: Params, options: Options, segments: Array | None = None, direction: str = "causal") -> Array:
    """c_t = f_t c_{t-1} + i_t g_t, h_t = o_t tanh(c_t), c_0 = h_0 = 0; x and y [B,T,D].

    i_t, f_t, o_t = sigmoid(W x_t + R h_{t-1} + b) and g_t = tanh(W x_t + R h_{t-1} + b), each with its own rows.
    The option forget_bias is a matter of the initial bias only.
    """
    if direction != "causal":
        raise ValueError("lstm: the recurrence is causal only")
    batch, tokens, d_model = x.shape
    positions = document_positions(segments, batch, tokens)
    inner = params["recurrent.weight"].shape[1]
    hidden, cell = np.zeros((batch, tokens, inner)), np.zeros((batch, tokens, inner))
    for b in range(batch):
        for t in range(tokens):
            first = positions[b, t] == 0
            h_before = np.zeros(inner) if first else hidden[b, t - 1]
            c_before = np.zeros(inner) if first else cell[b, t - 1]
            u = linear(x[b, t], params["in.weight"], params["in.bias"]) + linear(h_before, params["recurrent.weight"])
            u_i, u_f, u_g, u_o = np.split(u, 4)
            cell[b, t] = sigmoid(u_f) * c_before + sigmoid(u_i) * np.tanh(u_g)
            hidden[b, t] = sigmoid(u_o) * np.tanh(cell[b, t])
    return linear(hidden, params["out.weight"]) if inner != d_model else hidden


# variant: (options, packed documents)
VARIANTS: dict[str, tuple[Options, bool]] = {
    "default": ({"expand": 1, "forget_bias": 1}, False),
    "expand2": ({"expand": 2, "forget_bias": 1}, False),
    "large_gates": ({"expand": 1, "forget_bias": 0}, False),
    "documents": ({"expand": 0.5, "forget_bias": 1}, True),
}

# Biases of i and f in large_gates, channel by channel: a gate shut, one open, a sum that never forgets, saturated tanh.
LARGE_INPUT_BIASES = [-100.0, 100.0, 20.0, 20.0, 0.0, 0.0, 100.0, 0.0]
LARGE_FORGET_BIASES = [100.0, -100.0, 20.0, 100.0, -20.0, 0.0, 100.0, 20.0]


def write(folder: Path) -> None:
    """Writes lstm.<variant>.safetensors for each variant."""
    for variant, (options, documents) in VARIANTS.items():
        x, params = draw_case(f"lstm.{variant}", shapes(options, D_MODEL))
        if variant == "large_gates":
            params["in.bias"][:D_MODEL] = LARGE_INPUT_BIASES
            params["in.bias"][D_MODEL : 2 * D_MODEL] = LARGE_FORGET_BIASES
        segments = packed_segments() if documents else None
        y = lstm(x, params, options, segments)
        write_golden(folder, "mixer", "lstm", variant, options, PAPER, x, y, params, segments)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
