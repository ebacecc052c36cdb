"""Mixture of block attention: each query attends to its own block and to the past blocks whose mean key it likes best.

Lu et al. 2025 (arXiv:2502.13189), section 2.2.
"""

from __future__ import annotations

import numpy as np

from attention import rotate
from common import Array, Options, Params, Shapes, Variant
from equations import attend, document_positions, linear

PAPER = "Lu et al. 2025 (arXiv:2502.13189)"

# The least difference between the scores of a chosen and of a rejected block that a golden file may have.
LEAST_MARGIN = 1e-6


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; the rows of qkv are q, then k, then v."""
    return {"qkv.weight": (3 * d_model, d_model), "out.weight": (d_model, d_model)}


def largest(scores: list[float], count: int) -> tuple[list[int], float]:
    """Returns the indices of the count largest scores, ties to the lowest index, and their margin.

    The margin is the least chosen score minus the largest rejected one; infinite if none is rejected or none chosen.
    """
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    chosen, rejected = order[:count], order[count:]
    margin = scores[chosen[-1]] - scores[rejected[0]] if chosen and rejected else float("inf")
    return sorted(chosen), margin


def moba_margin(x: Array, params: Params, options: Options, segments: Array | None = None) -> tuple[Array, float]:
    """Returns (y [B,T,D], the smallest margin between the scores of chosen and rejected blocks).

    Of the completed blocks the top_k - 1 with the largest q.mean(K_block) are chosen, the query's own block always is;
    y = W_o [softmax(q.k / sqrt(dh)) v] over the tokens of those blocks that are not after the query.
    """
    batch, tokens, d_model = x.shape
    heads, block, top_k = int(options["heads"]), int(options.get("block", 64)), int(options.get("top_k", 3))
    theta, dh = float(options.get("rope_theta", 10000.0)), d_model // int(options["heads"])
    positions = document_positions(segments, batch, tokens)
    q, k, v = np.split(linear(x, params["qkv.weight"]), 3, axis=-1)
    mixed = np.zeros((batch, tokens, d_model))
    smallest = float("inf")
    for b in range(batch):
        for h in range(heads):
            own = slice(h * dh, (h + 1) * dh)
            for t in range(tokens):
                place = int(positions[b, t])
                start = t - place
                query = rotate(q[b, t, own], place, theta)
                # Keys and values of the document up to this token, at their positions inside the document.
                keys = [rotate(k[b, start + p, own], p, theta) for p in range(place + 1)]
                values = [v[b, start + p, own] for p in range(place + 1)]
                completed = place // block
                means = [np.mean(keys[i * block : (i + 1) * block], axis=0) for i in range(completed)]
                chosen, margin = largest([float(np.dot(query, mean)) for mean in means], top_k - 1)
                smallest = min(smallest, margin)
                visible = [p for p in range(place + 1) if p // block == completed or p // block in chosen]
                visible_keys, visible_values = [keys[p] for p in visible], [values[p] for p in visible]
                mixed[b, t, own], _ = attend(query, visible_keys, visible_values, dh**-0.5)
    return linear(mixed, params["out.weight"]), smallest


def moba(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """Returns y [B,T,D] of moba_margin."""
    return moba_margin(x, params, options, segments)[0]


def refuse_ties(margin: float) -> None:
    """Raises FloatingPointError where a choice is nearly a tie, which rounding could decide otherwise."""
    if margin < LEAST_MARGIN:
        raise FloatingPointError(f"a choice is nearly a tie, {margin:.3g}")


def check(x: Array, params: Params, options: Options, segments: Array | None) -> None:
    """Refuses a case whose choices are nearly ties."""
    refuse_ties(moba_margin(x, params, options, segments)[1])


VARIANTS = {
    "top2": Variant({"heads": 2, "block": 4, "top_k": 2}),
    "top3": Variant({"heads": 2, "block": 4, "top_k": 3}),
    "own_block_only": Variant({"heads": 2, "block": 4, "top_k": 1}),
    "all_blocks": Variant({"heads": 2, "block": 4, "top_k": 8}),
    "block_of_three": Variant({"heads": 4, "block": 3, "top_k": 4, "rope_theta": 100}),
    "documents": Variant({"heads": 2, "block": 4, "top_k": 2}, documents=True),
    "documents_top3": Variant({"heads": 2, "block": 3, "top_k": 3}, documents=True),
}
