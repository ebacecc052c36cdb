"""Writes every golden file: python3 scripts/golden/all.py [FOLDER] (default tests/golden)."""

from __future__ import annotations

import sys
from pathlib import Path

import attention
import gla
import min_gru
import mlp
import swiglu
from common import GOLDEN_FOLDER

MECHANISMS = (attention, gla, min_gru, mlp, swiglu)


def main() -> None:
    """Removes the golden files of the folder, then writes each mechanism's."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for mechanism in MECHANISMS:
        for stale in folder.glob(f"{mechanism.__name__}.*.safetensors"):
            stale.unlink()
        mechanism.write(folder)
    written = sum(1 for mechanism in MECHANISMS for _ in folder.glob(f"{mechanism.__name__}.*.safetensors"))
    print(f"{written} golden files in {folder}")


if __name__ == "__main__":
    main()
