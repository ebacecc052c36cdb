"""A residual block that reads the first stream again, as in karpathy/nanochat@92d63d4 (nanochat/gpt.py): x <- a x + b x_0
before the block, where x_0 is the stream as it enters the first layer of this kind."""

from __future__ import annotations

import residual as inner
from common import Array, Options, Params, Shapes, Variant
from residual import ATTENTION, MLP, TOKEN_SHIFT

KIND = "block"
PAPER = "none: a recipe of modded-nanogpt and nanochat"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    return {"stream_scale": (1,), "x0_scale": (1,)} | inner.shapes(options, d_model)


def x0_residual(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
    shelf: Params | None = None,
) -> Array:
    """a = stream_scale, b = x0_scale; x_0 is what is on the shelf, or else x as it comes in, which is left there."""
    x0 = (shelf if shelf is not None else {}).setdefault("x0", x)
    x = params["stream_scale"] * x + params["x0_scale"] * x0
    return inner.residual(x, params, options, segments, direction, layer, shelf)


VARIANTS = {
    "first": Variant({"mixer": ATTENTION, "ffn": MLP}),
    "later": Variant({"mixer": ATTENTION, "ffn": MLP}, shelf=("x0",)),
    "later_documents": Variant(
        {"mixer": ATTENTION, "ffn": TOKEN_SHIFT, "parallel": True, "norm_at": "after"}, documents=True, shelf=("x0",)
    ),
}
