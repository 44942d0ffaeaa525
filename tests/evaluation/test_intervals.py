"""Intervals against SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from streamsim.evaluation import intervals


def test_the_mean_interval_is_students_at_every_point() -> None:
    samples = np.random.default_rng(1).normal(size=(12, 3))
    band = intervals.mean_interval(samples, 0.9)
    for point in range(3):
        expected = stats.ttest_1samp(samples[:, point], 0).confidence_interval(0.9)
        assert band.mean[point] == pytest.approx(samples[:, point].mean())
        assert (band.low[point], band.high[point]) == pytest.approx((expected.low, expected.high))


def test_one_replication_gives_a_mean_without_an_interval() -> None:
    band = intervals.mean_interval([[1.0, 2.0]])
    assert band.mean.tolist() == [1.0, 2.0]
    assert np.isnan(band.low).all()
    assert np.isnan(band.high).all()


def test_a_paired_difference_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(size=30) * 10
    a, b = shared + rng.normal(size=30) + 1, shared + rng.normal(size=30)
    band = intervals.paired_difference(a, b)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (band.low, band.high) == pytest.approx((expected.low, expected.high))
    assert band.high - band.low < 2.0


def test_a_paired_difference_refuses_unequal_replications() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        intervals.paired_difference(np.zeros(3), np.zeros(4))


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 7), (50, 1000)])
def test_the_share_interval_is_wilsons(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    interval = intervals.wilson(successes, n)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_share_of_nothing_can_be_anything() -> None:
    assert intervals.wilson(0, 0) == intervals.Interval(0.0, 1.0)


def test_bootstrapped_means_spread_as_theory_says_and_repeat_from_the_seed() -> None:
    columns = np.random.default_rng(3).normal(size=(400, 2)) * [1.0, 5.0]
    means = intervals.bootstrap_means(columns, resamples=4000, seed=4)
    assert means.mean(axis=0) == pytest.approx(columns.mean(axis=0), abs=0.02)
    # The bootstrap variance of a mean is the population variance of the sample over n.
    assert means.std(axis=0) == pytest.approx(columns.std(axis=0) / 20, rel=0.05)
    ours, theirs = (np.asarray(np.corrcoef(one.T))[0, 1] for one in (means, columns))
    assert ours == pytest.approx(theirs, abs=0.05)
    assert np.array_equal(means, intervals.bootstrap_means(columns, resamples=4000, seed=4))
    assert not np.array_equal(means, intervals.bootstrap_means(columns, resamples=4000, seed=5))


def test_bootstrapping_in_parts_resamples_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.arange(10.0)[:, None] * [1.0, -2.0]
    monkeypatch.setattr(intervals, "_DRAWS_AT_ONCE", 30)
    means = intervals.bootstrap_means(columns, resamples=50, seed=1)
    assert means[:, 1] == pytest.approx(-2 * means[:, 0])
    assert len(set(means[:, 0])) > 20


@pytest.mark.parametrize("length", [1, 7, 200, 201, 12345])
def test_a_thinned_curve_keeps_its_ends_and_at_most_200_points(length: int) -> None:
    kept = intervals.thin(length)
    assert len(kept) == min(length, 200)
    assert (kept[0], kept[-1]) == (0, length - 1)
    assert (np.diff(kept) > 0).all()
