"""Answers of the tasks that ask for what has come before, as formal.py has those of others."""

from __future__ import annotations

from tasks.formal import HIDDEN, Options, demand

Pair = tuple[tuple[str, ...], tuple[str, ...]]  # the tokens of a key and of its value


def copying(tokens: list[str], options: Options) -> list[str]:
    """The text before the sign, once more."""
    text = tokens[: tokens.index(">")]
    demand(set(text) <= {str(i) for i in range(options["vocab"] - 1)}, "a token is no symbol")
    demand(tokens == text + [">"] + text[:-1], "what follows the sign is no copy")
    return [""] * len(text) + text


def selective_copying(tokens: list[str], options: Options) -> list[str]:
    """The symbols before the sign, in their order."""
    count = options["symbols"]
    sign = tokens.index(">")
    before = tokens[:sign]
    demand(len(tokens) == options["length"], f"{len(tokens)} tokens")
    demand(set(before) <= {"_"} | {str(i) for i in range(options["vocab"] - 2)}, "a token is no symbol and no blank")
    asked = [">"] + ["_"] * count if options["marker"] == "first" else [">"] * count
    demand(tokens[sign:] == asked, "what asks for the answers is other than `marker` says")
    symbols = [token for token in before if token != "_"]
    demand(len(symbols) == count, f"{len(symbols)} symbols")
    return [""] * (len(tokens) - count) + symbols


def induction_heads(tokens: list[str], options: Options) -> list[str]:
    """What followed the sign where it stood first."""
    first = tokens.index("s")
    demand(len(tokens) == options["length"], f"{len(tokens)} tokens")
    demand(tokens[-1] == "s" and tokens.count("s") == 2 and first < len(tokens) - 2, "the sign stands elsewhere")
    return [""] * (len(tokens) - 1) + [tokens[first + 1]]


def mqar(tokens: list[str], options: Options) -> list[str]:
    """The value of a key, where it comes again; `pairs` has one number, that of this sample."""
    demand(len(tokens) == options["length"], f"{len(tokens)} tokens")
    (count,) = options["pairs"]
    values = dict(zip(tokens[0 : 2 * count : 2], tokens[1 : 2 * count : 2]))
    rest = tokens[2 * count :]
    demand(len(values) == count == len(set(values.values())), "a key or a value stands in two pairs")
    demand(all(key[0] == "k" for key in values) and all(v[0] == "v" for v in values.values()), "a pair is none")
    demand(all(rest.count(key) == 1 for key in values), "a key comes again more than once")
    others = [token for token in rest if token not in values]
    fit = all(v == "_" for v in others) if options["filler"] == "blank" else "_" not in others
    demand(fit and not set(others) & set(values.values()), "what stands between the keys should not")
    return [""] * (2 * count) + [values.get(token, "") for token in rest]


def pairs_of(tokens: list[str]) -> list[Pair]:
    """Returns keys and values, each as many tokens of `k` or of `v` as stand beside one another; noise is left out."""
    found: list[tuple[list[str], list[str]]] = []
    for i, token in enumerate(tokens):
        if token[0] == "k" and (i == 0 or tokens[i - 1][0] != "k"):
            found.append(([], []))
        if token[0] != "n":
            found[-1]["kv".index(token[0])].append(token)
    return [(tuple(key), tuple(value)) for key, value in found]


def fuzzy_recall(tokens: list[str], options: Options) -> list[str]:
    """The value of a key that has come before, token by token, the first of them at the last token of the key."""
    values: dict[tuple[str, ...], tuple[str, ...]] = {}
    targets: list[str] = []
    pairs = pairs_of(tokens)
    for number, (key, value) in enumerate(pairs):
        demand(len(set(key)) == len(key) <= options.get("key_motif", 1), f"{key} is no key")
        if number + 1 == len(pairs):
            demand(key in values and value == values[key][:-1], "the last key has not come, or with another value")
        demand(len(set(value)) == len(value) <= options.get("value_motif", 1), f"{value} is no value")
        known = values.get(key)
        targets += [""] * (len(key) - 1) + (list(known) if known else [""] * len(value))
        if known is None or number + 1 < len(pairs):
            demand(values.setdefault(key, value) == value, f"{key} has two values")
            targets.append("")
    demand(len(tokens) <= options["length"], f"{len(tokens)} tokens")
    return targets


def in_context_recall(tokens: list[str], options: Options) -> list[str]:
    """The value of a key that has come before, at the key."""
    demand(len(tokens) == options["length"] - 1, f"{len(tokens)} tokens")
    return fuzzy_recall(tokens, options)


def noisy_recall(tokens: list[str], options: Options) -> list[str]:
    """The same among pairs of noise, which have no answers."""
    demand(len(tokens) == options["length"] - 1, f"{len(tokens)} tokens")
    for i in range(0, len(tokens) - 1, 2):
        demand((tokens[i][0] == "n") == (tokens[i + 1][0] == "n"), "half a pair is noise")
    answers = iter(fuzzy_recall([token for token in tokens if token[0] != "n"], options))
    return ["" if token[0] == "n" else next(answers) for token in tokens]


def compression(tokens: list[str], options: Options) -> list[str]:
    """The symbol that stands at the place which is asked for."""
    length = options["length"]
    places = tokens[length:]
    demand(set(tokens[:length]) <= {str(i) for i in range(options["symbols"])}, "a token is no symbol")
    demand(sorted(places) == sorted(f"p{i}" for i in range(length)), "a place is not asked for once")
    return [""] * length + [tokens[int(place[1:])] for place in places]


def memorization(tokens: list[str], options: Options) -> list[str]:
    """Something that no sample shows, at the blank after each key."""
    demand(len(tokens) == options["length"], f"{len(tokens)} tokens")
    demand(set(tokens[1::2]) == {"_"} and all(key[0] == "k" for key in tokens[0::2]), "no keys with blanks after them")
    return [HIDDEN if i % 2 else "" for i in range(len(tokens))]
