"""Off-policy estimates of logs with extreme figures: every null has its sentence, and no arithmetic fails."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.offpolicy import Evaluation, evaluate
from streamsim.evaluation.sample import prepare
from streamsim.evaluation.scale import mean, unit_of
from streamsim.evaluation.value_estimators import ESTIMATORS


def evaluated(rewards: np.ndarray, propensities: np.ndarray) -> Evaluation:
    n = len(rewards)
    rng = np.random.default_rng(5)
    actions = [("a", "b")[k] for k in rng.integers(2, size=n)]
    contexts = [{"x": float(x)} for x in rng.normal(size=n)]
    target = np.tile([0.3, 0.7], (n, 1))
    return evaluate(prepare(DecisionLog(contexts, actions, rewards, propensities), ("a", "b"), target))


def check(evaluation: Evaluation) -> None:
    """What is given is finite; what is not has a sentence."""
    for one in evaluation.estimates:
        figures = [one.value, one.standard_error]
        for interval in (one.interval, one.asymptotic, one.bootstrap):
            figures += [None, None] if interval is None else [interval.low, interval.high]
        assert all(math.isfinite(figure) for figure in figures if figure is not None), one
        if None in figures:
            assert one.warnings, one


@pytest.mark.parametrize("propensity", [1e-160, 5e-324, 1e-308, 1e-61])
@pytest.mark.parametrize("largest", [1.0, 1e308, 1e-308, 5e-324])
@pytest.mark.parametrize("everywhere", [False, True])
def test_tiny_propensities_and_extreme_rewards_give_figures_or_reasons(
    propensity: float, largest: float, everywhere: bool
) -> None:
    rewards = np.random.default_rng(1).normal(size=300).clip(-1, 1) * largest
    propensities = np.full(300, 0.5)
    propensities[:: 1 if everywhere else 150] = propensity
    evaluation = evaluated(rewards, propensities)
    check(evaluation)
    for one in evaluation.estimates:
        if ESTIMATORS[one.estimator].needs_propensity:
            assert one.value is None
            assert "have a propensity under 1e-60" in one.warnings[0]
        else:
            assert one.value is not None


@pytest.mark.parametrize("scale", [2.0**1000, 2.0**-1000, 2.0**500, 2.0**-500])
def test_estimates_are_in_the_unit_of_the_rewards_however_large(scale: float) -> None:
    rewards = np.random.default_rng(2).normal(size=500)
    propensities = np.full(500, 0.5)
    plain, scaled = evaluated(rewards, propensities), evaluated(rewards * scale, propensities)
    for one, other in zip(plain.estimates, scaled.estimates, strict=True):
        assert one.value is not None
        assert one.interval is not None
        assert other.value is not None
        assert other.interval is not None
        assert other.value / scale == pytest.approx(one.value, rel=1e-12)
        assert other.interval.low / scale == pytest.approx(one.interval.low, rel=1e-12)


def test_rewards_whose_estimate_is_no_float_are_said_to_be_so() -> None:
    evaluation = evaluated(np.full(400, 1.7e308), np.full(400, 0.1))
    check(evaluation)
    ips = next(one for one in evaluation.estimates if one.estimator == "ips")
    assert ips.value is None
    assert "beyond the range" in ips.warnings[0]


def test_the_mean_of_rewards_is_told_where_their_sum_is_not_a_float() -> None:
    assert mean(np.array([1e308, 1.5e308, 1.7e308])) == pytest.approx(1.4e308)
    assert unit_of(np.array([5e-324])) > 0
    assert unit_of(np.array([0.0])) == 1.0
    assert unit_of(np.array([-3.0, 1e20])) == 1.0
