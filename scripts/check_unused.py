#!/usr/bin/env python3
"""Lists names that nothing reads: functions, types, members, constants, macros, options.

    scripts/check_unused.py [--root DIR]   exit 1 and a line `file:line: message` for each name
    scripts/check_unused.py --self-test    judges a small tree of which is known what nobody reads

A name declared in src/ or apps/ needs a reader there: tests do not count. One declared in tests/ needs a reader anywhere.
By names alone, without types: declarations, definitions, assignments (`x = ...`, `.x = ...`), initialisers of a
constructor and the line of an option's visit() are no readers. A member or method is read after `.`, `->` or `::`, or
bare in its own folder; a function anywhere but after `.`; the rest wherever the name stands. So a name that is also
another's may go unnoticed, and nothing that is read is listed.
"""
import argparse
import sys
from collections import defaultdict
from pathlib import Path

from cpp_names import File

ROOT = Path(__file__).resolve().parent.parent

# Read by the language or a library; a function marked `override` is called by way of its base.
BY_OTHERS = {"main", "begin", "end", "what", "format", "parse", "DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN",
             "held_", "variable_",         # base/held.h: the end of the object does what it is there for
             "forward_in", "backward_in"}  # autodiff/float_op.h calls them, of ops above it
# What tests alone read, and why it stands in the program.
FOR_TESTS = {
    "misses": "that nothing is allocated once a step is warm",
    "reserved_bytes": "what a pool took, which the foreseen peak is held against",
    "period": "where a mechanism's own description says that sequences are to be cut",
}


def files_of(root, folders):
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".cpp", ".h", ".def", ".inc"):
                name = path.relative_to(root).as_posix()
                yield File(name, path.read_text(encoding="utf-8", errors="replace"))


def layers_of(root):
    """Folder -> number of its line in src/LAYERS; what is no folder of src/ stands above all."""
    lines = (root / "src/LAYERS").read_text().splitlines() if (root / "src/LAYERS").exists() else []
    return {folder: n for n, line in enumerate(lines) for folder in line.split("#")[0].split()}


def layer(layers, path):
    parts = path.split("/")
    return layers.get(parts[1], len(layers) + 1) if parts[0] == "src" else len(layers) + 1000


def unread(files, readers, layers):
    """(file, line, message) of each name of `files` that none of `readers` reads, in its own layer or above."""
    dotted, scoped, bare, folders = (defaultdict(lambda: -1), defaultdict(lambda: -1), defaultdict(lambda: -1),
                                     defaultdict(set))  # name -> the highest layer that reads it
    for f in readers:
        at = layer(layers, f.path)
        for highest, names in ((dotted, f.dotted), (scoped, f.scoped), (bare, f.bare)):
            for name in names:
                highest[name] = max(highest[name], at)
        folders[f.folder] |= f.bare
    types = {name for f in readers for kind, name, _ in f.declared if kind == "type"}
    by_others = BY_OTHERS | FOR_TESTS.keys() | set().union(*(f.overridden for f in readers))
    found = {}
    for f in files:
        for kind, name, line in f.declared:
            own = 0 if kind == "macro" else layer(layers, f.path)  # lists expand what those above them define
            ways = [dotted] if kind in ("member", "option") else [scoped, bare] if kind == "function" else [dotted, scoped]
            read = any(way[name] >= own for way in ways)
            if kind in ("member", "option", "method"):
                read = read or name in folders[f.folder]
            elif kind != "function":
                read = read or bare[name] >= own
            if not read and name not in by_others and not (name in types and kind != "type"):
                if (f.folder, name) not in found or kind == "option":
                    found[f.folder, name] = (f.path, line, f"nothing reads the {kind} `{name}`")
    return sorted(found.values())


def check_tree(root):
    program, tests = list(files_of(root, ("src", "apps"))), list(files_of(root, ("tests",)))
    layers = layers_of(root)
    faults = unread(program, program, layers) + unread(tests, program + tests, layers)
    return [f"{path}:{line}: {message}" for path, line, message in faults]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        from check_unused_self_test import self_test

        return self_test(check_tree)
    faults = check_tree(options.root)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
