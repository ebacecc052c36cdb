"""PEER: a few of n*n experts of a single neuron each, found by product keys (He 2024, arXiv:2407.04153).

The author's code is not public. From the paper: all heads share experts and keys (section 2), the scores of a head's
chosen experts pass a softmax (algorithm 1), experts have no biases, GELU or ReLU is between. Not from it: query_norm:
layer_norm, of each token's query of each head, stands for its batch norm, through which the tokens of a batch depend on
one another. Keys of its own for each head, which facebookresearch/XLM@cd281d3 (PKM-layer.ipynb, named by the paper for
the retrieval) and lucidrains/PEER-pytorch@6cb671f have, contradict its text.

Parameters, with n = keys sub-keys a side, H heads and queries of k = key_dim entries: "query.weight" [H*k,D], head by
head; "keys.weight" [2n,k/2], the sub-keys of a query's first half, then those of its second; expert i*n + j has the
i-th of the first and the j-th of the second, and is row i*n + j of "experts.up.weight" and of "experts.down.weight",
both [n*n,D]; with query_norm: layer_norm also "query_norm.weight" and "query_norm.bias" [H*k].
"""

from __future__ import annotations

from math import inf

import numpy as np

from common import Array, Options, Params, Shapes, Variant
from equations import layer_norm, softmax
from mlp import ACTIVATIONS
from moba import largest, refuse_ties

KIND = "ffn"
PAPER = "He 2024 (arXiv:2407.04153)"


def shapes(options: Options, d_model: int) -> Shapes:
    """Returns the shape of each parameter."""
    keys, key_dim = int(options["keys"]), int(options["key_dim"])
    queries = int(options["heads"]) * key_dim
    result: Shapes = {"query.weight": (queries, d_model), "keys.weight": (2 * keys, key_dim // 2)}
    if options.get("query_norm", "none") == "layer_norm":
        result |= {"query_norm.weight": (queries,), "query_norm.bias": (queries,)}
    return result | {"experts.up.weight": (keys**2, d_model), "experts.down.weight": (keys**2, d_model)}


def peer_margin(x: Array, params: Params, options: Options) -> tuple[Array, float]:
    """Returns (y [B,T,D], the smallest margin of a choice of experts or sub-keys).

    y = sum over the heads and their chosen experts of g_i f(u_i.x) v_i. Expert i*n + j scores q_1.c_i + q_2.c'_j; a head
    takes the top_k best of all n*n, all among the pairs of each side's top_k best; g is the softmax of their scores.
    """
    n, heads, key_dim, top_k = (int(options[key]) for key in ("keys", "heads", "key_dim", "top_k"))
    first, second = params["keys.weight"][:n], params["keys.weight"][n:]
    up, down = params["experts.up.weight"], params["experts.down.weight"]
    activation = ACTIVATIONS[options.get("activation", "gelu")]
    y, smallest = np.zeros_like(x), inf
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for h in range(heads):
                own = slice(h * key_dim, (h + 1) * key_dim)
                query = params["query.weight"][own] @ x[b, t]
                if options.get("query_norm", "none") == "layer_norm":
                    query = layer_norm(query, params["query_norm.weight"][own], params["query_norm.bias"][own], 1e-5)
                sides = first @ query[: key_dim // 2], second @ query[key_dim // 2 :]
                scores = [float(sides[0][i] + sides[1][j]) for i in range(n) for j in range(n)]
                chosen, margin = largest(scores, top_k)
                smallest = min([smallest, margin] + [largest(list(side), top_k)[1] for side in sides])
                for expert, gate in zip(chosen, softmax(np.array([scores[i] for i in chosen]))):
                    y[b, t] += gate * activation(np.dot(up[expert], x[b, t])) * down[expert]
    return y, smallest


def peer(x: Array, params: Params, options: Options) -> Array:
    """Returns y [B,T,D] of peer_margin."""
    return peer_margin(x, params, options)[0]


def check(x: Array, params: Params, options: Options, segments: Array | None) -> None:
    """Refuses a case whose choices are nearly ties."""
    refuse_ties(peer_margin(x, params, options)[1])


NORM = {"keys": 4, "heads": 3, "key_dim": 4, "top_k": 2, "query_norm": "layer_norm", "activation": "relu"}

VARIANTS = {
    "default": Variant({"keys": 5, "heads": 2, "key_dim": 6, "top_k": 3}),
    "query_norm": Variant(NORM),
    "one_head": Variant({"keys": 3, "heads": 1, "key_dim": 2, "top_k": 9, "activation": "silu"}),
    "top1": Variant({"keys": 6, "heads": 4, "key_dim": 4, "top_k": 1}),
}
