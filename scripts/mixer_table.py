#!/usr/bin/env python3
"""Prints a Markdown table of every configuration in configs/FOLDER, mixers by default: what it costs, and how well it learnt.

Costs are `effllm describe`'s, of the whole model, as it writes them; results are those of scripts/reproduce/mixers.sh and
family_runs.sh, which stand in docs/results/FOLDER.csv.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHOICE = "bits_per_char_training_choice"
EFFLLM = os.environ.get("EFFLLM", str(ROOT / "build" / "release" / "effllm"))


def row(config: Path, results: dict[str, dict[str, str]], columns: list[str]) -> list[str]:
    """One line of the table."""
    described = subprocess.run([EFFLLM, "describe", str(config), "--json"], check=True, capture_output=True, text=True)
    cost = json.loads(described.stdout)
    at = {length["tokens"]: length["shown"] for length in cost["lengths"]}
    short, long = at[256], at[4096]
    result = results.get(config.stem)
    few = cost["active_parameters"] != cost["total"]["parameters"]
    return [
        config.stem,
        cost["parameters_shown"] + (f", {cost['active_parameters'] / 1e3:.0f} K active" if few else ""),
        short["train_flops_per_token"],
        short["prefill_flops_per_token"],
        short["decode_flops"],
        long["train_flops_per_token"],
        long["decode_flops"],
        short["kept_bytes_per_token"],
        short["state_bytes"],
        long["state_bytes"],
        long["part_of_kv_cache"],
        *(learnt(result, column) for column in columns),
    ]


def learnt(result: dict[str, str] | None, column: str) -> str:
    """A figure of a row of results, or nothing; bounds are marked."""
    if not result or not result[column]:
        return ""
    return (result.get("bound") or "") + f"{float(result[column]):.3f}"


def main() -> None:
    """Prints the table."""
    folder = sys.argv[1] if len(sys.argv) > 1 else "mixers"
    path = ROOT / "docs" / "results" / f"{folder}.csv"
    results = {next(iter(r.values())): r for r in csv.DictReader(path.open())} if path.exists() else {}
    columns = {"bits_per_char": "bits/char"}
    if any(CHOICE in r for r in results.values()):
        columns[CHOICE] = "with training's choice"
    print("| configuration | parameters | train FLOPs/token, T 256 | prefill | decode after 256 | train, T 4096 "
          "| decode after 4096 | kept/token | state at 256 | at 4096 | of a KV cache | "
          + " | ".join(columns.values()) + " |")
    print("|---" + "|--:" * (10 + len(columns)) + "|")
    for config in sorted((ROOT / "configs" / folder).glob("*.yaml")):
        print("| " + " | ".join(row(config, results, list(columns))) + " |")


if __name__ == "__main__":
    main()
