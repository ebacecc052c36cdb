"""Early exits: how much the loss of each layer's exit weighs, and which exits a step has.

Elhoushi et al. 2024, arXiv:2404.16710, section 4.1.2; pytorch/torchtune@bd2a0fc (torchtune/modules/early_exit_loss.py)
for the order of the curricula. Not as in that code: its weights grow otherwise than the paper's e(l), which count here;
its gradual curriculum looks at the progress of the step before; and the last layer is on where the curricula of the
paper would leave it out, as its train_last_layer has it. `python3 scripts/golden/early_exit.py` writes the golden files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Options
from tensor_file import write_safetensors

PAPER = "Elhoushi et al. 2024, arXiv:2404.16710"
HORIZON = 100  # steps of the whole run
SOME_STEPS = [0, 1, 50, 99]
GRADUAL_STEPS = [0, 9, 10, 11, 19, 20, 30, 40, 49, 50, 99]
TWO_ROUNDS = [*range(14), 1_000_003]


def grown(layer: int, layers: int, scale: float) -> float:
    """Returns e(l): scale (0 + 1 + .. + l), of the last layer L - 1 + scale (0 + 1 + .. + L-2)."""
    if layer < layers - 1:
        return scale * sum(range(layer + 1))
    return layers - 1 + scale * sum(range(layers - 1))


def exits(step: int, progress: float, layers: int, options: Options) -> list[bool]:
    """Returns C(t, l), whether layer l's exit has a loss in this step; the last layer's always has.

    rotational: the layers 0, R, 2R .. of step 0, each moved on by one place round the circle of all layers in each step.
    gradual: one layer more, from the last to the first, in every 1/(2L) of the run.
    """
    curriculum = options.get("curriculum", "none")
    on = [True] * layers
    if curriculum == "rotational":
        every = int(options.get("every", max(1, layers - 1)))
        on = [False] * layers
        for first in range(0, layers, every):
            on[(first + step) % layers] = True
    elif curriculum == "gradual":
        on = [progress >= (layers - layer) / (2 * layers) for layer in range(layers)]
    on[layers - 1] = True
    return on


def weights(step: int, progress: float, layers: int, options: Options) -> list[float]:
    """Returns C(t, l) e(l) / sum_i C(t, i) e(i) of each layer; the only layer of a model, whose e is 0, has 1."""
    on = exits(step, progress, layers, options)
    each = [on[layer] * grown(layer, layers, float(options.get("scale", 0.0))) for layer in range(layers)]
    return [e / sum(each) for e in each] if layers > 1 else [1.0]


# variant: (layers, early_exit, steps).
CASES: dict[str, tuple[int, Options, list[int]]] = {
    "none": (6, {"scale": 0.2, "curriculum": "none"}, SOME_STEPS),
    "full": (6, {"scale": 1, "curriculum": "none"}, SOME_STEPS),
    "rotational": (6, {"scale": 0.2, "curriculum": "rotational", "every": 4}, TWO_ROUNDS),
    "rotational_default": (5, {"scale": 0.2, "curriculum": "rotational"}, TWO_ROUNDS),
    "every_step": (6, {"scale": 0.5, "curriculum": "rotational", "every": 1}, TWO_ROUNDS),
    "every_beyond": (4, {"scale": 0.5, "curriculum": "rotational", "every": 9}, TWO_ROUNDS),
    "rotational_24": (24, {"scale": 0.2, "curriculum": "rotational", "every": 23}, [*range(50), 1_000_003]),
    "gradual": (5, {"scale": 0.5, "curriculum": "gradual"}, GRADUAL_STEPS),
    "gradual_7": (7, {"scale": 1, "curriculum": "gradual"}, [*range(0, 60), 99]),
    "one_layer": (1, {"scale": 0.2, "curriculum": "none"}, SOME_STEPS),
    "two_layers": (2, {"scale": 0.7, "curriculum": "rotational", "every": 1}, TWO_ROUNDS),
    "scale_0": (6, {"scale": 0, "curriculum": "none"}, TWO_ROUNDS),
}


def write(folder: Path) -> None:
    """Writes early_exit.<variant>.safetensors: step and progress [K], weights [K,L] of K steps."""
    for variant, (layers, early_exit, steps) in CASES.items():
        progress = [step / HORIZON for step in steps if step < HORIZON] + [0.99 for step in steps if step >= HORIZON]
        rows = [weights(step, at, layers, early_exit) for step, at in zip(steps, progress)]
        tensors = {"step": np.array(steps, np.int64), "progress": np.array(progress), "weights": np.array(rows)}
        options: dict[str, Any] = {"type": "next_token", "early_exit": early_exit}
        metadata = {"kind": "objective", "name": "early_exit", "paper": PAPER, "layers": str(layers)}
        metadata["options"] = flow_yaml(options)
        write_safetensors(folder / f"early_exit.{variant}.safetensors", tensors, metadata)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
