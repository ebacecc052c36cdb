#!/usr/bin/env python3
"""Checks the rules that no compiler sees: src/LAYERS, who may include which library, tabs, paths of one machine.

    scripts/check_layers.py [--root DIR]   exit 1 and a line `file:line: message` for each fault
    scripts/check_layers.py --self-test    plants each kind of fault in a copy of the tree and expects it to be found
"""
import argparse
import fnmatch
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

CODE = (".cpp", ".h", ".def", ".inc")
TEXT = (".cpp", ".h", ".def", ".inc", ".py", ".sh")
FOLDERS = ("src", "apps", "tests", "scripts")

INCLUDE = re.compile(r'\s*#\s*include\s*[<"]([^>"]+)[>"]')
OPENMP = re.compile(r'\s*#\s*pragma\s+omp\b\s*(\w*)|.*\b_Pragma\s*\(\s*"omp\s+(\w+)')
INDENT = re.compile(r" *\t")
# The brackets keep this line from matching itself.
MACHINE_PATH = re.compile(r"(?<![\w.}~-])/wor[k]/")

# A library, the includes that mean it, the files that may.
SINGLE_INCLUDERS = [
    ("yaml-cpp", re.compile(r"yaml-cpp/"), ["src/config/yaml.cpp"]),
    ("oneDNN", re.compile(r"(oneapi/dnnl/)?dnnl"), ["src/kernels/gemm*.cpp"]),
    ("HDF5", re.compile(r"(hdf5|H5|hdf5_hl|H5LT|H5DS)\w*\.h$|hdf5/"), ["src/store/hdf5.cpp", "src/store/hdf5_*.cpp", "tests/store/hdf5_read.cpp"]),
    ("OpenMP", re.compile(r"omp\.h$"), ["src/kernels/parallel.cpp"]),
    ("CLI11", re.compile(r"CLI/"), ["apps/*"]),
    ("OpenSSL", re.compile(r"openssl/"), ["src/base/hash.cpp"]),
    ("libarchive", re.compile(r"archive(_entry)?\.h$"), ["src/eval/archive.cpp"]),
    ("cpp-httplib", re.compile(r"httplib\.h$"), ["src/serve/httplib.h"]),
    ("Boost", re.compile(r"boost/"), ["src/stats/student_t.cpp"]),
]


def read_layers(root):
    """Folder name -> number of its line in src/LAYERS, bottom first."""
    layers = {}
    for number, line in enumerate((root / "src/LAYERS").read_text().splitlines()):
        for folder in line.split("#")[0].split():
            layers[folder] = number
    return layers


def may_use(path, patterns):
    return any(fnmatch.fnmatchcase(path, p) for p in patterns)


def check_include(root, path, target, layers):
    """What is wrong with `path` (relative to root) including `target`; None where nothing is."""
    for library, meaning, allowed in SINGLE_INCLUDERS:
        if meaning.match(target) and not may_use(path, allowed):
            return f"only {' and '.join(allowed)} may include {library} (<{target}>)"
    parts = path.split("/")
    if parts[0] != "src":
        return None
    first = target.split("/")[0]
    if ".." in target.split("/"):
        return f"include {target} from the root of src/, without `..`"
    if first in ("apps", "tests") or any((root / "apps").glob(f"*/{target}")) and not (root / "src" / target).exists():
        return f"src/ must not include {target} of apps/ or tests/"
    # Without a folder in front: a file beside this one, or of the system.
    if "/" not in target or first not in layers:
        return None
    own = parts[1]
    if first == own or layers[first] < layers[own]:
        return None
    if layers[first] == layers[own]:
        return f"{own}/ and {first}/ share a line of src/LAYERS and must not include each other ({target})"
    return f"{own}/ is below {first}/ in src/LAYERS and must not include {target}"


def check_openmp(path, line):
    match = OPENMP.match(line)
    if not match or path == "src/kernels/parallel.cpp":
        return None
    if (match.group(1) or match.group(2)) == "simd" and path.startswith("src/kernels/isa/"):
        return None
    return "OpenMP belongs in src/kernels/parallel.cpp (`omp simd` in src/kernels/isa/ too)"


def check_file(root, path, layers):
    """Yields (line, message)."""
    parts = path.split("/")
    is_code = path.endswith(CODE)
    if is_code and parts[0] == "src" and (len(parts) < 3 or parts[1] not in layers):
        yield 1, "the file is in no folder that src/LAYERS names"
        return
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.split("\n"), 1):
        if MACHINE_PATH.search(line):
            yield number, "an absolute path of one machine"
        if not is_code:
            continue
        if INDENT.match(line):
            yield number, "indented by a tab"
        include = INCLUDE.match(line)
        for message in (check_include(root, path, include.group(1), layers) if include else None,
                        check_openmp(path, line)):
            if message:
                yield number, message


def files_of(root):
    for folder in FOLDERS:
        for where, folders, names in os.walk(root / folder):
            folders[:] = sorted(f for f in folders if f != "__pycache__")
            for name in sorted(names):
                if name.endswith(TEXT):
                    yield (Path(where) / name).relative_to(root).as_posix()


def check_tree(root):
    layers = read_layers(root)
    return [f"{path}:{line}: {message}" for path in files_of(root) for line, message in check_file(root, path, layers)]


