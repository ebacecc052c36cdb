"""The pre-norm residual block (Xiong et al. 2020, arXiv:2002.04745, figure 1b)."""

from __future__ import annotations

from common import Array, Options, Params, Shapes, Variant
from equations import normalize
from mechanisms import branch_shapes, run_branch

KIND = "block"
PAPER = "Xiong et al. 2020 (arXiv:2002.04745)"

NORM: Options = {"type": "rms_norm", "eps": 1e-5}
BRANCHES = ("mixer", "ffn")


def branches(options: Options) -> dict[str, Options]:
    """Returns the options of the mixer and, unless it is none, of the channel mixer."""
    return {name: options[name] for name in BRANCHES if options.get(name) not in (None, False, "none")}


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    result: Shapes = {}
    for name, branch in branches(options).items():
        if options.get("norm", NORM).get("weight", True):
            result[f"{name}_norm.weight"] = (d_model,)
        if options.get("norm", NORM).get("bias"):
            result[f"{name}_norm.bias"] = (d_model,)
        result |= branch_shapes(branch, d_model, name)
    return result


def residual(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
    shelf: Params | None = None,
) -> Array:
    """x += mixer(norm(x)), then x += ffn(norm(x)); x and y [B,T,D]."""
    for name, branch in branches(options).items():
        normed = normalize(x, params, f"{name}_norm", NORM | options.get("norm", {}))
        x = x + run_branch(normed, params, name, branch, segments, direction, layer, shelf)
    return x


ATTENTION: Options = {"type": "attention", "heads": 2, "window": 5, "position": "rope"}
MLP: Options = {"type": "mlp", "expand": 2}
LAYER_NORM: Options = {"type": "layer_norm", "bias": True, "eps": 0.1}

VARIANTS = {
    "both": Variant({"mixer": ATTENTION, "ffn": MLP}),
    "mixer_alone": Variant({"mixer": ATTENTION | {"sinks": 1}, "ffn": "none", "norm": LAYER_NORM}),
    "plain_layer_norm": Variant({"mixer": ATTENTION, "ffn": MLP, "norm": {"type": "layer_norm", "weight": False}}),
    "plain_rms_norm": Variant({"mixer": ATTENTION, "ffn": MLP, "norm": {"type": "rms_norm", "weight": False}}),
    "documents": Variant({"mixer": ATTENTION, "ffn": {"type": "rwkv_channel_mix"}, "norm": LAYER_NORM}, documents=True),
}
