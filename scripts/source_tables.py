#!/usr/bin/env python3
"""Tables about the source, read from the source.

    scripts/source_tables.py cores     the recurrences and the mechanisms that are built on them (src/README.md)
    scripts/source_tables.py ops       every op that a mechanism may call (docs/ops.md)
    scripts/source_tables.py metrics   what layers, heads and objectives measure of themselves (docs/mechanisms.md)
    scripts/source_tables.py bench     fails where docs/performance.md lacks a mechanism, or has one that is none

The last one needs the program: $EFFLLM, or build/release/effllm.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
EFFLLM = os.environ.get("EFFLLM", str(ROOT / "build" / "release" / "effllm"))

# core: (recurrence, headers of src/cores without ".h", each with what is to be said of it)
CORES: dict[str, tuple[str, dict[str, str]]] = {
    "K1 scan": (
        "h = a h + b, each column by itself",
        {"fused_scan": "gates inside", "selective_scan": "states of each column"},
    ),
    "K2 gla": (
        "S = diag(a) S + k v^T, o = S^T q",
        {
            "gla": "decay none, constant, per head, per key",
            "bonus": "",
            "normaliser": "",
            "group_memory": "completed groups",
        },
    ),
    "K3 delta": (
        "S = a S + b k (v - a S^T k)^T",
        {"delta": "erases what k reads"},
    ),
    "K4 attention": (
        "a weighted sum over a set of tokens",
        {
            "attention": "",
            "selected_attention": "lists of blocks",
            "block_selection": "makes the lists",
            "compressed_attention": "",
            "score_attention": "other scores than softmax",
        },
    ),
    "K5 short convolution": (
        "the last few tokens",
        {
            "short_conv": "",
            "shared_filter": "one filter a head",
            "token_mix": "the token before",
            "shift_columns": "the same, of some columns",
        },
    ),
    "K6 long convolution": (
        "all tokens",
        {"fft_conv": "", "modal": "the kernel of a diagonal state space, and its recurrence"},
    ),
    "K7 route": (
        "each token to the few it chooses, and back",
        {
            "choose": "lists by score",
            "choose_tokens": "the best of a sequence for each expert",
            "dispatch": "rows packed by choice, products of each",
            "balance": "sums of shares",
            "product_keys": "the best of n^2 pairs",
            "listed_rows": "rows of a table where they stand",
            "slots": "means of all tokens",
        },
    ),
    "K8 cell": ("h = f(h, x), not linear in h", {"cell": ""}),
    "K9 test-time training": ("a model that takes gradient steps on what it reads", {"ttt": ""}),
}
# What no mechanism is built on: orders of tokens, documents.
NO_CORES = {"flip_tokens", "segments", "token_windows", "token_groups"}

CALLED = {header for _, headers in CORES.values() for header in headers} | NO_CORES

# {"name", "unit", "what it is"}, of a Metric.
METRIC = re.compile(r'(?:Metric\s+)?k\w+\{"(\w+)",\s*"([^"]+)",\s*((?:"[^"]*"\s*)+)\}')

INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
FUNCTION = re.compile(r"^(?:inline )?(?:std::vector<Tensor>|[A-Z]\w+(?:::\w+)?) (\w+)\(", re.M)


def includes(path: Path) -> list[str]:
    """Headers that a file names."""
    return INCLUDE.findall(path.read_text())


def reached(path: Path) -> set[str]:
    """Headers of src/cores that a mechanism includes, itself or by a header of nn or its own folder's."""
    found: set[str] = set()
    for header in includes(path):
        if header.startswith("cores/"):
            found.add(Path(header).stem)
        elif header.startswith(("nn/", "mixers/", "ffn/")) and not header.endswith(("mixer.h", "ffn.h", ".def")):
            found |= reached(SOURCE / header)
    return found


def mechanisms() -> dict[str, set[str]]:
    """The recurrences under every mechanism of the lists, by name, in the order of the lists."""
    found: dict[str, set[str]] = {}
    for folder in ("mixers", "ffn"):
        for name in re.findall(r"^ENTRY\((\w+)\)", (SOURCE / folder / f"{folder.rstrip('s')}s.def").read_text(), re.M):
            (path,) = (SOURCE / folder).rglob(f"{name}.cpp")
            found[name] = reached(path)
    return found


