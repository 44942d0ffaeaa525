"""Each check finds what it is there for, and its figures are SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from streamsim.evaluation import health


def draws(probabilities: np.ndarray, seed: int) -> np.ndarray:
    """One arm for each row of probabilities."""
    edges = probabilities.cumsum(axis=1)
    passed: np.ndarray = np.random.default_rng(seed).random((len(edges), 1)) * edges[:, -1:] >= edges
    return np.asarray(passed.sum(axis=1))


def constant(p: list[float], n: int) -> np.ndarray:
    return np.broadcast_to(p, (n, len(p)))


def test_the_ratio_check_is_pearsons_for_constant_probabilities() -> None:
    p = [0.5, 0.3, 0.2]
    action = draws(constant(p, 1000), 1)
    check = health.sample_ratio_mismatch(action, constant(p, 1000), "abc")
    expected = stats.chisquare(np.bincount(action), np.array(p) * 1000)
    assert check.statistic == pytest.approx(expected.statistic)
    assert check.p_value == pytest.approx(expected.pvalue)
    assert check.ok
    assert check.detail["arms"]["a"] == {"count": int((action == 0).sum()), "expected": pytest.approx(500)}


def test_rare_arms_are_taken_together() -> None:
    p = [0.002, 0.497, 0.001, 0.004, 0.496]
    action = draws(constant(p, 1000), 2)
    check = health.sample_ratio_mismatch(action, constant(p, 1000), "abcde")
    counts = np.bincount(action, minlength=5)
    pooled = [counts[[0, 2, 3]].sum(), counts[1], counts[4]]
    expected = stats.chisquare(pooled, [7, 497, 496])
    assert check.statistic == pytest.approx(expected.statistic)
    assert check.p_value == pytest.approx(expected.pvalue)


def test_the_ratio_check_holds_its_level_when_probabilities_change_with_each_decision() -> None:
    """Plain Pearson would be far from uniform here: most decisions are nearly certain."""
    rng = np.random.default_rng(3)
    p_values = []
    for seed in range(400):
        p = rng.dirichlet([0.2, 0.2, 0.2], 300)
        check = health.sample_ratio_mismatch(draws(p, seed), p, "abc")
        assert check.p_value is not None
        p_values.append(check.p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_a_wrong_allocation_is_found_and_named() -> None:
    action = draws(constant([0.5, 0.4, 0.1], 5000), 4)
    check = health.sample_ratio_mismatch(action, constant([0.5, 0.3, 0.2], 5000), "abc")
    assert not check.ok
    assert check.p_value is not None
    assert check.p_value < 1e-6
    assert "'b'" in check.sentence or "'c'" in check.sentence


def test_an_arm_taken_against_probability_zero_is_a_mismatch() -> None:
    check = health.sample_ratio_mismatch(np.array([0, 1, 1]), constant([1.0, 0.0], 3), "ab")
    assert (check.ok, check.p_value) == (False, 0.0)
    assert "2 of 3" in check.sentence


@pytest.mark.parametrize(
    "probabilities",
    [np.full((4, 2), np.nan), constant([1.0, 0.0], 4), constant([0.5, 0.4], 4), np.empty((0, 2))],
)
def test_where_nothing_was_random_or_known_the_ratio_is_not_judged(probabilities: np.ndarray) -> None:
    check = health.sample_ratio_mismatch(np.zeros(len(probabilities), dtype=np.int64), probabilities, "ab")
    assert (check.ok, check.statistic, check.p_value) == (True, None, None)
    assert "cannot be checked" in check.sentence


def test_probabilities_are_told_from_constant_propensities_only() -> None:
    action = np.array([0, 1, 0, 1])
    told = health.constant_probabilities(action, np.array([0.7, 0.3, 0.7, 0.3]), 2)
    assert told is not None
    assert told.tolist() == [[0.7, 0.3]] * 4
    assert health.constant_probabilities(action, np.array([0.7, 0.3, 0.6, 0.3]), 2) is None
    assert health.constant_probabilities(action, np.array([0.7, 0.2, 0.7, 0.2]), 2) is None
    assert health.constant_probabilities(action, np.array([0.7, 0.3, 0.7, 0.3]), 3) is None
    assert health.constant_probabilities(action, np.array([0.7, np.nan, 0.7, 0.3]), 2) is None


def test_faulty_propensities_are_counted_by_kind() -> None:
    propensity = np.array([0.5, np.nan, 1.2, 0.0, 0.5, 1.0])
    sums = np.array([1.0, np.nan, np.nan, 1.0, 0.9, np.nan])
    check = health.propensities(propensity, sums)
    assert not check.ok
    assert check.detail == {"missing": 1, "outside": 2, "not_one": 1}
    assert check.statistic == pytest.approx(4 / 6)
    assert "1 have no propensity" in check.sentence
    good = health.propensities(np.array([0.5, 1.0]), np.array([1.0, np.nan]))
    assert (good.ok, good.statistic) == (True, 0.0)
    assert health.propensities(np.empty(0), np.empty(0)).ok


def test_missing_rewards_count_among_decisions_that_are_old_enough() -> None:
    decided = np.arange(100.0) * 1000
    rewarded = decided + np.linspace(100, 5000, 100)
    rewarded[:30] = np.nan
    rewarded[95:] = np.nan
    check = health.rewards(decided, rewarded, now_ms=100_000, due_ms=10_000)
    assert check.detail["due"] == 91
    assert check.detail["missing"] == 30
    assert check.statistic == pytest.approx(30 / 91)
    assert not check.ok
    delays = (rewarded - decided)[30:95]
    assert check.detail["delay_ms"]["p50"] == pytest.approx(np.median(delays))
    assert check.detail["delay_ms"]["p99"] == pytest.approx(np.quantile(delays, 0.99))
    assert check.detail["delay_ms"]["max"] == delays.max()
    assert f"{30 / 91:.1%} of 91" in check.sentence


def test_decisions_whose_reward_is_not_due_yet_are_no_concern() -> None:
    decided = np.array([0.0, 10.0])
    check = health.rewards(decided, np.full(2, np.nan), now_ms=1000, due_ms=5000)
    assert (check.ok, check.statistic) == (True, None)
    assert health.rewards(np.empty(0), np.empty(0), 0.0).ok
    complete = health.rewards(decided, decided + 7_200_000, now_ms=1e9)
    assert (complete.ok, complete.statistic) == (True, 0.0)
    assert "2.0 hours" in complete.sentence


def test_no_reward_at_all_is_a_concern_without_a_due_time() -> None:
    check = health.rewards(np.zeros(50), np.full(50, np.nan), now_ms=1000)
    assert (check.ok, check.statistic) == (False, 1.0)
    assert check.detail["delay_ms"] is None


def test_the_error_rate_is_judged_by_the_lower_end_of_its_interval() -> None:
    few = health.error_rate(1, 20)
    assert few.ok
    many = health.error_rate(100, 2000)
    assert not many.ok
    assert many.statistic == 0.05
    expected = stats.binomtest(100, 2000).proportion_ci(0.95, method="wilson")
    assert (many.detail["low"], many.detail["high"]) == pytest.approx((expected.low, expected.high))
    assert health.error_rate(0, 0).ok


def test_arms_never_picked_are_judged_by_their_probabilities() -> None:
    counts = {"a": 60, "b": 0, "c": 40, "d": 0}
    likely = health.arms_never_picked(counts, constant([0.4, 0.2, 0.3, 0.1], 100))
    assert not likely.ok
    assert likely.p_value == pytest.approx(2 * 0.8**100)
    assert likely.statistic == 2
    assert likely.detail["expected"]["b"] == pytest.approx(20)
    rare = health.arms_never_picked({**counts, "d": 1}, constant([0.6, 0.001, 0.3, 0.099], 100))
    assert rare.ok
    assert rare.p_value == pytest.approx(0.999**100)
    closed = health.arms_never_picked({"a": 9, "b": 0}, constant([1.0, 0.0], 9))
    assert not closed.ok
    assert "no probability at all" in closed.sentence


def test_arms_never_picked_without_probabilities_need_enough_decisions() -> None:
    assert health.arms_never_picked({"a": 19, "b": 0}).ok
    assert not health.arms_never_picked({"a": 20, "b": 0}).ok
    assert health.arms_never_picked({"a": 20, "b": 1}).statistic == 0.0
    unknown = health.arms_never_picked({"a": 20, "b": 0}, np.full((20, 2), np.nan))
    assert (unknown.ok, unknown.p_value) == (False, None)
