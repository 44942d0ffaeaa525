"""Random sequences of legal, odd and hostile calls, and what must hold after each that was accepted (I13).

`python -m bench.poison` plays many of them; the tests a few.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from streamsim import values
from streamsim.estimators import base, bts, lif, lm, thompson
from streamsim.estimators.thompson_bayesian_linear import ThompsonBayesianLinear
from tests.policies.play import ENTRIES, Player, seed

_MISSING: Final = object()
ODD: Final[tuple[Any, ...]] = (
    _MISSING, None, True, False, "", "a", "1", "é\u4e16", "x" * 600, 0, -1, 1, 2, 1.5, 0.3, -0.5, 1e-300,
    5e-324, -5e-324, 1e15, -1e15, 1.7e9, 1e16, 1e100, 1e154, 1e308, -1e308, 2**53, 2**63 - 1, -(2**63),
    [], [[]], [{}], {}, [None], "abc", ["a"], ["a", "a", "b"], [1, 2.0, "3"], [""], [1.7e9, 1.7e9, 0.3, 0.3],
    [1e15] * 4, [1e15, -1e15, 1e-15, 5e-324], [1e308, 1, 1, 1], [0.5] * 3, [0.5] * 7, [True, 1], ["1", "2"],
)  # fmt: skip
_MANY: Final = [f"arm {i}" for i in range(1000)]
_NAMED: Final = re.compile(r"^(context|action|reward)\b|none of this experiment's")


def play_sequence(slug: str, number: int, *, calls: int = 6) -> int:
    """One seeded sequence on a fresh experiment; how many odd calls it accepted.

    :raises AssertionError: a plain call failed after one that was accepted, probabilities do not sum to 1, or
        a refusal does not name the field at fault.
    """
    seed(number)
    rng = random.Random(f"{slug} {number}")
    player = Player(ENTRIES[slug], forgetful=True)
    accepted = 0
    for _ in range(calls):
        context = player.context()
        action, _ = player.decide(context)
        sent = {"context": context, "action": action, "reward": _bounded(player.earn(context, action))}
        story = copy.deepcopy(sent)
        for _ in range(rng.choice((1, 1, 2, 3))):
            _spoil(story, rng)
        try:
            if rng.random() < 0.3:
                _decide(player, story["context"])
            else:
                player.learn(story["context"], story["action"], story["reward"])
        except Exception as error:
            assert _NAMED.search(str(error)), f"{slug} {number}: {story} gives {error!r}"
        else:
            accepted += 1
        try:
            _decide(player, context)
            player.learn(**sent)
            _decide(player, context)
        except Exception as error:
            raise AssertionError(f"{slug} {number}: after {story} plain calls fail: {error!r}") from error
    return accepted


def _bounded(reward: dict[str, Any]) -> dict[str, Any]:
    """What the world pays at most, wherever a policy was led to."""
    return {field: max(-1e6, min(1e6, value)) for field, value in reward.items()}


def _decide(player: Player, context: Any) -> None:
    action, probabilities = player.decide(context)
    values.check(action, "action")
    if probabilities is not None:
        assert abs(sum(probabilities.values()) - 1) < 1e-6, probabilities
        assert all(0 <= p <= 1 + 1e-9 for p in probabilities.values()), probabilities


def _spoil(story: dict[str, Any], rng: random.Random) -> None:
    """Make one field odd: of what is there, or `arms`; or the whole reward."""
    part = rng.choice(("context", "action", "reward"))
    if part == "reward" and rng.random() < 0.3:
        story["reward"] = rng.choice([odd for odd in ODD if odd is not _MISSING])
        return
    if not isinstance(story[part], dict):
        return
    fields = sorted(story[part]) + (["arms"] if part == "context" else [])
    if not fields:
        return
    field = rng.choice(fields)
    odd = rng.choice((*ODD, _MANY)) if field == "arms" else rng.choice(ODD)
    if odd is _MISSING:
        story[part].pop(field, None)
    else:
        story[part][field] = copy.deepcopy(odd)


# ---- estimators

_NUMBERS: Final = [odd for odd in ODD if type(odd) in (int, float, bool, str)]


def _vector(rng: random.Random, size: int) -> list[Any]:
    length = size if rng.random() < 0.8 else rng.randrange(5)
    return [rng.choice(_NUMBERS) if rng.random() < 0.5 else rng.gauss(0, 1) for _ in range(length)]


Odd = Callable[[random.Random], tuple[Any, ...]]


def _one(rng: random.Random) -> tuple[Any, ...]:
    return (rng.choice(ODD[1:]),)


def _pair(rng: random.Random) -> tuple[Any, ...]:
    return ({"x": rng.choice(ODD[1:]), "y": rng.choice(_NUMBERS)},)


def _row(rng: random.Random) -> tuple[Any, ...]:
    return rng.choice(_NUMBERS), _vector(rng, 4)


ESTIMATORS: Final[dict[str, tuple[Callable[[Any], Any], Odd, tuple[Any, ...], Callable[[Any], Any]]]] = {
    "Count": (base.Count, _one, (1,), lambda e: e.get_value()),
    "Mean": (base.Mean, _one, (0.5,), lambda e: e.get_value()),
    "Variance": (base.Variance, _one, (0.5,), lambda e: e.get_value()),
    "Proportion": (base.Proportion, _one, (1,), lambda e: e.get_value()),
    "Covariance": (base.Covariance, _pair, ({"x": 1, "y": 2},), lambda e: e.get_value()),
    "Correlation": (base.Correlation, _pair, ({"x": 1, "y": 2},), lambda e: e.get_value()),
    "LM": (lambda d: lm.LM(d, p=4), _row, (0.5, [1, 0.1, 0.2, 0.3]), lambda e: e.get_value()),
    "RLS": (
        lambda d: lm.RLS(d, p=4), _row, (0.5, [1, 0.1, 0.2, 0.3]),
        lambda e: [*e.get_value(), *e.estimate([1, 0.1, 0.2, 0.3])],
    ),
    "ThompsonBayesianLinear": (
        lambda d: ThompsonBayesianLinear(d or {"J": [0] * 4, "P": np.eye(4).tolist(), "err": 0.1}),
        _row, (0.5, [1, 0.1, 0.2, 0.3]), lambda e: [*e.get_value(), *e.sample()],
    ),
    "LiF": (
        lambda d: lif.LiF(d, t=3, lifversion=1),
        lambda rng: tuple(rng.choice(_NUMBERS) for _ in range(4)),
        (1, 1.0, 0.5, 1.0), lambda e: list(e.suggest().values()),
    ),
    "BTS": (
        lambda d: bts.BTS(d, base.Variance, m=4), _one, (0.5,), lambda e: e.get_value(),
    ),
    "BBThompsonList": (
        lambda d: base.Proportion(d), _one, (1,),
        lambda e: list(thompson.BBThompsonList({"a": e.get_dict()}, ["a", "b"]).propensities().values()),
    ),
    "ThompsonVarList": (
        lambda d: base.Variance(d), _one, (0.5,),
        lambda e: len(thompson.ThompsonVarList({"a": e.get_dict()}, ["a"]).experimentThompson()),
    ),
}  # fmt: skip
"""How to build it from a stored dict, an odd observation, a plain one, and what a decision asks of it."""


def estimate_sequence(name: str, number: int, *, calls: int = 6) -> int:
    """As `play_sequence`, for one estimator whose state goes through JSON between calls."""
    build, odd, plain, ask = ESTIMATORS[name]
    seed(number)
    rng = random.Random(f"{name} {number}")
    state: dict[str, Any] = {}
    accepted = 0
    for _ in range(calls):
        observation = odd(rng)
        try:
            state = _updated(build(state), observation)
            accepted += 1
        except (ValueError, TypeError, KeyError, OverflowError):
            pass
        try:
            state = _updated(build(state), plain)
            values.check(values.plain(ask(build(state)), "figure"), "figure")
        except Exception as error:
            raise AssertionError(
                f"{name} {number}: after {observation} a plain one fails: {error!r}"
            ) from error
    return accepted


def _updated(estimator: Any, observation: tuple[Any, ...]) -> dict[str, Any]:
    estimator.update(*observation)
    state: dict[str, Any] = json.loads(values.dump(values.plain(estimator.get_dict(), "theta")))
    return state


def sequences() -> Iterator[tuple[str, Callable[[int], int]]]:
    """(name, player of one numbered sequence) for every policy and estimator."""
    for slug in ENTRIES:
        yield slug, lambda number, slug=slug: play_sequence(slug, number)  # type: ignore[misc]
    for name in ESTIMATORS:
        yield name, lambda number, name=name: estimate_sequence(name, number)  # type: ignore[misc]
