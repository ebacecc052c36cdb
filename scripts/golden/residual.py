"""The residual block: pre-norm (Xiong et al. 2020, arXiv:2002.04745, figure 1b), and what later models changed in it.

With `cross` a branch between the two others reads what an encoder made (cross_attention.py), as in the decoder of
Vaswani et al. 2017 and, in this order, of T5. parallel: true is GPT-NeoX's (Black et al. 2022, arXiv:2204.06745;
EleutherAI/gpt-neox@ea7aefd, which says that the second norm was not meant, and keeps it), norm_at: after that of OLMo 2
(arXiv:2501.00656), both the sandwich of CogView (Ding et al. 2021, arXiv:2105.13290) and Gemma 2 (arXiv:2408.00118).
"""

from __future__ import annotations

from common import Array, Options, Params, Shapes, Variant
from cross_attention import cross_attention, cross_shapes
from equations import normalize
from mechanisms import below, branch_shapes, run_branch

KIND = "block"
PAPER = "Xiong et al. 2020 (arXiv:2002.04745)"

NORM: Options = {"type": "rms_norm", "eps": 1e-5}
BRANCHES = ("mixer", "cross", "ffn")
NORM_NAMES = {"before": ("norm",), "after": ("post_norm",), "both": ("norm", "post_norm")}


def branches(options: Options) -> dict[str, Options]:
    """Returns the options of the mixer and, unless they are none, of cross-attention and of the channel mixer."""
    return {name: options[name] for name in BRANCHES if options.get(name) not in (None, False, "none")}


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    result: Shapes = {}
    for name, branch in branches(options).items():
        for norm in NORM_NAMES[options.get("norm_at", "before")]:
            if options.get("norm", NORM).get("weight", True):
                result[f"{name}_{norm}.weight"] = (d_model,)
            if options.get("norm", NORM).get("bias"):
                result[f"{name}_{norm}.bias"] = (d_model,)
        if name == "cross":
            result |= {f"cross.{key}": shape for key, shape in cross_shapes(branch, d_model).items()}
        else:
            result |= branch_shapes(branch, d_model, name)
    return result


def contribution(
    x: Array,
    params: Params,
    name: str,
    options: Options,
    segments: Array | None,
    direction: str,
    layer: int,
    shelf: Params | None,
    positions: Array | None = None,
) -> Array:
    """f(norm(x)) of the branch called name; norm_at: after has norm(f(x)), both norm(f(norm(x))); x and f [B,T,D]."""
    norm, norms = NORM | options.get("norm", {}), NORM_NAMES[options.get("norm_at", "before")]
    if "norm" in norms:
        x = normalize(x, params, f"{name}_norm", norm)
    if name == "cross":
        given = {} if shelf is None else shelf
        f = cross_attention(x, given["memory"], given.get("memory_lengths"), below(params, "cross"), options["cross"])
    else:
        f = run_branch(x, params, name, options[name], segments, direction, layer, shelf, positions)
    return normalize(f, params, f"{name}_post_norm", norm) if "post_norm" in norms else f


def residual(
    x: Array,
    params: Params,
    options: Options,
    segments: Array | None = None,
    direction: str = "causal",
    layer: int = 0,
    shelf: Params | None = None,
) -> Array:
    """x += mixer(norm(x)), then x += ffn(norm(x)), and between them x += cross(norm(x), memory); x and y [B,T,D].

    parallel: y = x + mixer(norm_m(x)) + cross(norm_c(x), memory) + ffn(norm_f(x)).
    """
    y = x
    for name in branches(options):
        read = x if options.get("parallel") else y
        y = y + contribution(read, params, name, options, segments, direction, layer, shelf)
    return y


ATTENTION: Options = {"type": "attention", "heads": 2, "window": 5, "position": "rope"}
MLP: Options = {"type": "mlp", "expand": 2}
CROSS: Options = {"type": "attention", "heads": 2}
WIDE: Options = {"heads": 4, "kv_heads": 2, "head_dim": 3, "qk_norm": True, "bias": True}
TOKEN_SHIFT: Options = {"type": "rwkv_channel_mix"}
LAYER_NORM: Options = {"type": "layer_norm", "bias": True, "eps": 0.1}

VARIANTS = {
    "both": Variant({"mixer": ATTENTION, "ffn": MLP}),
    "mixer_alone": Variant({"mixer": ATTENTION | {"sinks": 1}, "ffn": "none", "norm": LAYER_NORM}),
    "plain_layer_norm": Variant({"mixer": ATTENTION, "ffn": MLP, "norm": {"type": "layer_norm", "weight": False}}),
    "plain_rms_norm": Variant({"mixer": ATTENTION, "ffn": MLP, "norm": {"type": "rms_norm", "weight": False}}),
    "documents": Variant({"mixer": ATTENTION, "ffn": TOKEN_SHIFT, "norm": LAYER_NORM}, documents=True),
    "parallel": Variant({"mixer": ATTENTION, "ffn": MLP, "parallel": True}),
    "norm_after": Variant({"mixer": ATTENTION, "ffn": TOKEN_SHIFT, "norm_at": "after"}, documents=True),
    "cross": Variant({"mixer": ATTENTION, "cross": CROSS, "ffn": MLP}, memory=5),
    "cross_lengths": Variant(
        {"mixer": ATTENTION, "cross": {"type": "attention", "heads": 4, "kv_heads": 1, "qk_norm": True}, "ffn": MLP},
        memory=33,
        memory_lengths=(33, 1),
    ),
    "cross_after": Variant(
        {"mixer": ATTENTION, "cross": CROSS | {"bias": True}, "ffn": TOKEN_SHIFT, "norm_at": "after"},
        documents=True,
        memory=5,
    ),
    "cross_parallel": Variant(
        {"mixer": ATTENTION, "cross": CROSS | WIDE, "ffn": MLP, "parallel": True, "norm_at": "both", "norm": LAYER_NORM},
        memory=7,
        memory_lengths=(4, 7),
    ),
    "cross_alone": Variant({"mixer": ATTENTION, "cross": {"type": "attention"}, "ffn": "none"}, memory=5),
    "norm_both": Variant({"mixer": ATTENTION, "ffn": MLP, "norm_at": "both", "norm": LAYER_NORM}),
    "norm_both_alone": Variant({"mixer": ATTENTION, "ffn": "none", "norm_at": "both"}),
    "parallel_norm_both": Variant(
        {"mixer": ATTENTION, "ffn": TOKEN_SHIFT, "parallel": True, "norm_at": "both", "norm": LAYER_NORM},
        documents=True,
    ),
}
