"""Adaptive weights of Hadad et al. by hand, and what they mend."""

from __future__ import annotations

import numpy as np
import pytest

from streamsim.evaluation.inference import fixed_time
from streamsim.evaluation.inference.scores import aipw
from tests.effort import LONG
from tests.evaluation.inference.null import thompson

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


def test_adaptive_weights_cover_where_the_interval_of_the_mean_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    covered = {"constant": 0, "two-point": 0, "sample mean": 0}
    for seed in range(REPETITIONS):
        run = thompson(seed, 0.02, (0.3, 0.3))
        score = aipw(run.first, run.reward, run.chance, start=0.5).score
        for name, weight in (
            ("constant", fixed_time.constant_allocation(run.chance)),
            ("two-point", fixed_time.two_point_allocation(run.chance)),
        ):
            interval = fixed_time.normal_interval(*fixed_time.weighted(score, weight), 0.05)
            covered[name] += interval.low <= 0.3 <= interval.high
        own = run.reward[run.first]
        share = float(own.mean()) if len(own) else 0.0
        error = (share * (1 - share) / max(len(own), 1)) ** 0.5
        covered["sample mean"] += abs(share - 0.3) <= 1.96 * error
    shares = {name: count / REPETITIONS for name, count in covered.items()}
    with capsys.disabled():
        print("\ncoverage of 95 % intervals after Thompson sampling:", shares)
    assert shares["constant"] == pytest.approx(0.95, abs=0.015 if LONG else 0.025)
    assert shares["two-point"] == pytest.approx(0.95, abs=0.02 if LONG else 0.03)
    assert shares["sample mean"] < 0.935