def cores() -> str:
    """The table of src/README.md. ValueError where a mechanism is built on what CORES does not know."""
    built_on = mechanisms()
    for name, headers in built_on.items():
        if headers - CALLED:
            raise ValueError(f"{name} includes {', '.join(sorted(headers - CALLED))}: give it a core in {__file__}")
    lines = ["| core | recurrence | files in `cores/` | under |", "|---|---|---|---|"]
    for core, (recurrence, headers) in CORES.items():
        files = ", ".join(f"`{h}` ({what})" if what else f"`{h}`" for h, what in headers.items())
        under = ", ".join(name for name, used in built_on.items() if used & headers.keys())
        lines.append(f"| {core} | {recurrence} | {files} | {under} |")
    return "\n".join(lines)


def first_sentence(text: str) -> str:
    """The first sentence of a header's first comment; a name's "et al." ends none."""
    comment = []
    for line in text.splitlines():
        if not line.startswith("//"):
            break
        comment.append(line[2:].strip())
    return re.split(r"(?<!et al)\. |\.$", " ".join(comment))[0].replace("|", "\\|")


def ops() -> str:
    """The table of docs/ops.md."""
    lines = ["| header | functions | what |", "|---|---|---|"]
    for folder in ("ops", "cores"):
        for header in sorted((SOURCE / folder).rglob("*.h")):
            if folder == "cores" and header.stem not in CALLED:
                continue
            text = header.read_text()
            names = list(dict.fromkeys(FUNCTION.findall(text)))
            if header.stem == "pointwise":
                kinds = re.search(r"enum class Pointwise \{(.*?)\};", (SOURCE / "kernels/pointwise.h").read_text(), re.S)
                kinds_text = re.sub(r"//.*", "", kinds.group(1)) if kinds else ""
                names[0] += " (" + ", ".join(re.findall(r"\w+", kinds_text)) + ")"
            if names:
                lines.append(f"| `{header.relative_to(SOURCE)}` | {', '.join(names)} | {first_sentence(text)} |")
    return "\n".join(lines)


def metrics() -> str:
    """The table of docs/mechanisms.md: every metric with a place in front of its name."""
    lines = ["| name | unit | what | of |", "|---|---|---|---|"]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for folder in ("blocks", "ffn", "objectives"):
        for path in sorted((SOURCE / folder).iterdir()):
            for name, unit, words in METRIC.findall(path.read_text()):
                what = "".join(re.findall(r'"([^"]*)"', words))
                rows.setdefault((name, unit, what), []).append(f"`{path.stem}`")
    for (name, unit, what), of in sorted(rows.items()):
        lines.append(f"| `{name}` | {unit} | {what} | {', '.join(of)} |")
    return "\n".join(lines)


def bench() -> str:
    """Compares the rows of the section Mechanisms of docs/performance.md with the lists; SystemExit where they differ."""
    listed: list[str] = []
    for kind in ("mixers", "ffns"):
        out = subprocess.run([EFFLLM, "list", kind, "--json"], check=True, capture_output=True, text=True).stdout
        listed += [row["name"] for row in json.loads(out)]
    section = (ROOT / "docs/performance.md").read_text().split("\n## Mechanisms\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| [0-9.]+ \|", section, re.M)
    if rows != listed:
        lacking, unknown = set(listed) - set(rows), set(rows) - set(listed)
        raise SystemExit(
            f"docs/performance.md, Mechanisms: lacks {sorted(lacking)}, has besides {sorted(unknown)}; rows stand in "
            "the order of `effllm list`; measure with `effllm bench mixers NAME`"
        )
    return f"docs/performance.md has all {len(rows)} mechanisms"


def main() -> None:
    """Prints the table that the command line names."""
    tables = {"cores": cores, "ops": ops, "metrics": metrics, "bench": bench}
    if len(sys.argv) != 2 or sys.argv[1] not in tables:
        raise SystemExit(f"usage: {sys.argv[0]} {'|'.join(tables)}")
    print(tables[sys.argv[1]]())


if __name__ == "__main__":
    main()
