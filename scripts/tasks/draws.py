"""How often what is drawn in samples comes, beside how often it is expected, as docs/tasks.md says it.

A function of a task's name takes samples, each its tokens and targets, and the options of the task, and yields tallies.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from math import comb, sqrt
from typing import Any

from tasks.formal import Options, is_even, operators
from tasks.recall import pairs_of

Sample = tuple[list[str], list[str]]  # tokens and targets
FAR = 5.0  # a tally is off where chance would have it so about once in three million

Found = Counter[Hashable]


class Tally:
    """What came how often, and how often it was expected."""

    def __init__(self, what: str, found: Iterable[Hashable], expected: dict[Any, float]) -> None:
        self.what, self.found, self.expected = what, Counter(found), expected

    def problem(self) -> str | None:
        """Says what came that could not, or that the numbers are off by chi-square; None where they are as expected."""
        strange = self.found.keys() - {key for key, count in self.expected.items() if count > 0}
        if strange:
            return f"{self.what}: {sorted(strange, key=str)[0]} came"
        rare = sum(count for count in self.expected.values() if count < 5)  # together they are one kind
        kinds = [(self.found[key], count) for key, count in self.expected.items() if count >= 5]
        if rare >= 5:
            kinds.append((self.found.total() - sum(found for found, _ in kinds), rare))
        freedom = len(kinds) - 1
        if freedom < 1:
            return None
        square = sum((found - count) ** 2 / count for found, count in kinds)
        limit = freedom * (1 - 2 / (9 * freedom) + FAR * sqrt(2 / (9 * freedom))) ** 3  # Wilson and Hilferty
        return f"{self.what}: chi-square {square:.1f} of {freedom}" if square > limit else None


def evenly(what: str, found: Iterable[Hashable], kinds: Iterable[Hashable]) -> Tally:
    """Each kind is as likely."""
    found, kinds = list(found), list(kinds)
    return Tally(what, found, {kind: len(found) / len(kinds) for kind in kinds})


def lengths(samples: list[Sample], options: Options) -> Tally:
    """Each number of tokens from min_length to length is as likely."""
    kinds = range(options["min_length"], options["length"] + 1)
    return evenly("length", (len(tokens) for tokens, _ in samples), kinds)


def numbers(count: int, letter: str = "") -> list[str]:
    """Returns the names of `count` tokens."""
    return [f"{letter}{i}" for i in range(count)]


def copying(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """The lengths and symbols of texts."""
    texts = [tokens[: tokens.index(">")] for tokens, _ in samples]
    yield evenly("length", map(len, texts), range(options["min_length"], options["length"] + 1))
    yield evenly("symbol", (token for text in texts for token in text), numbers(options["vocab"] - 1))


def selective_copying(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Symbols, and their places, of which all sets are as likely: where each stands, and where the first does."""
    texts = [tokens[: tokens.index(">")] for tokens, _ in samples]
    places, count = len(texts[0]), options["symbols"]
    stands = [[i for i, token in enumerate(text) if token != "_"] for text in texts]
    yield evenly("symbol", (t for text in texts for t in text if t != "_"), numbers(options["vocab"] - 2))
    yield evenly("place", (i for places_of_one in stands for i in places_of_one), range(places))
    sets = comb(places, count)
    chances = {i: comb(places - 1 - i, count - 1) / sets for i in range(places - count + 1)}
    firsts = {i: len(texts) * chance for i, chance in chances.items()}
    yield Tally("place of the first", (places_of_one[0] for places_of_one in stands), firsts)


