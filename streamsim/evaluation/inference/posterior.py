"""Posteriors of arms with declared Bernoulli or Gaussian rewards: which is best, and what it costs to stop.

Scott, "A modern Bayesian look at the multi-armed bandit", Applied Stochastic Models in Business and
Industry 26 (2010), and "Multi-armed bandit experiments in the online service economy" (same journal, 31,
2015). How a policy chose arms does not matter to a posterior. All integrals are sums over a grid that
follows the posteriors' quantiles; their error is under 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from streamsim.evaluation.intervals import Floats

LEAST: Final = 5
"""Gaussian rewards of an arm, from which on it has a posterior with finite moments enough."""
ENOUGH: Final = 0.01
"""Stop once the value remaining is less than this part of the champion's."""
_SURE: Final = 0.95
_NODES: Final = 8
_TAILS: Final = np.logspace(-12, -2, 11)
_QUANTILES: Final = np.concatenate((_TAILS, np.linspace(0.03, 0.97, 25), 1 - _TAILS[::-1]))


class Posterior(Protocol):
    """The distribution of an arm's mean: its mean, and its functions on arrays of any shape."""

    @property
    def mean(self) -> float: ...
    def density(self, x: Floats) -> Floats: ...
    def below(self, x: Floats) -> Floats: ...
    def quantile(self, p: Floats) -> Floats: ...


class Beta:
    """Of a success probability after so many successes and failures, from Beta(1, 1)."""

    def __init__(self, successes: float, failures: float) -> None:
        self.a, self.b = successes + 1, failures + 1
        self.mean = self.a / (self.a + self.b)

    def density(self, x: Floats) -> Floats:
        from scipy import special

        inside = (x > 0) & (x < 1)
        safe = np.where(inside, x, 0.5)
        logs = special.xlogy(self.a - 1, safe) + special.xlog1py(self.b - 1, -safe)
        result: Floats = np.where(inside, np.exp(logs - special.betaln(self.a, self.b)), 0.0)
        return result

    def below(self, x: Floats) -> Floats:
        from scipy import special

        result: Floats = special.betainc(self.a, self.b, np.clip(x, 0.0, 1.0))
        return result

    def quantile(self, p: Floats) -> Floats:
        from scipy import special

        result: Floats = special.betaincinv(self.a, self.b, p)
        return result


class Student:
    """Of a normal mean after n >= 5 rewards, from the reference prior 1 / variance: the normal-inverse-gamma
    posterior's marginal, Student's t with n - 1 degrees about their mean, with their standard error."""

    def __init__(self, n: int, mean: float, deviations: float) -> None:
        """:param deviations: the sum of squared deviations from the mean, above 0."""
        self.mean, self._degrees = mean, n - 1
        self._scale = math.sqrt(deviations / (n - 1) / n)

    def density(self, x: Floats) -> Floats:
        from scipy import special

        v = self._degrees
        logs = -special.betaln(0.5, v / 2) - 0.5 * math.log(v) - math.log(self._scale)
        result: Floats = np.exp(logs - (v + 1) / 2 * np.log1p(((x - self.mean) / self._scale) ** 2 / v))
        return result

    def below(self, x: Floats) -> Floats:
        from scipy import special

        result: Floats = special.stdtr(self._degrees, (x - self.mean) / self._scale)
        return result

    def quantile(self, p: Floats) -> Floats:
        from scipy import special

        result: Floats = self.mean + self._scale * special.stdtrit(self._degrees, p)
        return result


class Found(msgspec.Struct, frozen=True):
    """What posteriors say of K arms, in their order.

    `best`: each arm's probability of having the largest mean. `loss`: E[max mean - the arm's].
    `champion`: the likeliest best. `remaining`: with 95 %, no arm is better than it
    by more, as a part of its mean; None where that mean may be 0 or less.
    """

    means: list[float]
    best: list[float]
    loss: list[float]
    champion: int
    remaining: float | None


def judge(arms: Sequence[Posterior]) -> Found:
    """The figures of K >= 1 arms.

    >>> judge([Beta(20, 80), Beta(20, 80)]).best
    [0.5, 0.5]
    """
    marks = np.unique(np.concatenate([arm.quantile(_QUANTILES) for arm in arms]))
    x, weight = _nodes(marks)
    below = np.array([arm.below(x) for arm in arms])
    best = [
        float(weight @ (arm.density(x) * np.delete(below, place, axis=0).prod(axis=0)))
        for place, arm in enumerate(arms)
    ]
    # E max = the low end of the grid, below which there is nothing to speak of, + the integral of P(max > x).
    largest = float(marks[0] + weight @ (1 - below.prod(axis=0)))
    total = sum(best)
    champion = int(np.argmax(best))
    return Found(
        [arm.mean for arm in arms],
        [round(one / total, 12) for one in best],
        [max(largest - arm.mean, 0.0) for arm in arms],
        champion,
        _remaining(arms, champion),
    )


def _remaining(arms: Sequence[Posterior], champion: int) -> float | None:
    """The 95th percentile of (max_b mu_b - mu) / mu, mu the champion's mean."""
    own, others = arms[champion], [arm for place, arm in enumerate(arms) if place != champion]
    if float(own.below(np.zeros(1))[0]) > 1e-6:
        return None
    middle = own.quantile(_QUANTILES)

    def within(part: float) -> float:
        marks = np.concatenate([middle, *(arm.quantile(_QUANTILES) / (1 + part) for arm in others)])
        x, weight = _nodes(np.unique(marks[marks > 0]))
        chance = np.prod([arm.below((1 + part) * x) for arm in others], axis=0)
        return float(weight @ (own.density(x) * chance))

    return _least(within, _SURE) if others else 0.0


def _least(rising: Callable[[float], float], level: float) -> float:
    """The least number from 0 on where a rising function has reached a level, to 1e-9 of it or so."""
    if rising(0.0) >= level:
        return 0.0
    low, high = 0.0, 1e-3
    while rising(high) < level and high < 1e9:
        low, high = high, 4 * high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) >= level else (middle, high)
    return high


def _nodes(marks: Floats) -> tuple[Floats, Floats]:
    """Places and weights of Gauss and Legendre's rule between neighbouring marks."""
    places, weights = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(marks) / 2
    x = (marks[:-1] + half)[:, None] + half[:, None] * places
    return x.ravel(), (half[:, None] * weights).ravel()
