#!/usr/bin/env python3
"""Prints a Markdown table of every configuration in configs/mixers: what it costs, and how well it learnt.

Costs are `effllm describe`'s, of the whole model; results are those of scripts/reproduce/mixers.sh, which stand in
docs/results/mixers.csv.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EFFLLM = os.environ.get("EFFLLM", str(ROOT / "build" / "release" / "effllm"))


def human(n: float) -> str:
    """12.3 K, 4.5 M."""
    for unit in ("", " K", " M", " G"):
        if n < 1000:
            return f"{n:.3g}{unit}"
        n /= 1000
    return f"{n:.3g} T"


def human_bytes(n: float) -> str:
    """16.5 KiB."""
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.3g} {unit}"
        n /= 1024
    return f"{n:.3g} GiB"


def row(config: Path, results: dict[str, dict[str, str]]) -> list[str]:
    """One line of the table."""
    described = subprocess.run([EFFLLM, "describe", str(config), "--json"], check=True, capture_output=True, text=True)
    cost = json.loads(described.stdout)
    at = {length["tokens"]: length for length in cost["lengths"]}
    short, long = at[256], at[4096]
    result = results.get(config.stem)
    return [
        config.stem,
        human(cost["total"]["parameters"]),
        human(short["train_flops_per_token"]),
        human(short["prefill_flops_per_token"]),
        human(short["decode_flops"]),
        human(long["train_flops_per_token"]),
        human(long["decode_flops"]),
        human_bytes(short["kept_bytes_per_token"]),
        human_bytes(short["state_bytes"]),
        human_bytes(long["state_bytes"]),
        f"{100 * long['state_bytes'] / long['kv_cache_bytes']:.3g} %",
        f"{float(result['bits_per_char']):.3f}" if result else "",
    ]


def main() -> None:
    """Prints the table."""
    path = ROOT / "docs" / "results" / "mixers.csv"
    results = {r["mixer"]: r for r in csv.DictReader(path.open())} if path.exists() else {}
    print("| configuration | parameters | train FLOPs/token, T 256 | prefill | decode after 256 | train, T 4096 "
          "| decode after 4096 | kept/token | state at 256 | at 4096 | of a KV cache | bits/char |")
    print("|---" + "|--:" * 11 + "|")
    for config in sorted((ROOT / "configs" / "mixers").glob("*.yaml")):
        print("| " + " | ".join(row(config, results)) + " |")


if __name__ == "__main__":
    main()
