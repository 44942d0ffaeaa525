"""Posteriors against closed forms, other integrals and draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from streamsim.evaluation.inference.posterior import Beta, Posterior, Student, judge


def closed(a: Beta, b: Beta) -> float:
    """P(first > second) of two Beta distributions with whole numbers (E. Miller's sum over a)."""
    from scipy.special import betaln

    return sum(
        math.exp(betaln(b.a + i, b.b + a.b) - math.log(a.b + i) - betaln(1 + i, a.b) - betaln(b.a, b.b))
        for i in range(round(a.a))
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [((20, 80), (25, 75)), ((3, 5), (2000, 3000)), ((0, 0), (0, 9)), ((90, 10), (899, 101))],
)
def test_the_chance_of_being_best_of_two_is_the_closed_form(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    a, b = Beta(*first), Beta(*second)
    assert judge([a, b]).best[0] == pytest.approx(closed(a, b), abs=1e-6)


@pytest.mark.parametrize(
    ("arms", "frozen"),
    [
        (
            [Beta(20, 80), Beta(25, 75), Beta(200, 900)],
            [stats.beta(21, 81), stats.beta(26, 76), stats.beta(201, 901)],
        ),
        (
            [Student(30, 10, 30.0), Student(50, 10.3, 50.0)],
            [stats.t(29, 10, (30 / 29 / 30) ** 0.5), stats.t(49, 10.3, (50 / 49 / 50) ** 0.5)],
        ),
    ],
)
def test_loss_and_value_remaining_are_those_of_draws(arms: list[Posterior], frozen: list[object]) -> None:
    rng = np.random.default_rng(6)
    draws = np.array([one.rvs(1_000_000, random_state=rng) for one in frozen])  # type: ignore[attr-defined]
    largest = draws.max(axis=0)
    found = judge(arms)
    assert found.loss == pytest.approx((largest - draws).mean(axis=1), abs=5e-4)
    own = draws[found.champion]
    expected = float(np.quantile((largest - own) / own, 0.95))
    assert found.remaining == pytest.approx(expected, rel=0.01)
    assert found.best == pytest.approx((draws == largest).mean(axis=1), abs=2e-3)
    assert found.means == pytest.approx([float(one.mean()) for one in frozen])  # type: ignore[attr-defined]


def test_nothing_remains_of_a_sure_champion_and_no_part_of_one_that_may_earn_nothing() -> None:
    assert judge([Beta(900, 100), Beta(100, 900)]).remaining == 0
    assert judge([Student(10, 0.0, 10.0), Student(10, 0.1, 10.0)]).remaining is None
    assert judge([Beta(1, 1)]).best == [1]
