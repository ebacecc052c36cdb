"""Recomputes a language model in float64 and compares with stored logits.

    python3 scripts/golden/model_logits.py MODEL.safetensors LOGITS.safetensors [--direction bidirectional]

MODEL holds the weights and, as metadata "config_yaml", the resolved config; LOGITS holds "tokens" [B,T] and "logits"
[B,T,Q], optionally "segments" [B,T]. Exit code 0: they agree; 1: they do not; 2: a file cannot be used.
The largest difference allowed is 1e-5 * max(1, rms of the logits).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import yaml
except ImportError as error:
    print(f"error: there is no Python module {error.name}: apt-get install python3-numpy python3-yaml", file=sys.stderr)
    sys.exit(2)

from common import Array, Params
from equations import document_positions, linear, normalize
from mechanisms import module, run_branch
from tensor_file import read_safetensors

Config = dict[str, Any]

TOLERANCE = 1e-5

# Keys of the config that decide what is computed, those that decide only how weights begin or are trained, and tensors
# of a checkpoint that are no weights.
MODEL_KEYS = {"d_model", "tie_embeddings", "positions", "max_tokens", "final_norm", "embedding_scale", "layers"}
TRAINING_KEYS = {"dropout", "init"}
LAYER_KEYS = {"type", "mixer", "ffn", "norm", "dropout", "rate", "depth", "id", "weights"}
LAYER_KEYS |= {"parallel", "norm_at", "x0"}
LAYER_KEYS |= {"router", "capacity", "weight", "causal", "predictor_width"}
LAYER_KEYS |= {"recursions", "routing", "capacities", "alpha"}
LAYER_KEYS |= {"block_size", "eps", "streams", "dynamic", "iterations", "cross"}
NOT_WEIGHTS = ("opt.", "state.", "train.", "statistics.")
BUFFERS = "buffers."


class ReadLog(dict[str, Array]):
    """Parameters by name that remember which of them were read; parts of them share one memory."""

    def __init__(self, params: Params, prefix: str = "", used: set[str] | None = None) -> None:
        super().__init__(params)
        self.prefix = prefix
        self.used: set[str] = set() if used is None else used

    def __getitem__(self, name: str) -> Array:
        value = super().__getitem__(name)
        buffer = name.startswith(BUFFERS)
        self.used.add(BUFFERS + self.prefix + name.removeprefix(BUFFERS) if buffer else self.prefix + name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def below(self, prefix: str) -> ReadLog:
        """Returns the parameters and buffers of what is called prefix, named without it."""
        part = {name[len(prefix) + 1 :]: value for name, value in self.items() if name.startswith(prefix + ".")}
        own = f"{BUFFERS}{prefix}."
        part |= {BUFFERS + name[len(own) :]: value for name, value in self.items() if name.startswith(own)}
        return ReadLog(part, f"{self.prefix}{prefix}.", self.used)


def flatten(entries: list[Config]) -> list[Config]:
    """Returns the entries with {repeat: n, of: [...]} written out."""
    flat: list[Config] = []
    for entry in entries:
        flat += flatten(entry["of"]) * int(entry["repeat"]) if "repeat" in entry else [entry]
    return flat


def read_layers(model: Config) -> list[Config]:
    """Returns {mixer, ffn, norm, weights} of each layer; "weights" is the index of the layer whose weights it has, which
    is its own unless it says {use: id}."""
    layers: list[Config] = []
    by_id: dict[str, Config] = {}
    for i, entry in enumerate(flatten(model["layers"])):
        if "use" in entry:
            layer = by_id[entry["use"]]
        else:
            layer = {**entry, "weights": i}
            if "id" in entry:
                by_id[entry["id"]] = layer
        layers.append(layer)
    return layers


def read_norm(value: Any, otherwise: Config | None) -> Config | None:
    """Returns {type, eps, bias} of a norm; true stands for the layers' norm, false, null and none for no norm."""
    if value is True:
        return otherwise
    if value in (None, False, "none") or value.get("type") == "none":
        return None
    return dict(value)


