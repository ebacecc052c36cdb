"""Several tokens predicted at once: a small model with heads for further tokens, its logits, targets and losses.

form: parallel is Gloeckle et al. 2024, arXiv:2404.19737, section 2, as the authors released it (Hugging Face,
facebook/multi-token-prediction, llama/model.py): each head is a block of its own that reads what the last layer reads,
and all share the last norm and the output matrix. form: sequential is DeepSeek-AI 2024, arXiv:2412.19437, section 2.2,
equations 21 to 25: each module reads the one before, and the token that this one predicts. vllm-project/vllm@03356f8
(vllm/model_executor/models/deepseek_mtp.py) and NVIDIA/Megatron-LM@00611e6 (megatron/core/transformer/
multi_token_prediction.py) run such modules; they have the embedding before the representation where the paper, and
these values, have it behind, and a norm of each module's own before the output matrix, which the paper leaves out.
`python3 scripts/golden/multi_token.py` writes the golden files.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Array, Options, Params, Shapes, draw_params, spread_norms
from equations import linear, rms_norm, softmax
from mechanisms import branch_shapes, run_branch
from tensor_file import write_safetensors

PAPERS = {
    "parallel": "Gloeckle et al. 2024, arXiv:2404.19737",
    "sequential": "DeepSeek-AI 2024, arXiv:2412.19437",
}
VOCAB, D_MODEL, TOKENS, TEXT, IGNORED, EPS = 11, 8, 7, 30, -1, 1e-5
BEGINS = (2, 15)
# A document of a token, borders inside a row and just after one, and one that only a row's last targets reach.
STARTS = (0, 5, 6, 10, 17, 22)

NORM: Options = {"type": "rms_norm", "eps": "0.00001"}
MLP: Options = {"type": "mlp", "expand": 2}
FIRST: Options = {"mixer": {"type": "min_gru", "expand": 1, "candidate": "g", "conv": 3}, "ffn": MLP, "norm": NORM}
LAST: Options = {"mixer": {"type": "attention", "heads": 2, "position": "rope"}, "ffn": MLP, "norm": NORM}


def shapes(model: Options, options: Options) -> Shapes:
    """Returns the shape of each parameter of the model and of its heads, of which the first has none."""
    d = model["d_model"]
    result: Shapes = {"embedding.weight": (VOCAB, d), "final_norm.weight": (d,)}
    if not model["tie_embeddings"]:
        result["head.weight"] = (VOCAB, d)
    for i, layer in enumerate(model["layers"]):
        result |= branch_shapes({"type": "residual"} | layer, d, f"layers.{i}")
    for k in range(2, options["tokens"] + 1):
        result |= branch_shapes({"type": "residual"} | model["layers"][-1], d, f"heads.{k}.block")
        if options["form"] == "sequential":
            norms = (f"heads.{k}.{name}.weight" for name in ("hidden_norm", "token_norm", "final_norm"))
            result |= {name: (d,) for name in norms} | {f"heads.{k}.projection.weight": (d, 2 * d)}
    return result


def run_block(x: Array, params: Params, name: str, layer: Options, segments: Array) -> Array:
    """Returns the stream [B,T,D] behind the residual block called name."""
    return run_branch(x, params, name, {"type": "residual"} | layer, segments, "causal", 0, {})


def all_logits(params: Params, model: Options, options: Options, text: Array, segments: Array) -> Array:
    """Returns the logits [n,B,T,V] of every head; segments [B,T] are the documents of the inputs.

    parallel: head k's stream is block_k(z) with z what the last layer reads. sequential: h_1 is the last layer's output,
    and h_k = block_k(M_k [norm(h_{k-1}); norm(E(x_{i+k-1}))]) at place i.
    """

    def unembed(stream: Array, norm: str) -> Array:
        table = params["embedding.weight" if model["tie_embeddings"] else "head.weight"]
        return linear(rms_norm(stream, params[norm], EPS), table)

    table, layers = params["embedding.weight"], model["layers"]
    trunk = np.stack([table[text[begin : begin + TOKENS]] for begin in BEGINS])
    for i, layer in enumerate(layers[:-1]):
        trunk = run_block(trunk, params, f"layers.{i}", layer, segments)
    stream = run_block(trunk, params, f"layers.{len(layers) - 1}", layers[-1], segments)
    logits = [unembed(stream, "final_norm.weight")]
    for k in range(2, options["tokens"] + 1):
        head = f"heads.{k}"
        if options["form"] == "parallel":
            stream, norm = run_block(trunk, params, f"{head}.block", layers[-1], segments), "final_norm.weight"
        else:
            ahead = np.stack([table[text[begin + k - 1 : begin + k - 1 + TOKENS]] for begin in BEGINS])
            before = rms_norm(stream, params[f"{head}.hidden_norm.weight"], EPS)
            token = rms_norm(ahead, params[f"{head}.token_norm.weight"], EPS)
            joined = linear(np.concatenate([before, token], axis=-1), params[f"{head}.projection.weight"])
            stream, norm = run_block(joined, params, f"{head}.block", layers[-1], segments), f"{head}.final_norm.weight"
        logits.append(unembed(stream, norm))
    return np.stack(logits)


def target(text: Array, starts: tuple[int, ...], place: int, k: int) -> int:
    """Returns the token k places after a place of the text, or IGNORED where a document begins between them."""
    crossed = any(place < start <= place + k for start in starts)
    return IGNORED if crossed else int(text[place + k])


# variant: (options, whether documents are told apart, whether the output matrix is the embedding).
CASES: dict[str, tuple[Options, bool, bool]] = {
    "parallel": ({"tokens": 3, "form": "parallel", "weight": 1}, False, True),
    "sequential": ({"tokens": 3, "form": "sequential", "weight": 0.3}, False, True),
    "parallel_documents": ({"tokens": 3, "form": "parallel", "weight": 0.5}, True, True),
    "sequential_documents": ({"tokens": 3, "form": "sequential", "weight": 0.1}, True, True),
    "one": ({"tokens": 1, "form": "parallel"}, False, True),
    "untied": ({"tokens": 2, "form": "sequential", "weight": 0.3}, False, False),
}


def write(folder: Path) -> None:
    """Writes multi_token.<variant>.safetensors: "param.<name>", text [N], begins [B], starts [S]; of each head targets
    [n,B,T], logits [n,B,T,V] and loss [n], the sum of -log p of its targets."""
    for variant, (options, documents, tied) in CASES.items():
        rng = np.random.default_rng(zlib.crc32(f"multi_token.{variant}".encode()))
        model: Options = {"d_model": D_MODEL, "tie_embeddings": tied, "layers": [FIRST, LAST]}
        params = draw_params(rng, shapes(model, options))
        final_norm = params.pop("final_norm.weight")  # drawn as a norm already
        spread_norms(params)
        params["final_norm.weight"] = final_norm
        text = rng.integers(0, VOCAB, TEXT).astype(np.int32)
        starts = STARTS if documents else ()
        rows = [range(begin, begin + TOKENS) for begin in BEGINS]
        segments = np.array([[sum(start <= place for start in starts) for place in row] for row in rows])
        heads = range(1, options["tokens"] + 1)
        targets = np.array([[[target(text, starts, place, k) for place in row] for row in rows] for k in heads])
        logits = all_logits(params, model, options, text, segments)
        loss = np.zeros(len(heads))
        for k, b, i in np.ndindex(*targets.shape):
            if targets[k, b, i] != IGNORED:
                loss[k] -= np.log(softmax(logits[k, b, i])[targets[k, b, i]])
        tensors: Params = {f"param.{name}": value for name, value in params.items()}
        tensors |= {"text": text, "begins": np.array(BEGINS, np.int64), "starts": np.array(starts, np.int64)}
        tensors |= {"targets": targets.astype(np.int32), "logits": logits, "loss": loss}
        metadata = {"kind": "objective", "name": "multi_token", "paper": PAPERS[options["form"]]}
        metadata |= {"options": flow_yaml({"type": "multi_token"} | options), "model": flow_yaml(model)}
        write_safetensors(folder / f"multi_token.{variant}.safetensors", tensors, metadata)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
