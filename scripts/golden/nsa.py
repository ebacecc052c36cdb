"""Native sparse attention: compressed blocks, the most important whole blocks and a window, summed by gates.

Yuan et al. 2025 (arXiv:2502.11089), section 3.3.
"""

from __future__ import annotations

import numpy as np

from attention import head_sizes, rotate
from common import Array, Options, Params, Shapes, Variant
from equations import attend, document_positions, gelu, linear, sigmoid
from moba import largest, refuse_ties

PAPER = "Yuan et al. 2025 (arXiv:2502.11089)"
BRANCHES = ("cmp", "slc", "win")


def block_sizes(options: Options) -> tuple[int, int, int, int]:
    """Returns (compression block l, its stride d, selection block l', window)."""
    compress, stride = int(options.get("compress_block", 32)), int(options.get("compress_stride", 16))
    return compress, stride, int(options.get("select_block", 64)), int(options.get("window", 512))


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter; rows of kv: k, v of cmp, of slc, of win; rows of gate: cmp, slc, win."""
    heads, kv_heads, dh = head_sizes(options | {"kv_heads": options.get("kv_heads", 1)}, d_model)
    compress, hidden = block_sizes(options)[0], int(options.get("compress_hidden") or 2 * dh)
    result: Shapes = {
        "q.weight": (heads * dh, d_model),
        "kv.weight": (6 * kv_heads * dh, d_model),
    }
    for name in ("compress_k", "compress_v"):
        result[f"{name}.position"] = (compress, dh)
        result[f"{name}.up.weight"] = (hidden, compress * dh)
        result[f"{name}.up.bias"] = (hidden,)
        result[f"{name}.down.weight"] = (dh, hidden)
        result[f"{name}.down.bias"] = (dh,)
    return result | {"gate.weight": (3 * heads, d_model), "out.weight": (d_model, heads * dh)}


def compressed(rows: Array, params: Params, name: str) -> Array:
    """One vector [dh] for the l rows [l,dh] of a block: W_2 gelu(W_1 flatten(rows + position) + b_1) + b_2."""
    flat = (rows + params[f"{name}.position"]).reshape(-1)
    inner = gelu(linear(flat, params[f"{name}.up.weight"], params[f"{name}.up.bias"]))
    return linear(inner, params[f"{name}.down.weight"], params[f"{name}.down.bias"])


def importance(p_cmp: Array, block: int, compress: int, stride: int, select: int) -> float:
    """Equation 9 for selection block number `block`, all indices from 0; what lies outside of p_cmp counts nothing.

    sum over m < l'/d and n < l/d of p_cmp[(l'/d) block + m + n - (l/d - 1)], which is the paper's
    p_cmp[(l'/d) J - m - n] with blocks numbered from 1: each compressed block, as often as it shares a stride's piece.
    """
    total = 0.0
    for m in range(select // stride):
        for n in range(compress // stride):
            index = (select // stride) * block + m + n - (compress // stride - 1)
            if 0 <= index < len(p_cmp):
                total += float(p_cmp[index])
    return total


def select_blocks(scores: list[float], own: int, count: int) -> tuple[set[int], float]:
    """Returns (count of the blocks 0..own, margin): the first, the own and the one before, then by their scores."""
    forced = {0, max(own - 1, 0), own}
    if count < len(forced):
        raise ValueError(f"nsa: select: {count} is less than the {len(forced)} blocks that are always selected")
    others = [block for block in range(own + 1) if block not in forced]
    chosen, margin = largest([scores[block] for block in others], count - len(forced))
    return forced | {others[i] for i in chosen}, margin


def nsa_margin(x: Array, params: Params, options: Options, segments: Array | None = None) -> tuple[Array, float]:
    """Returns (y [B,T,D], the smallest margin between the importances of chosen and rejected blocks).

    o_t = sum_c g_c Attn(q_t, K_c, V_c) over c of cmp, slc, win, g = sigmoid(W_g x_t) per head (equation 5).
    q and k have RoPE in slc and win, not in cmp; scores are divided by sqrt(dh) in all three.
    """
    batch, tokens, d_model = x.shape
    heads, kv_heads, dh = head_sizes(options | {"kv_heads": options.get("kv_heads", 1)}, d_model)
    compress, stride, select, window = block_sizes(options)
    count, theta, scale = int(options.get("select", 16)), float(options.get("rope_theta", 10000.0)), dh**-0.5
    positions = document_positions(segments, batch, tokens)
    q = linear(x, params["q.weight"]).reshape(batch, tokens, heads, dh)
    kv = linear(x, params["kv.weight"]).reshape(batch, tokens, len(BRANCHES), 2, kv_heads, dh)
    gates = sigmoid(linear(x, params["gate.weight"])).reshape(batch, tokens, len(BRANCHES), heads)
    mixed = np.zeros((batch, tokens, heads, dh))
    smallest = float("inf")
    for b in range(batch):
        for t in range(tokens):
            place = int(positions[b, t])
            start = t - place
            for g in range(kv_heads):
                group = [h for h in range(heads) if h * kv_heads // heads == g]
                # Rows of the document up to this token, at their positions inside the document.
                (k_cmp, v_cmp), (k_slc, v_slc), (k_win, v_win) = (
                    (kv[b, start : t + 1, c, 0, g], kv[b, start : t + 1, c, 1, g]) for c in range(len(BRANCHES))
                )
                starts = [i for i in range(0, place + 1, stride) if i + compress - 1 <= place]
                block_k = [compressed(k_cmp[i : i + compress], params, "compress_k") for i in starts]
                block_v = [compressed(v_cmp[i : i + compress], params, "compress_v") for i in starts]
                own = place // select
                scores = [0.0] * (own + 1)
                if starts:
                    for h in group:
                        o_cmp, p_cmp = attend(q[b, t, h], block_k, block_v, scale)
                        mixed[b, t, h] += gates[b, t, 0, h] * o_cmp
                        for block in range(own + 1):
                            scores[block] += importance(p_cmp, block, compress, stride, select)
                chosen, margin = select_blocks(scores, own, count)
                smallest = min(smallest, margin)
                seen_slc = [p for p in range(place + 1) if p // select in chosen]
                seen_win = [p for p in range(place + 1) if place - p < window]
                for h in group:
                    query = rotate(q[b, t, h], place, theta)
                    for c, keys, values, seen in ((1, k_slc, v_slc, seen_slc), (2, k_win, v_win, seen_win)):
                        turned = [rotate(keys[p], p, theta) for p in seen]
                        o, _ = attend(query, turned, [values[p] for p in seen], scale)
                        mixed[b, t, h] += gates[b, t, c, h] * o
    return linear(mixed.reshape(batch, tokens, heads * dh), params["out.weight"]), smallest


def nsa(x: Array, params: Params, options: Options, segments: Array | None = None) -> Array:
    """Returns y [B,T,D] of nsa_margin."""
    return nsa_margin(x, params, options, segments)[0]


TINY: Options = {
    "heads": 2, "kv_heads": 1, "head_dim": 4, "compress_block": 4, "compress_stride": 2, "compress_hidden": 3,
    "select_block": 4, "select": 4, "window": 5,
}
TWO_GROUPS: Options = TINY | {"heads": 4, "kv_heads": 2}

def check(x: Array, params: Params, options: Options, segments: Array | None) -> None:
    """Refuses a case whose choices are nearly ties."""
    refuse_ties(nsa_margin(x, params, options, segments)[1])


VARIANTS = {
    "select4": Variant(TINY),
    "forced_only": Variant(TINY | {"select": 3}),
    "kv_heads2": Variant(TWO_GROUPS | {"rope_theta": 100}),
    "kv_heads2_select5": Variant(TWO_GROUPS | {"select": 5, "window": 1}),
    "one_head_each": Variant(TINY | {"kv_heads": 2}),
    "overlap_of_three": Variant(TINY | {"compress_block": 6, "select_block": 4, "compress_hidden": 5}),
    "no_overlap": Variant(TINY | {"compress_block": 2}),
    "long_compress": Variant(TINY | {"compress_block": 8, "compress_stride": 4, "window": 64}),
    "documents": Variant(TINY | {"select_block": 2}, documents=True),
    "documents_kv_heads2": Variant(TWO_GROUPS | {"compress_block": 2, "select_block": 2}, documents=True),
}
