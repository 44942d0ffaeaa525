"""The 10-armed testbed of Sutton and Barto (Reinforcement Learning, 2nd ed., section 2.3, figure 2.2), played
by the catalogue's e-greedy in the program that simulates, beside the same written with arrays.

The arrays play all 2,000 problems. The policies play the first 100 of them, or all in the long form, which
takes some minutes. In the short form the share of the book is thus that of the arrays, beside which every
policy has to stay problem by problem.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from streamsim.evaluation.testbed import ten_armed
from streamsim.experiments import catalogue
from tests.effort import LONG
from tests.programs.test_simulate import drawn, program

STEPS, LAST = 1000, 100
PLAYED = 2000 if LONG else 100


@cache
def played(epsilon: float) -> Any:
    """For each problem the share of the best arm, and the mean reward, in the last 100 of 1,000 steps."""
    entry = next(entry for entry in catalogue.entries() if entry.slug == "e-greedy")
    found = []
    for number in range(PLAYED):
        problem = ten_armed(number)
        means = dict(zip(problem.arms, problem.means[0].tolist(), strict=True))
        parameters = {"ARMS": list(problem.arms), "EPSILON": epsilon, "MEANS": means}
        code = entry.edited(parameters | {"DEVIATIONS": dict.fromkeys(means, 1.0)})
        points = [STEPS - LAST, STEPS]
        before, end = drawn(program(code, number, (), False, None, "arm"), STEPS, False, points).points
        found.append((end.arms.get(problem.arms[problem.best[0]], 0), end.reward - before.reward))
    return np.array(found).T / LAST


@cache
def computed(epsilon: float) -> Any:
    """The same, of all problems at once, with arrays."""
    means = np.concatenate([ten_armed(number).means for number in range(2000)])
    rows, rng = np.arange(len(means)), np.random.default_rng(7)
    counts, estimates = np.zeros((2, *means.shape))
    best = rewards = np.zeros(len(means))
    for step in range(STEPS):
        greedy = (estimates + 1e-9 * rng.random(means.shape)).argmax(axis=1)
        action = np.where(rng.random(len(means)) < epsilon, rng.integers(10, size=len(means)), greedy)
        reward = means[rows, action] + rng.standard_normal(len(means))
        counts[rows, action] += 1
        estimates[rows, action] += (reward - estimates[rows, action]) / counts[rows, action]
        if step >= STEPS - LAST:
            best, rewards = best + (action == means.argmax(axis=1)), rewards + reward
    return np.array([best, rewards]) / LAST


def test_e_greedy_finds_the_best_arm_in_four_of_five_steps_over_2000_problems() -> None:
    best, _ = played(0.1) if LONG else computed(0.1)
    interval = stats.ttest_1samp(best, 0).confidence_interval(0.99)
    assert len(best) == 2000
    assert 0.77 < interval.low < interval.high < 0.83


@pytest.mark.parametrize("epsilon", [0.01, 0.0] if LONG else [0.0])
def test_exploring_a_tenth_of_the_time_beats_exploring_less_by_step_1000(epsilon: float) -> None:
    less = played(epsilon)
    best, reward = (
        stats.ttest_rel(more, fewer).confidence_interval(0.99)
        for more, fewer in zip(played(0.1)[:, : less.shape[1]], less, strict=True)
    )
    assert best.low > 0.08
    # What 0.01 earns less by then, about 0.06 a step, takes more than 100 problems to be sure of.
    assert reward.low > (0.02 if LONG or epsilon == 0.0 else -0.1)


@pytest.mark.parametrize("epsilon", [0.1, 0.01, 0.0])
def test_the_policy_does_as_the_same_written_with_arrays(epsilon: float) -> None:
    ours = played(epsilon)
    for one, other in zip(ours, computed(epsilon)[:, : ours.shape[1]], strict=True):
        assert abs(one.mean() - other.mean()) < 4 * stats.sem(one - other)
