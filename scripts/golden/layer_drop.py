"""A residual block that samples skip in training (LayerSkip, Elhoushi et al. 2024, arXiv:2404.16710, section 4.1).

Out of training every sample takes it, which is what these values are of.
"""

from __future__ import annotations

from common import Variant
from residual import ATTENTION, MLP, residual, shapes

KIND = "block"
PAPER = "Elhoushi et al. 2024 (arXiv:2404.16710)"

__all__ = ["KIND", "PAPER", "VARIANTS", "layer_drop", "shapes"]

layer_drop = residual

VARIANTS = {"kept": Variant({"mixer": ATTENTION, "ffn": MLP, "rate": 0.9, "depth": "exp"})}