def induction_heads(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Where the sign stands, and the other tokens."""
    yield evenly("place", (tokens.index("s") for tokens, _ in samples), range(options["length"] - 2))
    yield evenly("token", (t for tokens, _ in samples for t in tokens if t != "s"), numbers(options["vocab"] - 1))


def gaps_of_two(space: int, power: float) -> tuple[list[float], list[float]]:
    """Returns how likely each gap is the first drawn, and the second, of weights gap^(power - 1) without repeats."""
    weights = [gap ** (power - 1) for gap in range(1, space + 1)]
    first = [weight / sum(weights) for weight in weights]
    second = [p * sum(q / (1 - q) for j, q in enumerate(first) if j != i) for i, p in enumerate(first)]
    return first, second


def mqar(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Numbers of pairs, keys, values, where the first two keys come again, and what stands between."""
    keys = [f"k{i + 1}" for i in range(options["vocab"] // 2 - 1)]
    values = numbers(options["vocab"] - options["vocab"] // 2, "v")
    pairs = [sum(target != "" for target in targets) for _, targets in samples]
    yield evenly("number of pairs", pairs, options["pairs"])
    shown = [(tokens[: 2 * count], tokens[2 * count :]) for (tokens, _), count in zip(samples, pairs)]
    yield evenly("key", (key for start, _ in shown for key in start[0::2]), keys)
    yield evenly("value", (value for start, _ in shown for value in start[1::2]), values)
    for count in options["pairs"]:
        of_count = [(start, rest) for start, rest in shown if len(start) == 2 * count]
        likely = gaps_of_two((options["length"] - 2 * count) // 2, options["power_a"])
        for place, chances in enumerate(likely[:count]):
            expected = {2 * gap: chance * len(of_count) for gap, chance in enumerate(chances)}
            where = (rest.index(start[2 * place]) for start, rest in of_count)
            yield Tally(f"place of key {place + 1} of {count}", where, expected)
    if options["filler"] == "random":
        fillers = [(start, [token for token in rest if token not in start]) for start, rest in shown]
        both: Counter[Any] = Counter()
        for start, others in fillers:
            kinds = len(keys) + len(values) - len(start)
            both.update({token: len(others) / kinds for token in keys + values if token not in start})
        yield Tally("filler", (token for _, others in fillers for token in others), dict(both))


def last_key(samples: list[Sample]) -> Tally:
    """Of the keys that have come before the last one each is as likely to be it."""
    found, expected = [], Counter()
    for tokens, _ in samples:
        keys = [key for key, _ in pairs_of(tokens)]
        known = list(dict.fromkeys(keys[:-1]))
        found.append((len(known), known.index(keys[-1])))
        expected.update({(len(known), i): 1 / len(known) for i in range(len(known))})
    return Tally("last key", found, dict(expected))


def first_values(pairs: list[Any]) -> list[tuple[str, ...]]:
    """Returns the values of keys where they come first."""
    values: dict[Any, Any] = {}
    for key, value in pairs:
        values.setdefault(key, value)
    return list(values.values())


def in_context_recall(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Keys, values of new keys, and the key at the end."""
    rest = options["vocab"] - options.get("noise_vocab", 0)
    pairs = [pairs_of(tokens)[:-1] for tokens, _ in samples]
    yield evenly("key", (key[0] for row in pairs for key, _ in row), numbers(rest // 2, "k"))
    values = (value[0] for row in pairs for value in first_values(row))
    yield evenly("value", values, numbers(rest - rest // 2, "v"))
    yield last_key(samples)


def noisy_recall(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """The same, noise, and which pairs are noise: any before the last, but for one, drawn evenly, that is none."""
    yield from in_context_recall(samples, options)
    noise = [token for tokens, _ in samples for token in tokens if token[0] == "n"]
    yield evenly("noise", noise, numbers(options["noise_vocab"], "n"))
    before = options["length"] // 2 - 1
    chance = options["noise"] * (1 - 1 / before)
    found = [(i, tokens[2 * i][0] == "n") for tokens, _ in samples for i in range(before)]
    shares = {True: chance * len(samples), False: (1 - chance) * len(samples)}
    expected = {(i, is_noise): share for i in range(before) for is_noise, share in shares.items()}
    yield Tally("pairs of noise", found, expected)


def fuzzy_recall(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Tokens of keys and values, and how many they have, of the first pair and of the last key."""
    half = options["vocab"] // 2
    pairs = [pairs_of(tokens) for tokens, _ in samples]
    yield evenly("key", (token for row in pairs for token in row[0][0]), numbers(half, "k"))
    yield evenly("value", (token for row in pairs for token in row[0][1]), numbers(options["vocab"] - half, "v"))
    for what, number in (("first", 0), ("last", -1)):
        sizes = range(1, min(options["key_motif"], half) + 1)
        yield evenly(f"tokens of the {what} key", (len(row[number][0]) for row in pairs), sizes)
    sizes = range(1, min(options["value_motif"], options["vocab"] - half) + 1)
    yield evenly("tokens of the first value", (len(row[0][1]) for row in pairs), sizes)


def compression(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Symbols, and the order in which places are asked for."""
    length = options["length"]
    yield evenly("symbol", (t for tokens, _ in samples for t in tokens[:length]), numbers(options["symbols"]))
    for place in {length, 2 * length - 1}:
        yield evenly(f"place at {place}", (tokens[place] for tokens, _ in samples), numbers(length, "p"))


def memorization(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Keys; each has the one value that it has, of as many as there are keys."""
    keys = numbers((options["vocab"] - 1) // 2, "k")
    yield evenly("key", (key for tokens, _ in samples for key in tokens[0::2]), keys)
    pairs = {pair for tokens, targets in samples for pair in zip(tokens[0::2], targets[1::2])}
    for what in (0, 1):
        came = Counter(pair[what] for pair in pairs)
        yield Tally("pairs of one key, or of one value", (min(count, 2) for count in came.values()), {1: len(keys)})


def parity(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Lengths and bits."""
    yield lengths(samples, options)
    yield evenly("bit", (token for tokens, _ in samples for token in tokens), "01")


majority = parity


def counting(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Lengths and symbols."""
    yield lengths(samples, options)
    yield evenly("symbol", (token for tokens, _ in samples for token in tokens), numbers(options["symbols"], "s"))


def permutations(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Elements of the group."""
    of_size = map("".join, itertools.permutations("12345"[: int(options["group"][1:])]))
    elements = [one for one in of_size if options["group"] != "a5" or is_even(one)]
    yield evenly("length", (len(tokens) for tokens, _ in samples), [options["length"]])
    yield evenly("element", (token for tokens, _ in samples for token in tokens), elements)


def left_of_root(tokens: list[str]) -> tuple[int, int]:
    """Returns how many operators a term in brackets has, and how many of them are left of its outermost one."""
    height = 0
    for i, token in enumerate(tokens):
        height += {"(": 1, ")": -1}.get(token, 0)
        if height == 1 and token in "+-*":
            return operators(tokens), operators(tokens[:i])
    raise ValueError("no operator")


def modular_arithmetic(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Numbers of operators, operators, digits, and how trees part."""
    each = 4 if options["brackets"] else 2
    least, most = -(-max(options["min_length"] - 2, 0) // each), (options["length"] - 2) // each
    counts = (operators(tokens) for tokens, _ in samples)
    yield evenly("number of operators", counts, range(least, most + 1))
    yield evenly("operator", (t for tokens, _ in samples for t in tokens if t in "+-*"), "+-*")
    digits = (t for tokens, _ in samples for t in tokens if t.isdigit())
    yield evenly("digit", digits, numbers(options["modulus"]))
    if options["brackets"]:
        parted = [left_of_root(tokens) for tokens, _ in samples if operators(tokens) > 0]
        of_count = Counter(count for count, _ in parted)
        yield Tally("left", parted, {(n, i): of_count[n] / n for n in of_count for i in range(n)})


def dyck(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Lengths, kinds, and whether a bracket opens, an even chance where it could close one too."""
    yield lengths(samples, options)
    opening = [token[1:] for tokens, _ in samples for token in tokens if token[0] == "("]
    yield evenly("kind", opening, [str(i + 1) for i in range(options["kinds"])])
    free = []
    for tokens, _ in samples:
        height = 0
        for token in tokens:
            if 0 < height < options["depth"]:
                free.append(token[0])
            height += 1 if token[0] == "(" else -1
    yield evenly("open or close", free, "()")


def mdp(samples: list[Sample], options: Options) -> Iterator[Tally]:
    """Actions, the first state, and the world: what follows a state and an action, which is always the same."""
    taken = [action for _, targets in samples for action in targets if action]
    yield evenly("action", taken, numbers(options["actions"], "a"))
    yield evenly("first state", (tokens[2] for tokens, _ in samples), numbers(options["states"], "s"))
    moves, rewards = set(), set()
    for tokens, targets in samples:
        to_come = [int(token[1:]) for token in tokens[1::4]] + [0]
        for i in range(options["steps"]):
            choice = (tokens[4 * i + 2], targets[4 * i + 2])
            rewards.add((choice, to_come[i] - to_come[i + 1]))
            if i + 1 < options["steps"]:
                moves.add((choice, tokens[4 * i + 6]))
    choices = options["states"] * options["actions"]
    for what, facts in (("states after a choice", moves), ("rewards of a choice", rewards)):
        came = Counter(choice for choice, _ in facts)
        yield Tally(what, came.values(), {1: choices})
    share = options["rewards"]
    expected = {1: share * choices, 0: (1 - share) * choices}
    yield Tally("reward", (reward for _, reward in rewards), expected)
