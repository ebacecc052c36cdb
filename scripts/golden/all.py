"""Writes every golden file: python3 scripts/golden/all.py [FOLDER] (default tests/golden)."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from common import GOLDEN_FOLDER


def mechanisms() -> list:
    """Returns the modules beside this one that write golden files, in the order of their names."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "all")
    return [module for module in map(importlib.import_module, names) if hasattr(module, "write")]


def main() -> None:
    """Removes the golden files of each mechanism from the folder, then writes them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for mechanism in mechanisms():
        for stale in folder.glob(f"{mechanism.__name__}.*.safetensors"):
            stale.unlink()
        mechanism.write(folder)
        written += len(list(folder.glob(f"{mechanism.__name__}.*.safetensors")))
    print(f"{written} golden files in {folder}")


if __name__ == "__main__":
    main()