def model_logits(model: Config, params: ReadLog, tokens: Array, segments: Array | None, direction: str) -> Array:
    """Returns the logits [B,T,Q]: the embedding, each layer's block, then norm and head."""
    layers = read_layers(model)
    table = params["embedding.weight"]
    if "embedding.extra" in params:
        table = np.concatenate([table, params["embedding.extra"]])
    x = table[tokens] * float(model.get("embedding_scale") or 1.0)
    positions = model.get("positions") or "none"
    if isinstance(positions, dict):
        positions = positions["type"]
    if positions == "learned":
        x = x + params["positions.weight"][document_positions(segments, *tokens.shape)]
    shelf: Params = {"ids": tokens}
    before = "none"
    for layer in layers:
        kind_of_block = layer.get("type", "residual")
        if kind_of_block != before:
            of_a_run = tuple(getattr(module(before), "OF_A_RUN", ())) if before != "none" else ()
            shelf = {key: value for key, value in shelf.items() if not key.startswith(of_a_run)}
        before = kind_of_block
        index = sum(own["mixer"]["type"] == layer["mixer"]["type"] for own in layers[: int(layer["weights"])])
        block = {"type": "residual"} | layer
        x = run_branch(x, params, f"layers.{layer['weights']}", block, segments, direction, index, shelf)
    x = normalize(x, params, "final_norm", read_norm(model.get("final_norm", True), layers[-1].get("norm")))
    return linear(x, params["embedding.weight" if model.get("tie_embeddings") else "head.weight"])


def warn_of_unknown(model: Config, params: ReadLog) -> None:
    """Names on stderr the config keys and the weights that this script does not know and therefore ignores."""
    keys = {key for key in model if key not in MODEL_KEYS | TRAINING_KEYS}
    keys |= {f"layers[].{key}" for layer in read_layers(model) for key in layer if key not in LAYER_KEYS}
    tensors = {name for name in params if name not in params.used and not name.startswith(NOT_WEIGHTS)}
    for kind, names in (("config keys", keys), ("tensors", tensors)):
        if names:
            print(f"warning: ignored {kind}: {', '.join(sorted(names))}", file=sys.stderr)


def compare(model_path: Path, logits_path: Path, direction: str) -> int:
    """Prints the largest difference and where it is; returns the exit code."""
    weights, metadata = read_safetensors(model_path)
    stored, _ = read_safetensors(logits_path)
    model = yaml.safe_load(metadata["config_yaml"])["model"]
    params = ReadLog({name: value.astype(np.float64) for name, value in weights.items()})
    tokens, expected = stored["tokens"].astype(np.int64), stored["logits"].astype(np.float64)
    logits = model_logits(model, params, tokens, stored.get("segments"), direction)
    warn_of_unknown(model, params)
    if logits.shape != expected.shape:
        raise ValueError(f"{logits_path}: logits {expected.shape}, the model gives {logits.shape}")
    difference = np.abs(logits - expected)
    # A NaN compares as neither smaller nor larger: it must count as the largest.
    difference[np.isnan(difference)] = np.inf
    rms = float(np.sqrt(np.mean(logits**2)))
    allowed = TOLERANCE * max(1.0, rms)
    b, t, entry = np.unravel_index(int(difference.argmax()), difference.shape)
    largest = float(difference.max())
    print(
        f"largest difference {largest:.3e} (allowed {allowed:.3e}, rms of the logits {rms:.3g}) "
        f"at sequence {b}, token {t}, entry {entry}: computed {logits[b, t, entry]:.9g}, "
        f"stored {expected[b, t, entry]:.9g}"
    )
    return 0 if largest <= allowed else 1


def main() -> int:
    """Reads the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="recompute a model in float64 and compare with stored logits")
    parser.add_argument("model", type=Path, metavar="MODEL.safetensors")
    parser.add_argument("logits", type=Path, metavar="LOGITS.safetensors")
    parser.add_argument("--direction", choices=("causal", "bidirectional"), default="causal")
    arguments = parser.parse_args()
    try:
        return compare(arguments.model, arguments.logits, arguments.direction)
    except KeyError as error:
        files = f"{arguments.model} and {arguments.logits}"
        print(f"error: {files} lack the config key or tensor {error}", file=sys.stderr)
    except (OSError, ValueError, IndexError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
