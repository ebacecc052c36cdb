#!/usr/bin/env python3
"""Holds THIRD_PARTY.md against scripts/setup.sh and CMakeLists.txt.

    scripts/check_third_party.py               exit 1 and a line for what only one of them names
    scripts/check_third_party.py --self-test   plants each kind of fault and expects it to be found
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# find_package's name, or the file that find_library and find_file look for: the package that has it.
FOUND = {
    "OpenMP": "g++",
    "fmt": "libfmt-dev",
    "yaml-cpp": "libyaml-cpp-dev",
    "CLI11": "libcli11-dev",
    "doctest": "doctest-dev",
    "HDF5": "libhdf5-dev",
    "LibArchive": "libarchive-dev",
    "OpenSSL": "libssl-dev",
    "nlohmann_json": "nlohmann-json3-dev",
    "Boost": "libboost-dev",
    "dnnl": "libdnnl-dev",
    "cpp-httplib": "libcpp-httplib-dev",
    "dygraph.min.js": "libjs-dygraphs",
}


def problems(document, setup, cmake):
    listed = re.search(r"^packages=\(\n(.*?)^\)", setup, re.M | re.S).group(1)
    installed = set(" ".join(line.split(" #")[0] for line in listed.splitlines()).split())
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in document.splitlines() if line.startswith("|")]
    rows = [row for row in rows if len(row) == 4 and row[1] not in ("package", "---")]
    tools = re.search(r"^Tools that build.*?: (.*)\.$", document, re.M)
    named = {package for row in rows for package in row[1].split(", ")}
    said = named | set(tools.group(1).split(", ") if tools else [])
    for package in sorted(installed - said):
        yield f"THIRD_PARTY.md lacks {package}, which scripts/setup.sh installs"
    for package in sorted(said - installed):
        yield f"THIRD_PARTY.md has {package}, which scripts/setup.sh does not install"
    for row in rows:
        if not row[2] or not row[3]:
            yield f"THIRD_PARTY.md: {row[0]} has no licence, or not how it is used"
    for name in re.findall(r"^\s*find_(?:package|library|file|program)\((?:[A-Z_]+_(?:LIBRARY|JS) )?([\w.+-]+)", cmake, re.M):
        if name == "CCACHE":
            continue
        if FOUND.get(name) not in named:
            yield f"CMakeLists.txt finds {name}: say in scripts/check_third_party.py which package has it, and in THIRD_PARTY.md what it is"


def self_test(document, setup, cmake):
    faults = {
        "a package more": (document, setup.replace("  libdnnl-dev", "  libdnnl-dev libfree-dev"), cmake),
        "a row less": (re.sub(r"^\| HDF5.*\n", "", document, flags=re.M), setup, cmake),
        "a package less": (document, setup.replace(" libarchive-dev", ""), cmake),
        "a library more": (document, setup, cmake + "\nfind_package(Eigen3 REQUIRED)\n"),
        "no licence": (document.replace("| BSL-1.0 |", "| |"), setup, cmake),
    }
    missed = [name for name, texts in faults.items() if not list(problems(*texts))]
    for name in missed:
        print(f"not found: {name}")
    return 1 if missed else 0


def main():
    texts = [(ROOT / name).read_text() for name in ("THIRD_PARTY.md", "scripts/setup.sh", "CMakeLists.txt")]
    if "--self-test" in sys.argv[1:]:
        return self_test(*texts)
    found = list(problems(*texts))
    print("\n".join(found) or "THIRD_PARTY.md names every package")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