# (file, line to plant, words of the message that must come; None: nothing may come).
PLANTS = [
    ("src/base/planted.h", '#include "config/node.h"', "base/ is below config/"),
    ("src/tensor/planted.cpp", "#include <autodiff/tape.h>", "tensor/ is below autodiff/"),
    ("src/kernels/isa/planted.cpp", '  #  include "ops/norm.h"', "kernels/ is below ops/"),
    ("src/store/planted.cpp", '#include "data/corpus.h"', "store/ is below data/"),
    ("src/mixers/planted.def", '#include "ffn/ffn.h"', "must not include each other"),
    ("src/ffn/planted.cpp", '#include "mixers/mixer.h"', "must not include each other"),
    ("src/data/planted.cpp", '#include "../store/file.h"', "without `..`"),
    ("src/decode/planted.cpp", '#include "apps/effllm/commands.h"', "of apps/"),
    ("src/decode/planted.cpp", '#include "planted_app.h"', "of apps/"),
    ("src/planted.cpp", "", "no folder that src/LAYERS names"),
    ("src/stray/planted.cpp", "", "no folder that src/LAYERS names"),
    ("src/config/planted.cpp", "#include <yaml-cpp/yaml.h>", "include yaml-cpp"),
    ("src/kernels/planted.cpp", "#include <dnnl.h>", "include oneDNN"),
    ("src/ops/planted.cpp", "#include <oneapi/dnnl/dnnl.hpp>", "include oneDNN"),
    ("src/train/planted.cpp", "#include <hdf5.h>", "include HDF5"),
    ("src/store/planted.cpp", "#include <hdf5_hl.h>", "include HDF5"),
    ("src/ops/planted.cpp", "#include <omp.h>", "include OpenMP"),
    ("src/ops/planted.cpp", "#pragma omp parallel for", "OpenMP belongs"),
    ("src/ops/planted.cpp", "  #pragma omp simd", "OpenMP belongs"),
    ("src/kernels/isa/planted.cpp", "#pragma omp parallel", "OpenMP belongs"),
    ("src/kernels/planted.cpp", '_Pragma("omp parallel for")', "OpenMP belongs"),
    ("src/base/planted.cpp", "#include <CLI/CLI.hpp>", "include CLI11"),
    ("tests/planted_test.cpp", "#include <CLI/CLI.hpp>", "include CLI11"),
    ("src/store/planted.cpp", "#include <openssl/evp.h>", "include OpenSSL"),
    ("src/base/planted.cpp", "#include <archive.h>", "include libarchive"),
    ("src/serve/planted.cpp", "#include <httplib.h>", "include cpp-httplib"),
    ("src/serve/planted.cpp", '#include "serve/httplib.h"', None),
    ("src/base/planted.cpp", "\tint x;", "indented by a tab"),
    ("apps/effllm/planted.h", "  \tint x;", "indented by a tab"),
    ("tests/planted_test.cpp", '"/wor' 'k/data/kjv.txt"', "of one machine"),
    ("scripts/planted.py", 'open("/wor' 'k/x")', "of one machine"),
    ("scripts/planted.sh", "cd /wor" "k/main", "of one machine"),
    ("src/model/planted.cpp", '#include "mixers/mixer.h"', None),
    ("src/data/planted.cpp", '#include "data/corpus.h"', None),
    ("src/config/yaml.cpp", "#include <yaml-cpp/yaml.h>", None),
    ("src/kernels/gemm_planted.cpp", "#include <dnnl.h>", None),
    ("src/store/hdf5_planted.cpp", "#include <hdf5.h>", None),
    ("src/kernels/parallel.cpp", "#pragma omp parallel for", None),
    ("src/kernels/isa/planted.cpp", "#pragma omp simd reduction(+ : sum)", None),
    ("apps/effllm/planted.cpp", "#include <CLI/CLI.hpp>", None),
    ("src/base/planted.cpp", 'auto s = "a\tb";  // #include "store/file.h"', None),
    ("scripts/planted.py", 'url = "https://example.org/wor' 'k/x"', None),
]


def self_test(root):
    missed = 0
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "tree"
        for folder in FOLDERS:
            if (root / folder).is_dir():
                shutil.copytree(root / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "apps/effllm").mkdir(parents=True, exist_ok=True)
        (copy / "apps/effllm/planted_app.h").write_text("#pragma once\n")
        before = set(check_tree(copy))
        for path, line, expected in PLANTS:
            file = copy / path
            file.parent.mkdir(parents=True, exist_ok=True)
            old = file.read_text() if file.exists() else None
            # Below what is there, so that the lines before it keep their numbers.
            file.write_text((old or "// planted\n") + line + "\n")
            new = [m for m in check_tree(copy) if m not in before]
            at = f"{path}:{1 if not line else len((old or '// planted' + chr(10)).splitlines()) + 1}: "
            found = [m for m in new if m.startswith(at) and expected and expected in m]
            if (expected and len(found) != 1) or (not expected and new):
                missed += 1
                print(f"self-test: {path} with {line!r}: expected {expected!r}, got {new}", file=sys.stderr)
            if old is None:
                file.unlink()
            else:
                file.write_text(old)
    print(f"self-test: {len(PLANTS) - missed} of {len(PLANTS)} plants judged rightly")
    return 1 if missed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        return self_test(options.root)
    faults = check_tree(options.root)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
