"""Answers of the tasks that compute something of what has come: from the tokens alone, as docs/tasks.md says them.

A function of a task's name takes the tokens and the options of a sample and returns its targets: "" where none is
scored, HIDDEN where the sample does not show the answer. Wrong where the tokens are none of this task.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

Options = dict[str, Any]
HIDDEN = "?"


class Wrong(Exception):
    """What a sample has that it should not have."""


def demand(holds: bool, what: str) -> None:
    """Wrong where it does not hold."""
    if not holds:
        raise Wrong(what)


def scored(targets: list[str], options: Options) -> list[str]:
    """Returns the targets of `scored`: every one, or the last alone."""
    return targets if options["scored"] == "every" else [""] * (len(targets) - 1) + targets[-1:]


def parity(tokens: list[str], options: Options) -> list[str]:
    """Whether the ones so far are an odd number."""
    demand(set(tokens) <= {"0", "1"}, "a token is no bit")
    return scored([str(tokens[: i + 1].count("1") % 2) for i in range(len(tokens))], options)


def majority(tokens: list[str], options: Options) -> list[str]:
    """Whether more than half of the bits so far are ones."""
    demand(set(tokens) <= {"0", "1"}, "a token is no bit")
    return scored([str(int(2 * tokens[: i + 1].count("1") > i + 1)) for i in range(len(tokens))], options)


def counting(tokens: list[str], options: Options) -> list[str]:
    """How often a token has come, itself counted, at most `most`."""
    demand(set(tokens) <= {f"s{i}" for i in range(options["symbols"])}, "a token is no symbol")
    seen: Counter[str] = Counter()
    targets = []
    for token in tokens:
        seen[token] += 1
        targets.append(str(min(seen[token], options["most"])))
    return targets


def operators(tokens: list[str]) -> int:
    """Returns how many operators an expression has."""
    return sum(token in "+-*" for token in tokens)


def modular_arithmetic(tokens: list[str], options: Options) -> list[str]:
    """The value of what stands before `=`; products before sums, from left to right, as Python has them too."""
    text = tokens[:-1]
    numbers = {str(i) for i in range(options["modulus"])}
    demand(tokens[-1] == "=" and set(text) <= numbers | set("+-*()"), "a token is none of an expression")
    # Numbers are even places and operators odd ones, or each operator has brackets of its own.
    expected = 2 * operators(text) + 1 + (2 * operators(text) if options["brackets"] else 0)
    demand(len(text) == expected, f"{len(text)} tokens, not {expected}")
    return [""] * len(text) + [str(eval(" ".join(text)) % options["modulus"])]


def dyck(tokens: list[str], options: Options) -> list[str]:
    """What closes the innermost open bracket, `.` where none is open."""
    opened: list[str] = []
    targets = []
    for token in tokens:
        if token[0] == "(":
            demand(1 <= int(token[1:]) <= options["kinds"], f"{token} is of no kind")
            opened.append(token[1:])
            demand(len(opened) <= options["depth"], "more are open than may be")
        else:
            demand(bool(opened) and token == ")" + opened.pop(), f"{token} closes nothing")
        targets.append(")" + opened[-1] if opened else ".")
    return targets


def depth(tokens: list[str]) -> int:
    """Returns how many brackets are open at once at most."""
    height = most = 0
    for token in tokens:
        height += 1 if token[0] == "(" else -1
        most = max(most, height)
    return most


def is_even(images: str) -> bool:
    """Returns whether a permutation turns around an even number of pairs."""
    return sum(a > b for i, a in enumerate(images) for b in images[i + 1 :]) % 2 == 0


def permutations(tokens: list[str], options: Options) -> list[str]:
    """All so far one after the other, the first first; `231` takes 1 to 2, 2 to 3 and 3 to 1."""
    size = int(options["group"][1:])
    product = list(range(size))
    targets = []
    for token in tokens:
        demand(sorted(token) == [str(i + 1) for i in range(size)], f"{token} is no permutation of {size}")
        demand(options["group"] != "a5" or is_even(token), f"{token} is odd")
        product = [int(token[i]) - 1 for i in product]
        targets.append("".join(str(i + 1) for i in product))
    return scored(targets, options)


def mdp(tokens: list[str], options: Options) -> list[str]:
    """The action taken, which is the next token, but for the last one, which is not shown."""
    steps = options["steps"]
    demand(len(tokens) == 4 * steps - 1, f"{len(tokens)} tokens")
    for i in range(steps):
        demand(tokens[4 * i] == f"t{steps - i}", f"{tokens[4 * i]} is not what is left of the steps")
        demand(tokens[4 * i + 1][0] == "g" and tokens[4 * i + 2][0] == "s", "no reward to come, or no state")
    return [(tokens[i + 1] if i + 1 < len(tokens) else HIDDEN) if i % 4 == 2 else "" for i in range(len(tokens))]
