"""Gradients of sum(seed y) by differences of fourth order, in float64, for equations that are smooth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from common import Array, Params

STEP = 1e-3  # the error is about STEP^4 of the fifth derivative and 1e-16 / STEP of the value
WEIGHTS = {1: 8 / 12, -1: -8 / 12, 2: -1 / 12, -2: 1 / 12}

Equation = Callable[[Params], Array]  # of "x" [B,T,D] and parameters; returns y [B,T,D]


def parameter_gradient(equation: Equation, values: Params, name: str, seed: Array) -> Array:
    """Returns the gradient by each number of values[name]."""
    gradient = np.zeros(values[name].shape)
    for place in np.ndindex(gradient.shape):
        for steps, weight in WEIGHTS.items():
            moved = values[name].copy()
            moved[place] += steps * STEP
            gradient[place] += weight / STEP * np.sum(seed * equation(values | {name: moved}))
    return gradient


def token_gradient(equation: Equation, values: Params, seed: Array) -> Array:
    """Returns the gradient by values["x"], where y of a token depends on nothing but its own x."""
    x = values["x"]
    gradient = np.zeros(x.shape)
    for d in range(x.shape[2]):
        for steps, weight in WEIGHTS.items():
            moved = x.copy()
            moved[:, :, d] += steps * STEP
            gradient[:, :, d] += weight / STEP * np.sum(seed * equation(values | {"x": moved}), axis=2)
    return gradient
