"""Safetensors files in plain numpy."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from common import Params

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
