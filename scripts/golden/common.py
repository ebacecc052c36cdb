"""Files and random numbers of the golden scripts: safetensors in plain numpy, seeded tensors, one golden file.

A golden file holds one mechanism with one set of options, all in float64: "x" [B,T,D], "y" [B,T,D],
"param.<name>", optionally "segments" [B,T] (document number of each token), and text metadata.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Params = dict[str, Array]
Options = dict[str, Any]

BATCH, TOKENS, D_MODEL = 2, 29, 8
GOLDEN_FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden"

# Lengths of the packed documents, one list per sequence: a document of one token, borders on and off multiples of 4.
DOCUMENT_LENGTHS = ([7, 1, 13, 8], [12, 4, 13])

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}
_ALIGNMENT = 64


def write_safetensors(path: Path, tensors: Params, metadata: dict[str, str]) -> None:
    """Writes 8 bytes of header length (little endian), the JSON header, then the tensors, sorted by name, no gaps.

    Spaces after the JSON make the data start at a multiple of 64 bytes.
    """
    names = {np.dtype(code): name for name, code in _DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": metadata}
    blobs: list[bytes] = []
    offset = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        little = tensor.dtype.newbyteorder("<")
        blob = tensor.astype(little).tobytes(order="C")
        header[name] = {
            "dtype": names[little],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_safetensors(path: Path) -> tuple[Params, dict[str, str]]:
    """Returns (tensors, metadata); BF16 comes back as float32. ValueError where sizes and offsets disagree."""
    content = path.read_bytes()
    if len(content) < 8:
        raise ValueError(f"{path}: {len(content)} bytes are too few for a safetensors file")
    (length,) = struct.unpack("<Q", content[:8])
    if 8 + length > len(content):
        raise ValueError(f"{path}: the header needs {length} bytes, the file has {len(content) - 8} after the length")
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    data = memoryview(content)[8 + length :]
    tensors: Params = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        brain_float = entry["dtype"] == "BF16"
        if not brain_float and entry["dtype"] not in _DTYPES:
            raise ValueError(f"{path}: {name}: unknown dtype {entry['dtype']}")
        dtype = np.dtype("<u2" if brain_float else _DTYPES[entry["dtype"]])
        if not 0 <= begin <= end <= len(data) or end - begin != math.prod(entry["shape"]) * dtype.itemsize:
            raise ValueError(f"{path}: {name}: offsets {begin}..{end} do not fit shape {entry['shape']}")
        values = np.frombuffer(data[begin:end], dtype=dtype).reshape(entry["shape"])
        if brain_float:
            values = (values.astype("<u4") << 16).view("<f4")
        tensors[name] = values.copy()
    return tensors, metadata


def draw_params(rng: np.random.Generator, shapes: dict[str, tuple[int, ...]]) -> Params:
    """Draws N(0, 0.5^2) for every shape, in the order given; norm weights are 1 + N(0, 0.2^2)."""
    params: Params = {}
    for name, shape in shapes.items():
        is_norm = name.split(".")[0].endswith("norm")
        params[name] = 1.0 + rng.normal(0.0, 0.2, shape) if is_norm else rng.normal(0.0, 0.5, shape)
    return params


def draw_case(
    file_stem: str, shapes: dict[str, tuple[int, ...]], batch: int = BATCH, tokens: int = TOKENS, width: int = D_MODEL
) -> tuple[Array, Params]:
    """Returns x ~ N(0,1) [B,T,D] and the parameters; the seed is the CRC-32 of the file's name."""
    rng = np.random.default_rng(zlib.crc32(file_stem.encode()))
    x = rng.normal(0.0, 1.0, (batch, tokens, width))
    return x, draw_params(rng, shapes)


def packed_segments() -> Array:
    """Returns the document number of each token, int64 [B,T], for DOCUMENT_LENGTHS."""
    rows = [np.repeat(np.arange(len(lengths)), lengths) for lengths in DOCUMENT_LENGTHS]
    return np.stack(rows).astype(np.int64)


def flow_value(value: Any) -> str:
    """Writes one value as YAML flow text: a mapping, a sequence or a scalar, e.g. "[{type: gla, heads: 2}, true]"."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow_value(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def flow_yaml(options: Options) -> str:
    """Writes options, nested or not, as YAML flow text, e.g. "{heads: 2, position: alibi, bias: true}"."""
    return flow_value(options)


def write_golden(
    folder: Path,
    kind: str,
    name: str,
    variant: str,
    options: Options,
    paper: str,
    x: Array,
    y: Array,
    params: Params,
    segments: Array | None = None,
    direction: str = "causal",
    extra: dict[str, str] | None = None,
) -> None:
    """Writes <folder>/<name>.<variant>.safetensors; FloatingPointError if a value is not finite.

    extra: more metadata, such as the layer that a mechanism stands for: {"layer": "1", "layers": "3"}.
    """
    tensors: Params = {"x": x, "y": y} | {f"param.{key}": value for key, value in params.items()}
    if segments is not None:
        tensors["segments"] = segments
    for key, value in tensors.items():
        if not np.isfinite(value).all():
            raise FloatingPointError(f"{name}.{variant}: {key} holds a value that is not finite")
    metadata = {"kind": kind, "name": name, "options": flow_yaml(options), "direction": direction, "paper": paper}
    metadata |= extra or {}
    write_safetensors(folder / f"{name}.{variant}.safetensors", tensors, metadata)
