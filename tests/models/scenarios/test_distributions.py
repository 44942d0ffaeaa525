"""What sweeps draw beside SciPy's distributions: whole, and between bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from streamsim.models.distributions import BadDistribution, distribution

COUNT = 20_000
# By name: the numbers, SciPy's distribution, and bounds: in the middle, and in each tail.
CONTINUOUS: dict[str, tuple[dict[str, float], Any, list[tuple[float | None, float | None]]]] = {
    "uniform": ({"low": 2, "high": 6}, stats.uniform(2, 4), [(3, 5), (None, 2.5), (5.9, None)]),
    "normal": ({"mean": 1, "sd": 2}, stats.norm(1, 2), [(0, 3), (None, -20), (31, None), (31, 31.5)]),
    "triangular": ({"low": 0, "mode": 1, "high": 4}, stats.triang(0.25, 0, 4), [(0.5, 3), (3.9, 9)]),
    "lognormal": ({"mu": 1, "sigma": 0.5}, stats.lognorm(0.5, scale=np.e), [(2, 3), (None, 1), (60, None)]),
    "beta": ({"alpha": 2, "beta": 3}, stats.beta(2, 3), [(0.2, 0.9), (None, 0.01), (0.99, None)]),
    "gamma": ({"shape": 2, "scale": 3}, stats.gamma(2, scale=3), [(1, 5), (None, 0.1), (90, None)]),
}
DISCRETE: dict[str, tuple[dict[str, float], Any, list[tuple[float | None, float | None]]]] = {
    "poisson": ({"mean": 3}, stats.poisson(3), [(2, None), (None, 1), (1.5, 4.5), (40, None)]),
    "binomial": ({"n": 10, "p": 0.3}, stats.binom(10, 0.3), [(2, 4), (None, 1), (9, None)]),
}


def bounded(low: float | None, high: float | None) -> dict[str, float]:
    return {name: value for name, value in (("min", low), ("max", high)) if value is not None}


def drawn(given: dict[str, Any]) -> Any:
    return distribution(given)(np.random.Generator(np.random.PCG64(5)), COUNT)


CASES = [
    (name, bounds)
    for table in (CONTINUOUS, DISCRETE)
    for name, (_, _, bounds_of) in table.items()
    for bounds in [(None, None), *bounds_of]
]


@pytest.mark.parametrize(("name", "bounds"), [case for case in CASES if case[0] in CONTINUOUS])
def test_draws_have_scipys_distribution_function(
    name: str, bounds: tuple[float | None, float | None]
) -> None:
    numbers, reference, _ = CONTINUOUS[name]
    low, high = (-np.inf if bounds[0] is None else bounds[0]), (np.inf if bounds[1] is None else bounds[1])
    found = drawn({"distribution": name, **numbers, **bounded(*bounds)})
    assert low <= found.min() <= found.max() <= high
    # In an upper tail what is above is exact where what is below is 1.
    above, below = reference.sf(low), reference.sf(high)

    def inside(x: Any) -> Any:
        if above > 0.5:
            first, last = reference.cdf(low), reference.cdf(high)
            return (reference.cdf(x) - first) / (last - first)
        return (above - reference.sf(x)) / (above - below)

    assert stats.kstest(found, inside).pvalue > 1e-4


@pytest.mark.parametrize(("name", "bounds"), [case for case in CASES if case[0] in DISCRETE])
def test_counts_have_scipys_probabilities(name: str, bounds: tuple[float | None, float | None]) -> None:
    numbers, reference, _ = DISCRETE[name]
    found = drawn({"distribution": name, **numbers, **bounded(*bounds)})
    known = np.arange(0, 100)
    shares = reference.pmf(known)
    for bound, wrong in ((bounds[0], np.less), (bounds[1], np.greater)):
        if bound is not None:
            shares[wrong(known, bound)] = 0
    shares /= shares.sum()
    counts = np.array([(found == value).sum() for value in known])
    assert counts.sum() == COUNT
    often = shares * COUNT >= 5
    # The rare ones are one class.
    table = [*counts[often], counts[~often].sum()], [*shares[often], shares[~often].sum()]
    rare = table[1][-1] > 0
    observed, wanted = (np.array(row if rare else row[:-1], dtype=float) for row in table)
    if observed.size == 1:
        assert observed[0] == COUNT
        return
    assert stats.chisquare(observed, wanted / wanted.sum() * COUNT).pvalue > 1e-4
    assert counts[shares == 0].sum() == 0


def test_values_of_a_discrete_distribution_come_by_their_weights() -> None:
    found = drawn({"distribution": "discrete", "values": [1, 2.5, 9], "weights": [1, 0, 3]})
    assert set(found) == {1.0, 9.0}
    assert (found == 9).mean() == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / COUNT))
    even = drawn({"distribution": "discrete", "values": [1, 2.5, 9], "max": 3})
    assert set(even) == {1.0, 2.5}
    assert (even == 1).mean() == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / COUNT))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"distribution": "cauchy"}, "discrete"),
        ({"distribution": ["normal"]}, "discrete"),
        ({"distribution": "poisson"}, "poisson: mean"),
        ({"distribution": "poisson", "mean": -1}, "mean do not make"),
        ({"distribution": "poisson", "mean": True}, "poisson: mean"),
        ({"distribution": "binomial", "n": 2.5, "p": 0.5}, "n, p do not make"),
        ({"distribution": "binomial", "n": 2, "p": 1.5}, "n, p do not make"),
        ({"distribution": "beta", "alpha": 0, "beta": 1}, "alpha, beta do not make"),
        ({"distribution": "gamma", "shape": 1, "scale": 0}, "shape, scale do not make"),
        ({"distribution": "gamma", "shape": float("nan"), "scale": 1}, "gamma: shape"),
        ({"distribution": "normal", "mean": 0, "sd": 1, "min": 2, "max": 1}, "min must not be above max"),
        ({"distribution": "normal", "mean": 0, "sd": 1, "min": "a"}, "min must be a number"),
        ({"distribution": "normal", "mean": 0, "sd": 1, "min": 60}, "nothing of this normal"),
        ({"distribution": "normal", "mean": 0, "sd": 0, "min": 1}, "without spread"),
        ({"distribution": "beta", "alpha": 1, "beta": 1, "min": 2}, "nothing of this beta"),
        ({"distribution": "poisson", "mean": 1, "min": 0.2, "max": 0.8}, "no value of this poisson"),
        ({"distribution": "poisson", "mean": 1e300, "min": 1e300}, "so large"),
        ({"distribution": "binomial", "n": 10**18, "p": 0.5, "max": 5}, "so large"),
        ({"distribution": "discrete", "values": []}, "1 to 10000 numbers"),
        ({"distribution": "discrete", "values": [1], "weights": [1, 2]}, "1 to 10000 numbers"),
        ({"distribution": "discrete", "values": [1, 2], "weights": [1, -2]}, "1 to 10000 numbers"),
        ({"distribution": "discrete", "values": [1], "weights": [0]}, "weight above 0"),
        ({"distribution": "discrete", "values": [1], "min": 2}, "weight above 0"),
        ({"distribution": "discrete", "values": [1], "mean": 2}, "1 to 10000 numbers"),
    ],
)
def test_what_is_no_distribution_is_refused_with_the_form(given: dict[str, Any], why: str) -> None:
    with pytest.raises(BadDistribution, match=why):
        distribution(given)
