"""Writes golden files from the mechanisms' VARIANTS.

    python3 scripts/golden/all.py [FOLDER] [--only NAME ...]

FOLDER is tests/golden by default; without --only, every mechanism of the lists mixers.def, ffns.def and blocks.def.

A golden file holds one mechanism with one set of options, all in float64: "x" [B,T,D], "y" [B,T,D], "param.<name>",
"buffers.<name>" for what is saved but not trained, "shelf.<name>" [B,T,D], or wider, for what earlier layers left,
optionally "segments" [B,T] (document number of each token), "ids" [B,T] (the tokens), "memory" [B,S,D] (what an encoder
made) and "memory_lengths" [B] (how many of its rows each sequence has), optionally "seed" [B,T,D] and the gradients of
sum(seed y) by x and parameters, "gradient.x" and "gradient.param.<name>", and text metadata.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from common import Array, Options, Params, Variant, draw_params
from mechanisms import kind, listed, module, run
from tensor_file import write_safetensors

GOLDEN_FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden"
BATCH, TOKENS, D_MODEL = 2, 29, 8
GIVEN = ("ids", "memory", "memory_lengths")  # what lies on the shelf from the start

# Lengths of the packed documents, one list per sequence: a document of one token, borders on and off multiples of 4.
DOCUMENT_LENGTHS = ([7, 1, 13, 8], [12, 4, 13])


def packed_segments() -> Array:
    """Returns the document number of each token, int64 [B,T], for DOCUMENT_LENGTHS."""
    rows = [np.repeat(np.arange(len(lengths)), lengths) for lengths in DOCUMENT_LENGTHS]
    return np.stack(rows).astype(np.int64)


def flow_yaml(value: Any) -> str:
    """Writes one value as YAML flow text: a mapping, a sequence or a scalar, e.g. "[{type: gla, heads: 2}, true]"."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow_yaml(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def draw_case(name: str, variant: Variant, file_stem: str) -> tuple[Array, Params, Params]:
    """Returns x ~ N(0,1) [B,T,D], the parameters and the shelf; the seed is the CRC-32 of the file's name."""
    own, rng = module(name), np.random.default_rng(zlib.crc32(file_stem.encode()))
    layers = {"layers": variant.layer[1]} if variant.layer else {}
    x = rng.normal(0.0, 1.0, (BATCH, TOKENS, D_MODEL))
    params = draw_params(rng, own.shapes(variant.options, D_MODEL, **layers))
    for change in (getattr(own, "start", None), variant.change):
        if change:
            change(params)
    columns = getattr(own, "shelf_columns", lambda key, options, d_model: d_model)
    wide = {key: columns(key, variant.options, D_MODEL) for key in variant.shelf}
    shelf = {key: rng.normal(0.0, 1.0, (BATCH, TOKENS, width)) for key, width in wide.items()}
    if variant.ids:
        shelf["ids"] = rng.integers(0, variant.ids, (BATCH, TOKENS))
    if variant.memory:
        shelf["memory"] = rng.normal(0.0, 1.0, (BATCH, variant.memory, D_MODEL))
    if variant.memory_lengths:
        shelf["memory_lengths"] = np.array(variant.memory_lengths, np.int64)
    return x, params, shelf


def write(folder: Path, name: str, variant_name: str, variant: Variant) -> None:
    """Writes <folder>/<name>.<variant>.safetensors; an exception where a check fails or a value is not finite."""
    stem, own = f"{name}.{variant_name}", module(name)
    x, params, shelf = draw_case(name, variant, stem)
    segments = packed_segments() if variant.documents else None
    layer, layers = variant.layer or (0, 1)
    if hasattr(own, "check"):
        own.check(x, params, variant.options, segments)
    tensors: Params = {"x": x} | {key if key in GIVEN else f"shelf.{key}": value for key, value in shelf.items()}
    tensors["y"] = run(name, x, params, variant.options, segments, variant.direction, layer, shelf, variant.phase)
    for key, value in params.items():
        tensors[key if key.startswith("buffers.") else f"param.{key}"] = value
    if segments is not None:
        tensors["segments"] = segments
    if variant.gradients:
        tensors["seed"] = np.random.default_rng(zlib.crc32(f"{stem} seed".encode())).normal(0.0, 1.0, x.shape)
        found = own.gradients(x, params, variant.options, shelf, variant.phase, tensors["seed"])
        tensors |= {f"gradient.{key if key == 'x' else 'param.' + key}": value for key, value in found.items()}
    for key, value in tensors.items():
        if not np.isfinite(value).all():
            raise FloatingPointError(f"{key} holds a value that is not finite")
    metadata = {"kind": kind(name), "name": name, "options": flow_yaml(variant.options)}
    metadata |= {"direction": variant.direction, "paper": own.PAPER}
    if variant.phase != "inference":
        metadata["phase"] = variant.phase
    if variant.layer:
        metadata |= {"layer": str(layer), "layers": str(layers)}
    write_safetensors(folder / f"{stem}.safetensors", tensors, metadata)


def main() -> None:
    """Replaces the golden files of each mechanism in the folder."""
    parser = argparse.ArgumentParser(description="write golden files")
    parser.add_argument("folder", type=Path, nargs="?", default=GOLDEN_FOLDER, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="mechanisms, listed in src/ yet or not")
    arguments = parser.parse_args()
    names = arguments.only or listed()
    for name in names:
        if not Path(__file__).with_name(f"{name}.py").exists():
            parser.error(f"{name} has no transcription scripts/golden/{name}.py")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for name in names:
        for stale in arguments.folder.glob(f"{name}.*.safetensors"):
            stale.unlink()
        for variant_name, variant in module(name).VARIANTS.items():
            try:
                write(arguments.folder, name, variant_name, variant)
            except Exception as error:
                error.add_note(f"in {name}.{variant_name}")
                raise
            written += 1
    print(f"{written} golden files in {arguments.folder}")


if __name__ == "__main__":
    main()
