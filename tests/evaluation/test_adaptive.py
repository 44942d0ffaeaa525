"""Logs of a policy that learned meanwhile are recognised, and no interval is given that does not hold."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from streamsim.evaluation.adaptive import moves
from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.offpolicy import Estimate, evaluate
from streamsim.evaluation.sample import prepare
from streamsim.evaluation.testbed import contextual_logistic, softmax

NAMES = ["ips", "snips", "dr", "sndr", "aw-dr"]
CHANCES, N, LOGS = np.array([0.3, 0.5]), 1000, 120


@cache
def thompson(floor: float) -> list[DecisionLog]:
    """Logs of Thompson sampling of two coins, its posteriors taken as normal, with a floor of probability."""
    rng = np.random.default_rng(3)
    wins, plays, each = np.zeros((LOGS, 2)), np.zeros((LOGS, 2)), np.arange(LOGS)
    action, reward = np.empty((LOGS, N), dtype=int), np.empty((LOGS, N))
    propensity = np.empty((LOGS, N))
    for t in range(N):
        a, b = wins + 1, plays - wins + 1
        mean = a / (a + b)
        sd = np.sqrt((mean * (1 - mean) / (a + b + 1)).sum(axis=1))
        first = floor + (1 - 2 * floor) * special.ndtr((mean[:, 0] - mean[:, 1]) / sd)
        p = np.stack([first, 1 - first], axis=1).clip(1e-12)
        action[:, t] = rng.random(LOGS) >= p[:, 0]
        reward[:, t] = rng.random(LOGS) < CHANCES[action[:, t]]
        propensity[:, t] = p[each, action[:, t]]
        wins[each, action[:, t]] += reward[:, t]
        plays[each, action[:, t]] += 1
    return [
        DecisionLog([{}] * N, ["ab"[k] for k in action[i]], reward[i], propensity[i]) for i in range(LOGS)
    ]


@cache
def repeated(floor: float, arm: int) -> list[dict[str, Estimate]]:
    target = np.broadcast_to(np.eye(2)[arm], (N, 2))
    return [
        {e.estimator: e for e in evaluate(prepare(log, ("a", "b"), target), NAMES, resamples=20).estimates}
        for log in thompson(floor)
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("floor", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("arm", [0, 1])
def test_intervals_of_adaptive_logs_hold_where_they_are_given(name: str, floor: float, arm: int) -> None:
    found = [one[name] for one in repeated(floor, arm)]
    given = [e.interval for e in found if e.interval is not None]
    covered = sum(interval.low <= CHANCES[arm] <= interval.high for interval in given)
    assert covered >= stats.binom.ppf(0.001, len(given), 0.92)
    for e in found:
        text = " ".join(e.warnings)
        # With such a floor the propensities are soon as good as constant.
        assert "collected adaptively" in text or floor == 0.1
        if e.interval is None:
            assert "no interval holds" in text or "never takes" in text or "One decision" in text
    if arm == 1 or floor == 0.1:
        assert len(given) == LOGS


def test_without_a_floor_the_arm_that_was_given_up_mostly_has_no_interval() -> None:
    given = [one["ips"].interval is not None for one in repeated(0.0, 0)]
    assert np.mean(given) < 0.5


def test_a_policy_that_stands_still_is_not_taken_for_one_that_learns() -> None:
    world = contextual_logistic(1, arms=3, contexts=4)
    rng = np.random.default_rng(1)
    for seed in range(30):
        _, data = world.log(softmax(world, 0.3), 500, seed)
        assert not moves(data)
        # Every context once, and propensities estimated from runs.
        contexts: list[dict[str, Any]] = [{"x": float(x)} for x in rng.normal(size=500)]
        runs = np.maximum(rng.binomial(50, data.propensities), 1) / 50
        assert not moves(DecisionLog(contexts, data.actions, data.rewards, runs))
        assert not moves(DecisionLog(data.contexts, data.actions, data.rewards, runs))


def test_adaptive_weights_need_the_probabilities_of_all_arms() -> None:
    world = contextual_logistic(1, arms=3, contexts=4)
    context, data = world.log(softmax(world, 0.3), 300, 1)
    target = softmax(world, 0.2)[context]
    lacking = evaluate(prepare(data, world.arms, target), ["aw-dr"]).estimates[0]
    assert lacking.value is None
    assert "probability of every arm" in lacking.warnings[0]
    told = [dict(zip(world.arms, row, strict=True)) for row in softmax(world, 0.3)[context].tolist()]
    full = DecisionLog(data.contexts, data.actions, data.rewards, data.propensities, told=told)
    found = evaluate(prepare(full, world.arms, target), ["aw-dr", "dr"]).estimates
    assert found[0].interval is not None
    assert found[0].interval.low < world.value(softmax(world, 0.2)) < found[0].interval.high
