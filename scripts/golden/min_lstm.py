"""minLSTM, an LSTM whose gates and candidate do not read the previous state (Feng et al. 2024, arXiv:2410.01201)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common import D_MODEL, GOLDEN_FOLDER, Array, Options, Params, draw_case, packed_segments, write_golden
from equations import document_positions, linear, log_sigmoid, short_conv, sigmoid
from min_gru import positive_candidate

PAPER = "Feng et al. 2024 (arXiv:2410.01201)"


def shapes(options: Options, d_model: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter; the rows of in.weight are the forget gate's, the input gate's, then h~'s."""
    inner = round(float(options.get("expand", 1)) * d_model)
    result: dict[str, tuple[int, ...]] = {}
    if options.get("conv"):
        result["conv.weight"] = (int(options["conv"]), d_model)
    result["in.weight"] = (3 * inner, d_model)
    if inner != d_model:
        result["out.weight"] = (d_model, inner)
    return result


def min_lstm(
    x: Array, params: Params, options: Options, segments: Array | None = None, direction: str = "causal"
) -> Array:
    """h_t = f'_t h_{t-1} + i'_t g(W_h x_t), h_0 = 0; x and y [B,T,D].

    f_t = sigmoid(W_f x_t), i_t = sigmoid(W_i x_t), f'_t = f_t / (f_t + i_t), i'_t = i_t / (f_t + i_t). The quotients
    are taken as f' = sigmoid(log f - log i) and i' = sigmoid(log i - log f), where f + i may be 0.
    """
    if direction != "causal":
        raise ValueError("min_lstm: the recurrence is causal only")
    batch, tokens, d_model = x.shape
    positions = document_positions(segments, batch, tokens)
    if options.get("conv"):
        x = short_conv(x, params["conv.weight"], positions)
    inner = params["in.weight"].shape[0] // 3
    w_f, w_i, w_h = np.split(params["in.weight"], 3)
    candidate = {"g": positive_candidate, "linear": lambda u: u}[options.get("candidate", "g")]
    hidden = np.zeros((batch, tokens, inner))
    for b in range(batch):
        for t in range(tokens):
            previous = np.zeros(inner) if positions[b, t] == 0 else hidden[b, t - 1]
            log_ratio = log_sigmoid(linear(x[b, t], w_f)) - log_sigmoid(linear(x[b, t], w_i))
            forget, write_strength = sigmoid(log_ratio), sigmoid(-log_ratio)
            hidden[b, t] = forget * previous + write_strength * candidate(linear(x[b, t], w_h))
    return linear(hidden, params["out.weight"]) if inner != d_model else hidden


# variant: (options, packed documents); the documents have the convolution too, which must not read across a border.
VARIANTS: dict[str, tuple[Options, bool]] = {
    "default": ({"expand": 1, "candidate": "g", "conv": 0}, False),
    "linear": ({"expand": 1, "candidate": "linear", "conv": 0}, False),
    "expand2": ({"expand": 2, "candidate": "g", "conv": 0}, False),
    "conv3": ({"expand": 1, "candidate": "g", "conv": 3}, False),
    "strong_gates": ({"expand": 1, "candidate": "g", "conv": 0}, False),
    "documents": ({"expand": 1, "candidate": "g", "conv": 3}, True),
}

# The factor on the rows of f and i in strong_gates: both gates are often below e^-100, whose sum is 0 in float32.
STRONG_GATES = 100.0


def write(folder: Path) -> None:
    """Writes min_lstm.<variant>.safetensors for each variant."""
    for variant, (options, documents) in VARIANTS.items():
        x, params = draw_case(f"min_lstm.{variant}", shapes(options, D_MODEL))
        if variant == "strong_gates":
            params["in.weight"][: 2 * D_MODEL] *= STRONG_GATES
        segments = packed_segments() if documents else None
        y = min_lstm(x, params, options, segments)
        write_golden(folder, "mixer", "min_lstm", variant, options, PAPER, x, y, params, segments)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
