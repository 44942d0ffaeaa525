"""Rare rewards: intervals that cover, and sentences that say on how few rewards an estimate rests."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from streamsim.evaluation import few_events
from streamsim.evaluation.intervals import Interval
from streamsim.evaluation.offpolicy import Evaluation, evaluate
from streamsim.evaluation.sample import prepare
from streamsim.evaluation.testbed import bernoulli

ARMS, CHANCE, N = 25, 0.004, 5000
WORLD = bernoulli([CHANCE] * ARMS)
CANDIDATE = np.eye(ARMS)[0]
CLOSED = ("ips", "snips", "dr", "sndr", "replay", "dm", "switch-dr", "dros")


@cache
def repeated() -> list[Evaluation]:
    """Logs of 25 uniform arms whose rewards come in 0.4 % of decisions; the candidate plays the first arm."""
    evaluations = []
    for seed in range(60):
        context, data = WORLD.log([1 / ARMS] * ARMS, N, seed)
        target = np.broadcast_to(CANDIDATE, (len(context), ARMS))
        evaluations.append(evaluate(prepare(data, WORLD.arms, target, seed=seed), resamples=50, seed=seed))
    return evaluations


@pytest.mark.parametrize("name", CLOSED)
def test_rare_rewards_are_never_a_confident_zero(name: str) -> None:
    found = [next(e for e in one.estimates if e.estimator == name) for one in repeated()]
    covered = 0
    for one in found:
        assert one.interval is not None
        assert (one.method, one.asymptotic, one.bootstrap) == ("wilson", None, None)
        assert one.interval.high - one.interval.low > 0.005
        assert "another reward than 0" in " ".join(one.warnings)
        covered += one.interval.low <= CHANCE <= one.interval.high
    # 95 % intervals cover 92 % or more, up to the chance of 60 logs.
    assert covered >= stats.binom.ppf(0.001, 60, 0.92)


def test_rare_failures_are_treated_as_rare_successes_are() -> None:
    world = bernoulli([1 - CHANCE] * ARMS)
    context, data = world.log([1 / ARMS] * ARMS, N, 3)
    target = np.broadcast_to(CANDIDATE, (len(context), ARMS))
    found = evaluate(prepare(data, world.arms, target), ["snips"]).estimates[0]
    assert found.method == "wilson"
    assert found.interval is not None
    assert found.interval.low < 1 - CHANCE < found.interval.high
    assert "another reward than 1" in " ".join(found.warnings)


def test_a_log_with_rewards_enough_keeps_its_asymptotic_interval() -> None:
    world = bernoulli([0.1, 0.2])
    context, data = world.log([0.5, 0.5], 2000, 1)
    sample = prepare(data, world.arms, np.broadcast_to([0.0, 1.0], (len(context), 2)))
    for one in evaluate(sample).estimates:
        biased = one.estimator in ("dm", "switch-dr", "dros")
        assert one.method == ("doubly robust" if biased else "asymptotic")
        assert one.interval == one.asymptotic or biased
        assert one.events is not None
        assert one.events > 100


def test_rewards_that_are_all_alike_and_of_no_known_range_have_no_interval() -> None:
    world = bernoulli([0.0, 0.0])
    context, data = world.log([0.5, 0.5], 500, 1)
    data.rewards[:] = 7.0
    sample = prepare(data, world.arms, np.broadcast_to([0.0, 1.0], (len(context), 2)))
    found = evaluate(sample, ["snips"]).estimates[0]
    assert found.value == pytest.approx(7.0)
    assert (found.interval, found.method) == (None, None)
    assert "their range is not known" in " ".join(found.warnings)


def test_wilsons_interval_is_that_of_a_plain_share() -> None:
    reward = np.zeros(200)
    reward[:3] = 1.0
    events = few_events.behind(np.ones(200), reward)
    assert events is not None
    assert (events.count, events.few) == (3, True)
    assert events.size == pytest.approx(200)
    found = events.interval(3 / 200, Interval(0.015, 0.015), 0.95)
    expected = stats.binomtest(3, 200).proportion_ci(method="wilson")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
