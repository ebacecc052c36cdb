#!/usr/bin/env python3
"""Checks that what the documents name exists: files, links with their headings, and names of the source.

    scripts/check_doc_names.py               exit 1 and a line `file:line: message` for each name that is not there
    scripts/check_doc_names.py --self-test   judges names that are right and wrong, each in a text of its own

What stands between backticks is looked at, in docs/*.md, src/README.md and CONTRIBUTING.md; blocks of code are not.
"""

from __future__ import annotations

import glob
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOP = ("apps", "configs", "docs", "findings", "scripts", "src", "tests")
NOT_OURS = {"PascalCase", "snake_case"}  # ways to write names
SOURCES = (".cpp", ".h", ".def", ".py", ".sh", "CMakeLists.txt", "Makefile")

QUOTED = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"[\w.-]+(/[\w.{},*-]+)+/?")
FILE = re.compile(r"\w+\.(?:h|cpp|py|sh|def)")
BRACES = re.compile(r"\{([\w,]+)\}")
# Foo::bar, some_name, CamelCase, each perhaps with what it is called with.
NAME = re.compile(r"((?:\w+::)+\w+|[A-Za-z]+_\w+|[A-Z][a-z]+[A-Z]\w*)(?:[(<].*)?")


def files_of_tree() -> list[Path]:
    """All files, without what builds and runs leave behind."""
    return [*ROOT.glob("*"), *(path for top in TOP for path in (ROOT / top).rglob("*.*"))]


class Tree:
    """What may be named."""

    def __init__(self) -> None:
        self.folders = {p.name for p in (ROOT / "src").iterdir() if p.is_dir()}
        files = files_of_tree()
        self.files = {path.name for path in files}
        self.words = {path.stem for path in files}
        for path in files:
            if (path.suffix in SOURCES or path.name in SOURCES) and path != Path(__file__).resolve():
                self.words |= set(re.findall(r"\w+", path.read_text(errors="replace")))

    def has_path(self, path: str) -> bool:
        """From the root or from src/, with {a,b} and *."""
        found = BRACES.search(path)
        if found:
            return all(self.has_path(path.replace(found.group(), one, 1)) for one in found.group(1).split(","))
        return any(glob.glob(str(base / path)) for base in (ROOT, ROOT / "src"))


def headings(document: Path) -> set[str]:
    """Anchors of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}


def wrong_link(target: str, document: Path) -> str | None:
    """What is wrong with a link of a document."""
    if re.match(r"\w+:", target):
        return None
    file, _, anchor = target.partition("#")
    path = (document.parent / file).resolve() if file else document
    if not path.exists():
        return f"a link to {target}, which is not there"
    if anchor and anchor not in headings(path):
        return f"a link to {target}, which has no such heading"
    return None


def wrong_word(word: str, tree: Tree) -> str | None:
    """What is wrong with one word between backticks."""
    word = word.rstrip(",;")
    if word in NOT_OURS:
        return None
    if PATH.fullmatch(word) and word.split("/")[0] in (*TOP, *tree.folders):
        return None if tree.has_path(word) else f"`{word}` is not there"
    if FILE.fullmatch(word):
        return None if word in tree.files else f"no file is called `{word}`"
    name = NAME.fullmatch(word)
    if name and not all(part in tree.words for part in name.group(1).split("::")):
        return f"the source has no `{name.group(1)}`"
    return None


def check(text: str, document: Path, tree: Tree) -> list[tuple[int, str]]:
    """(line, message) of each name that is not there."""
    faults = []
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_block = not in_block
        if in_block:
            continue
        found = [wrong_link(target, document) for target in LINK.findall(line)]
        found += [wrong_word(word, tree) for quoted in QUOTED.findall(line) for word in quoted.split()]
        faults += [(number, message) for message in found if message]
    return faults


# (text, words of the message that must come; None: nothing may come)
JUDGED = [
    ("`src/ops/norm.h`, `ops/norm.h` and `norm.h`", None),
    ("`src/ops/norm.{h,cpp}`, `tests/faults/*.patch`, `src/ops/<name>.h`", None),
    ("`scripts/update_docs.sh --check`", None),
    ("`Tape::backward`, `ParamStore::materialize(seed, type)`, `linear_cross_entropy`", None),
    ("[the tour](src/README.md), [an op](CONTRIBUTING.md#add-an-op), [GitHub](https://github.com)", None),
    ("```\nsrc/ops/gone.h `src/ops/gone.h`\n```", None),
    ("`runs/wide/config.yaml`, `[B, T, D]`, `train.max_steps`", None),
    ("`src/ops/gone.h`", "`src/ops/gone.h` is not there"),
    ("`ops/gone.h`", "`ops/gone.h` is not there"),
    ("`src/ops/norm.{h,gone}`", "is not there"),
    ("`tests/gone/*.patch`", "is not there"),
    ("`python3 scripts/gone.py --all`", "`scripts/gone.py` is not there"),
    ("`gone_for_good.h`", "no file is called"),
    ("`Tape::gone_for_good`", "the source has no"),
    ("`GoneForGood`", "the source has no"),
    ("[gone](docs/gone.md)", "which is not there"),
    ("[gone](CONTRIBUTING.md#gone)", "no such heading"),
]


def self_test(tree: Tree) -> int:
    """Prints what was judged wrongly; 1 where anything was."""
    wrong = 0
    for text, expected in JUDGED:
        found = [message for _, message in check(text, ROOT / "README.md", tree)]
        if [expected in m for m in found] != [True] if expected else found:
            wrong += 1
            print(f"self-test: {text!r}: expected {expected!r}, got {found}", file=sys.stderr)
    print(f"self-test: {len(JUDGED) - wrong} of {len(JUDGED)} texts judged rightly")
    return 1 if wrong else 0


def main() -> int:
    """Checks the documents, or with --self-test itself."""
    tree = Tree()
    if sys.argv[1:] == ["--self-test"]:
        return self_test(tree)
    if len(sys.argv) > 1:
        raise SystemExit(f"usage: {sys.argv[0]} [--self-test]")
    faults = 0
    for document in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "src/README.md", ROOT / "CONTRIBUTING.md"):
        for line, message in check(document.read_text(), document, tree):
            print(f"{document.relative_to(ROOT)}:{line}: {message}")
            faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
