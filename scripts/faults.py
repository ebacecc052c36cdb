#!/usr/bin/env python3
"""Plants one fault at a time and says which check catches it: scripts/faults.py [BUILD] [NAME...]
scripts/faults.py --check only looks whether each patch still applies.

A fault is tests/faults/<name>.patch: a sentence that says what is wrong, a line `tests: PATTERN` for doctest, and a
diff of one source file; where that is a header, a line `in: FILE.cpp` says what it is compiled into. The patched copy
is compiled, linked in place of the original and run; the build folder stays as it is. Prints a table; exit code 1 where a fault is not caught, 2 where a patch no longer applies or builds.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ROOT / "tests" / "faults"
TIMEOUT = 300  # seconds: a fault may keep a test from ending
ISA = "generic"  # runs on every CPU
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "EFFLLM_ISA": ISA, "PATH": "/usr/bin:/bin"}


class Broken(Exception):
    """A patch that does not apply or build."""


def run(command: list[str], cwd: Path, what: str) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise Broken(f"{what}: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def read_fault(path: Path) -> tuple[str, str, str, str]:
    """(sentence, doctest pattern, patched file, file to compile) of a patch."""
    if not path.exists():
        raise Broken("there is no such patch")
    text = path.read_text()
    pattern = re.search(r"^tests: (.+)$", text, re.M)
    source = re.search(r"^\+\+\+ b/(\S+)$", text, re.M)
    if not pattern or not source:
        raise Broken("needs a line `tests: PATTERN` and a diff of one file")
    compiled = re.search(r"^in: (\S+\.cpp)$", text, re.M)
    if source.group(1).endswith(".h") and not compiled:
        raise Broken("needs a line `in: FILE.cpp` that says what the header is compiled into")
    sentence = text.split("\ntests:")[0].strip().replace("\n", " ")
    return sentence, pattern.group(1), source.group(1), compiled.group(1) if compiled else source.group(1)


def compile_command(build: Path, source: str) -> list[str]:
    """The command that compiles `source`; of kernels, the one for the instruction set that tests are pinned to."""
    entries = json.loads((build / "compile_commands.json").read_text())
    wanted = str(ROOT / source)
    found = [e["command"] for e in entries if e["file"] == wanted]
    if len(found) > 1:
        found = [c for c in found if f"EFFLLM_ISA={ISA} " in c]
    if not found:
        raise Broken(f"{source} is not built")
    return shlex.split(found[0])


def plant(path: Path, build: Path, link: list[str]) -> tuple[str, str, list[str]]:
    """(sentence, file, checks that failed) of one fault."""
    sentence, pattern, source, unit = read_fault(path)
    with tempfile.TemporaryDirectory() as folder:
        for file in {source, unit}:
            copy = Path(folder) / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text((ROOT / file).read_text())
        run(["patch", "-p1", "--silent", "--input", str(path)], Path(folder), "does not apply")
        command = compile_command(build, unit)
        compiled = Path(folder) / "fault.o"
        command[command.index("-o") + 1] = str(compiled)
        command[command.index("-c") + 1] = str(Path(folder) / unit)
        command.insert(command.index("-c"), f"-I{folder}/src")
        command.remove(f"-I{ROOT}/src"), command.append(f"-I{ROOT}/src")  # a patched header comes first
        command = [c for c in command if c != "-Werror"]  # a fault may leave something unused
        run(command, build, "does not build")
        program = Path(folder) / "tests"
        relink = list(link)
        relink[relink.index("-o") + 1] = str(program)
        # Before the library, so that its own copy of the file is never asked for.
        relink.insert(relink.index("-o") + 2, str(compiled))
        run(relink, build, "does not link")
        # A file that stands in the place of its original may have private state: only what the pattern names runs.
        try:
            done = subprocess.run([str(program), f"-tc={pattern}"], cwd=build, capture_output=True, text=True,
                                  errors="replace", timeout=TIMEOUT, env=ENVIRONMENT)
        except subprocess.TimeoutExpired:
            return sentence, source, ["a test that does not end"]
        if " 0 passed" not in done.stdout and "test cases: 0" in re.sub(r" +", " ", done.stdout):
            raise Broken(f"no test is named {pattern}")
        if done.returncode == 0:
            return sentence, source, []
        return sentence, source, failures(done.stdout + done.stderr)


def failures(output: str) -> list[str]:
    """The functions or conditions that failed, each with its test, in the order of the output."""
    found: list[str] = []
    test = ""
    for line in output.splitlines():
        if line.startswith("TEST CASE:"):
            test = line.removeprefix("TEST CASE:").strip()
        match = re.search(r"(\w+\.\w+):(\d+): (?:FATAL )?ERROR: (.*)", line)
        if match:
            thrown = re.search(r"THREW exception: (.*)", match.group(3))
            entry = f"{test}: " + (f"`{thrown.group(1)}`" if thrown else where(match.group(1), int(match.group(2))))
            if entry not in found:
                found.append(entry)
    return found or ["the program ended badly"]


def where(file: str, number: int) -> str:
    """The check function of the contract that a line lies in, otherwise file and line."""
    paths = list((ROOT / "tests").rglob(file))
    if paths and file.startswith("contract"):
        lines = paths[0].read_text().splitlines()
        for line in reversed(lines[:number]):
            match = re.match(r"void (check_\w+)\(", line)
            if match:
                return match.group(1)
    return f"{file}:{number}"


def stale() -> int:
    """Names the patches that no longer apply to the tree."""
    paths = sorted(FAULTS.glob("*.patch"))
    bad = [p.stem for p in paths if subprocess.run(["git", "apply", "--check", p], cwd=ROOT, capture_output=True).returncode]
    print("\n".join([f"{name}: no longer applies; plant it anew" for name in bad] or [f"{len(paths)} faults apply"]))
    return 2 if bad else 0


def main() -> int:
    """Plants the faults named, or all."""
    arguments = sys.argv[1:]
    if arguments == ["--check"]:
        return stale()
    build = Path(arguments.pop(0) if arguments else ROOT / "build" / "release").resolve()
    commands = run(["ninja", "-t", "commands", "effllm_tests"], build, "ninja").splitlines()
    line = next(c for c in reversed(commands) if " -o effllm_tests " in c)
    link = shlex.split(next(part for part in line.split(" && ") if " -o effllm_tests " in part))
    paths = [FAULTS / f"{name}.patch" for name in arguments] or sorted(FAULTS.glob("*.patch"))
    caught = broken = 0

    def row(path: Path) -> tuple[str, str, list[str]] | Broken:
        try:
            return plant(path, build, link)
        except Broken as error:
            return error

    print("| fault | in | caught by |\n|---|---|---|", flush=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for path, result in zip(paths, pool.map(row, paths)):
            if isinstance(result, Broken):
                broken += 1
                print(f"| {path.stem} | | BROKEN: {result} |", flush=True)
                continue
            sentence, source, checks = result
            caught += bool(checks)
            shown = "; ".join(checks[:2]) + (f" and {len(checks) - 2} more" if len(checks) > 2 else "")
            print(f"| {sentence} | {source} | {shown or f'NOTHING: {path.stem}'} |", flush=True)
    print(f"\n{caught} of {len(paths)} faults caught")
    return 2 if broken else int(caught < len(paths))


if __name__ == "__main__":
    sys.exit(main())
