"""Thompson samplers against SciPy's distributions and adaptive quadrature."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from scipy import integrate, stats

from streamsim.estimators import thompson


def by_quadrature(arms: dict[str, tuple[int, int]]) -> dict[str, float]:
    """P(each arm's draw is the greatest), by adaptive integration of density times the others' CDFs."""
    posteriors = {arm: stats.beta(s + 1, n - s + 1) for arm, (s, n) in arms.items()}
    result = {}
    for arm, own in posteriors.items():
        others = [posterior for name, posterior in posteriors.items() if name != arm]
        points = sorted({p.ppf(q) for p in posteriors.values() for q in (0.001, 0.1, 0.5, 0.9, 0.999)})
        result[arm] = integrate.quad(
            lambda x, own=own, others=others: own.pdf(x) * np.prod([o.cdf(x) for o in others]),
            0, 1, points=points, limit=400,
        )[0]  # fmt: skip
    return result


def sampler(arms: dict[str, tuple[int, int]]) -> thompson.BBThompsonList:
    theta = {arm: {"n": n, "p": s / n if n else 0} for arm, (s, n) in arms.items()}
    return thompson.BBThompsonList(theta, list(arms))


CASES: dict[str, dict[str, tuple[int, int]]] = {
    "nothing seen": {"a": (0, 0), "b": (0, 0), "c": (0, 0)},
    "only failures and only successes": {"a": (0, 4), "b": (3, 3), "c": (0, 0)},
    "mixed": {"a": (3, 10), "b": (12, 30), "c": (1, 2), "d": (40, 99)},
    "many": {"a": (50_300, 100_000), "b": (50_000, 100_000), "c": (1, 1)},
}


@pytest.mark.parametrize("name", CASES)
def test_propensities_equal_quadrature_and_sum_to_one(name: str) -> None:
    arms = CASES[name]
    propensities = sampler(arms).propensities()
    assert propensities == pytest.approx(by_quadrature(arms), abs=2e-6)
    assert sum(propensities.values()) == pytest.approx(1, abs=1e-12)
    assert sampler(arms).propensity("a", n=1000) == pytest.approx(propensities["a"])


@pytest.mark.parametrize("name", ["nothing seen", "only failures and only successes", "mixed"])
def test_arms_are_chosen_as_often_as_their_posterior_says(name: str) -> None:
    np.random.seed(8)
    arms = CASES[name]
    draws = 4000
    list_ = sampler(arms)
    chosen = Counter(list_.thompson() for _ in range(draws))
    expected = by_quadrature(arms)
    assert stats.chisquare([chosen[a] for a in arms], [expected[a] * draws for a in arms]).pvalue > 0.001


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (0, 7), (7, 7), (2, 7)])
def test_posterior_is_beta_of_successes_and_failures_plus_one(successes: int, n: int) -> None:
    np.random.seed(9)
    one = sampler({"a": (successes, n)})
    assert one.posterior("a") == pytest.approx((successes + 1, n - successes + 1))
    draws = [one.draws()["a"] for _ in range(2000)]
    assert stats.kstest(draws, stats.beta(successes + 1, n - successes + 1).cdf).pvalue > 0.001


def test_a_single_arm_has_propensity_one() -> None:
    assert sampler({"a": (1, 2)}).propensities() == {"a": 1.0}
    assert sampler({"a": (1, 2)}).thompson() == "a"


def test_counts_stored_as_text_give_the_same_posterior() -> None:
    text = thompson.BBThompsonList({"a": {"n": "7", "p": "0.2857142857142857"}}, ["a"])
    assert text.posterior("a") == pytest.approx((3, 6))


class TestVarList:
    def test_arms_without_a_variance_go_first_at_random(self) -> None:
        random.seed(10)
        theta = {"a": {"n": 9, "x_bar": 0, "s": 900.0, "v": 112.5}, "b": {"n": 1, "x_bar": 0, "s": 0, "v": 0}}
        chosen = Counter(
            thompson.ThompsonVarList(theta, ["a", "b", "c"]).experimentThompson() for _ in range(400)
        )
        assert set(chosen) == {"b", "c"}
        assert stats.binomtest(chosen["b"], 400).pvalue > 0.001

    def test_choice_follows_the_drawn_gain_in_precision(self) -> None:
        np.random.seed(11)
        (n, s), (m, r) = (12, 40.0), (7, 9.0)
        theta = {
            "a": {"n": n, "x_bar": 0, "s": s, "v": s / (n - 1)},
            "b": {"n": m, "x_bar": 0, "s": r, "v": r / (m - 1)},
        }
        draws = 4000
        list_ = thompson.ThompsonVarList(theta, ["a", "b"])
        chosen = Counter(list_.experimentThompson() for _ in range(draws))
        # a wins if (s / chi_a) / (n (n + 1)) > (r / chi_b) / (m (m + 1)): a ratio of chi-squares, an F law.
        bound = r * n * (n + 1) * (n - 1) / (s * m * (m + 1) * (m - 1))
        chance = stats.f(m - 1, n - 1).sf(bound)
        assert stats.binomtest(chosen["a"], draws, chance).pvalue > 0.001

    def test_allocation_tends_to_the_ratio_of_standard_deviations(self) -> None:
        np.random.seed(12)
        random.seed(12)
        spread = {"a": 1.0, "b": 4.0}
        theta: dict[str, dict[str, float]] = {}
        for _ in range(1500):
            list_ = thompson.ThompsonVarList(theta, ["a", "b"])
            arm = list_.experimentThompson()
            list_.base_list[arm].update(np.random.normal(0, spread[arm]))
            theta = list_.get_dict()
        assert theta["b"]["n"] / theta["a"]["n"] == pytest.approx(4, rel=0.15)
