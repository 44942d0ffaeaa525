"""The chance that each of several draws is the greatest, against SciPy's integrals and plain simulation."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import integrate, special, stats

from streamsim.estimators import best
from streamsim.estimators.thompson import BBThompsonList, best_of_betas, best_of_normals
from tests.effort import LONG

LEVELS = [1e-12, 1e-9, 1e-6, 1e-3, 0.05, 0.3, 0.7, 0.95, 0.999, 1 - 1e-6, 1 - 1e-9]


class Beta:
    """As `stats.beta`, whose checks of what it is given take longer than the functions."""

    def __init__(self, a: float, b: float) -> None:
        self._a, self._b = a, b

    def ppf(self, p: list[float]) -> Any:
        return special.betaincinv(self._a, self._b, p)

    def cdf(self, x: float) -> float:
        return float(special.betainc(self._a, self._b, x))

    def pdf(self, x: float) -> float:
        logarithm = special.xlogy(self._a - 1, x) + special.xlog1py(self._b - 1, -x)
        return math.exp(logarithm - special.betaln(self._a, self._b))


class Normal:
    """As `stats.norm`, likewise."""

    def __init__(self, mean: float, sd: float) -> None:
        self._mean, self._sd = mean, sd

    def ppf(self, p: list[float]) -> Any:
        return self._mean + self._sd * special.ndtri(p)

    def cdf(self, x: float) -> float:
        return float(special.ndtr((x - self._mean) / self._sd))

    def pdf(self, x: float) -> float:
        return math.exp(-(((x - self._mean) / self._sd) ** 2) / 2) / (self._sd * math.sqrt(2 * math.pi))


def integrated(laws: Sequence[Beta | Normal]) -> np.ndarray:
    """The same by SciPy's adaptive quadrature, piece by piece between the quantiles of all."""
    edges = np.unique(np.array([law.ppf(LEVELS) for law in laws]).ravel())

    def chance(i: int) -> float:
        def f(x: float) -> float:
            return laws[i].pdf(x) * math.prod(law.cdf(x) for j, law in enumerate(laws) if j != i)

        pieces = itertools.pairwise(edges)
        return float(sum(integrate.quad(f, low, high, epsabs=1e-12)[0] for low, high in pieces))

    return np.array([chance(i) for i in range(len(laws))])


def test_the_laws_are_those_of_scipy() -> None:
    for ours, law in ((Beta(0.7, 30.0), stats.beta(0.7, 30.0)), (Normal(3.0, 0.2), stats.norm(3.0, 0.2))):
        at = law.ppf(LEVELS)
        assert ours.ppf(LEVELS) == pytest.approx(at)
        assert [ours.cdf(x) for x in at] == pytest.approx(law.cdf(at), rel=1e-6)
        assert [ours.pdf(x) for x in at] == pytest.approx(law.pdf(at), rel=1e-9)


@pytest.mark.parametrize("number", range(12 if LONG else 2))
def test_chances_are_those_of_adaptive_quadrature(number: int) -> None:
    rng = np.random.default_rng(number)
    k = int(rng.integers(2, 6))
    n = 10 ** rng.uniform(0, 5 if number % 2 else 2, size=k)
    p = rng.beta(0.5, 0.5, size=k) if number % 3 else rng.uniform(0.1, 0.12, size=k)
    # Parameters under 1, too: densities that are infinite at an end.
    a, b = n * p + (0.5 if number % 4 == 0 else 1), n * (1 - p) + 1
    found = best.of_betas(a, b)
    assert found == pytest.approx(integrated([Beta(*x) for x in zip(a, b, strict=True)]), abs=2e-8)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    mean, sd = rng.normal(size=k), 10 ** rng.uniform(-3, 1, size=k)
    expected = integrated([Normal(*x) for x in zip(mean, sd, strict=True)])
    assert best.of_normals(mean, sd) == pytest.approx(expected, abs=2e-8)


@pytest.mark.parametrize("law", ["beta", "normal"])
def test_chances_of_a_thousand_arms_are_the_shares_of_simulated_draws(law: str) -> None:
    rng = np.random.default_rng(7)
    k, rounds = 1000, 4000
    n = rng.integers(5, 400, size=k)
    a, b = rng.binomial(n, 0.2).astype(np.float64) + 1, n.astype(np.float64)
    mean, sd = a / (a + b), 1 / np.sqrt(n, dtype=np.float64)
    found = best.of_betas(a, b) if law == "beta" else best.of_normals(mean, sd)
    draws = [rng.beta(a, b) if law == "beta" else rng.normal(mean, sd) for _ in range(rounds)]
    won = np.bincount(np.argmax(draws, axis=1), minlength=k)
    assert found.sum() == pytest.approx(1)
    # The rarest arms together, so that every cell is expected 20 times or more.
    order = np.argsort(found)
    cells = np.minimum((found[order].cumsum() * rounds / 20).astype(int), rounds // 25)
    expected, seen = (np.bincount(cells, weights=x[order]) for x in (found * rounds, won))
    kept = expected >= 5
    assert kept.sum() > 20
    assert stats.chisquare(seen[kept], expected[kept] * seen[kept].sum() / expected[kept].sum()).pvalue > 1e-4


def test_alike_arms_share_alike_and_one_arm_is_sure() -> None:
    assert best.of_betas(np.ones(10_000), np.ones(10_000)) == pytest.approx(np.full(10_000, 1e-4), rel=1e-6)
    assert best_of_betas([3.0], [2.0]) == [1.0]
    assert best_of_normals([1.0], [2.0]) == [1.0]


def test_top_two_propensities_are_the_shares_of_what_it_plays() -> None:
    rng = np.random.default_rng(3)
    states = {
        "soft": {"a": {"n": 20, "p": 0.3}, "b": {"n": 20, "p": 0.5}, "c": {"n": 5, "p": 0.4}},
        "sure": {"a": {"n": 9000, "p": 0.3}, "b": {"n": 9000, "p": 0.9}, "c": {"n": 500, "p": 0.3}},
    }
    random.seed(5)
    np.random.seed(5)
    for state in states.values():
        arms = BBThompsonList(state, list(state))
        told = arms.top_two_propensities(0.6)
        assert sum(told.values()) == pytest.approx(1)
        counts = dict.fromkeys(told, 0)
        for _ in range(2000):
            leader = arms.thompson()
            counts[leader if rng.random() < 0.6 else arms.rival(leader)] += 1
        assert stats.chisquare(list(counts.values()), [2000 * told[arm] for arm in counts]).pvalue > 1e-4
