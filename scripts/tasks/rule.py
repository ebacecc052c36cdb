"""What who knows the world of an mdp can tell of its actions: all walks are as likely, so that walks are counted."""

from __future__ import annotations

from functools import cache
from math import log

from tasks.draws import Sample

Choice = tuple[str, str]  # a state and an action
Place = tuple[int, int, str, str]  # steps left, reward to come, state, action


def places_of(sample: Sample) -> list[Place]:
    """Returns the steps of a walk."""
    tokens, targets = sample
    actions = [target for target in targets if target]
    left, to_come, states = ([token[skip:] for token in tokens[i::4]] for i, skip in ((0, 1), (1, 1), (2, 0)))
    return [(int(t), int(g), s, a) for t, g, s, a in zip(left, to_come, states, actions)]


def world_of(samples: list[Sample]) -> tuple[dict[Choice, str], dict[Choice, int]]:
    """Returns the next state and the reward of each choice, as walks show them."""
    following, rewards = {}, {}
    for sample in samples:
        places = places_of(sample)
        for (_, to_come, state, action), after in zip(places, [*places[1:], None]):
            rewards[state, action] = to_come - (after[1] if after else 0)
            if after:
                following[state, action] = after[2]
    return following, rewards


def known_rule(shown: list[Sample], judged: list[Sample]) -> tuple[float, float]:
    """Returns nats for each action of `judged`, and how often the likeliest one, the first of several, was taken.

    The world is that of `shown`, in which every choice has to come.
    """
    following, rewards = world_of(shown)
    actions = sorted({action for _, action in rewards}, key=lambda action: int(action[1:]))

    @cache
    def walks(left: int, state: str, to_come: int) -> int:
        if left == 0 or to_come < 0:
            return int(left == 0 and to_come == 0)
        return sum(beginning(left, state, to_come, action) for action in actions)

    def beginning(left: int, state: str, to_come: int, action: str) -> int:
        rest = to_come - rewards[state, action]
        return int(rest == 0) if left == 1 else walks(left - 1, following[state, action], rest)

    nats, hits, count = 0.0, 0, 0
    for sample in judged:
        for left, to_come, state, action in places_of(sample):
            counts = [beginning(left, state, to_come, one) for one in actions]
            nats -= log(counts[actions.index(action)] / sum(counts))
            hits += counts.index(max(counts)) == actions.index(action)
            count += 1
    return nats / count, hits / count


def guess(shown: list[Sample], judged: list[Sample]) -> float:
    """Returns the share of the answers of `judged` that are the most frequent one of `shown`, the first of several."""
    answers = [target for _, targets in shown for target in targets if target]
    best = max(sorted(set(answers), key=lambda answer: int(answer[1:])), key=answers.count)
    asked = [target for _, targets in judged for target in targets if target]
    return asked.count(best) / len(asked)
