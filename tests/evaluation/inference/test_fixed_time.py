"""Adaptive weights of Hadad et al. by hand, and what they mend."""

from __future__ import annotations

import numpy as np
import pytest

from streamsim.evaluation.inference import fixed_time
from streamsim.evaluation.inference.scores import aipw
from tests.effort import LONG
from tests.evaluation.inference.null import DAYS, PER_DAY, thompson

REPETITIONS = 3000 if LONG else 600


def test_two_point_weights_are_those_of_the_paper() -> None:
    chance = np.random.default_rng(2).uniform(0.05, 0.95, 40)
    total, spent = 40, 0.0
    expected = []
    for t in range(1, total + 1):
        e = chance[t - 1]
        rest = (total**0.3 - t**0.3) / 0.3
        share = e / (total - t + 1) + (1 - e) * t**-0.7 / (t**-0.7 + rest)
        part = (1 - spent) * (share if t < total else 1.0)
        expected.append((part * e) ** 0.5)
        spent += part
    assert fixed_time.two_point_allocation(chance) == pytest.approx(np.array(expected), abs=1e-9)


def test_constant_allocation_gives_each_decision_the_same_part_of_the_variance() -> None:
    chance = np.array([0.5, 0.1, 0.9])
    assert fixed_time.constant_allocation(chance) ** 2 / chance == pytest.approx(np.full(3, 1 / 3))


def test_a_weighted_mean_and_its_variance_are_those_of_the_formula() -> None:
    mean, variance = fixed_time.weighted(np.array([1.0, 3.0]), np.array([1.0, 3.0]))
    assert mean == 2.5
    assert variance == pytest.approx((1 * 1.5**2 + 9 * 0.5**2) / 16)


@pytest.mark.parametrize(("drift", "late"), [(0.0, 0.0), (0.2, 0.0), (0.0, 3.0)])
def test_intervals_for_one_look_cover_also_where_rewards_drift_or_come_late_and_that_of_the_mean_does_not(
    drift: float, late: float, capsys: pytest.CaptureFixture[str]
) -> None:
    covered = dict.fromkeys(["constant", "two-point", "uniform", "sample mean"], 0)
    misled = 0
    truth = 0.3 + drift * np.repeat(np.arange(DAYS), PER_DAY) / DAYS
    for seed in range(REPETITIONS):
        run = thompson(seed, 0.02, (0.3, 0.3), drift, late)
        score = aipw(run.first, run.reward, run.chance, start=0.5).score
        for name, weights in zip(covered, fixed_time.WEIGHTS, strict=False):
            weight = weights(run.chance)
            interval = fixed_time.normal_interval(*fixed_time.weighted(score, weight), 0.05)
            # With adaptive weights the mean is weighted, too; with uniform ones it is that over the time.
            mean = float(weight @ truth / weight.sum())
            covered[name] += interval.low <= mean <= interval.high
            misled += name == "constant" and not interval.low <= truth.mean() <= interval.high
        own = run.reward[run.first]
        share = float(own.mean()) if len(own) else 0.0
        error = (share * (1 - share) / max(len(own), 1)) ** 0.5
        covered["sample mean"] += abs(share - truth.mean()) <= 1.96 * error
    shares = {name: count / REPETITIONS for name, count in covered.items()}
    with capsys.disabled():
        print(
            f"\ncoverage of 95 % intervals after Thompson sampling, means that rise by {drift:g}, rewards "
            f"that come {late:g} days late: {shares}; constant misses the mean over the time in "
            f"{misled / REPETITIONS:.1%}"
        )
    assert shares["constant"] == pytest.approx(0.95, abs=0.015 if LONG else 0.025)
    assert shares["two-point"] == pytest.approx(0.95, abs=0.02 if LONG else 0.03)
    assert shares["uniform"] == pytest.approx(0.95, abs=0.02 if LONG else 0.03)
    assert shares["sample mean"] < 0.95
    if drift:
        assert shares["sample mean"] < 0.6
        assert misled > 0.15 * REPETITIONS
