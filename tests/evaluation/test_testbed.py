"""The environments are what their papers and closed forms say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from streamsim.evaluation import testbed


def test_the_ten_armed_testbed_draws_its_values_and_rewards_from_normal_distributions() -> None:
    values = np.concatenate([testbed.ten_armed(seed).means[0] for seed in range(300)])
    assert stats.kstest(values, "norm").pvalue > 0.01
    problem = testbed.ten_armed(5)
    _, data = problem.log(np.eye(10)[3], 4000, seed=1)
    assert stats.kstest(data.rewards - problem.means[0, 3], "norm").pvalue > 0.01


def test_a_policys_value_is_what_its_decisions_earn() -> None:
    world = testbed.contextual_logistic(3)
    policy = testbed.softmax(world, 0.2)
    context, data = world.log(policy, 50_000, seed=2)
    error = data.rewards.std() / np.sqrt(len(data))
    assert data.rewards.mean() == pytest.approx(world.value(policy), abs=3 * error)
    best = np.eye(4)[world.best]
    assert world.regret(best) == pytest.approx(0)
    assert world.value(best) > world.value(policy) > world.value(testbed.uniform(world))
    assert data.propensities == pytest.approx(policy[context, data.index(world.arms)])
    taken = np.bincount(data.index(world.arms)[context == 0], minlength=4) / (context == 0).sum()
    assert taken == pytest.approx(policy[0], abs=0.02)


def test_contexts_hold_the_features_that_the_rewards_depend_on() -> None:
    world = testbed.contextual_logistic(3, arms=2, features=2, contexts=500)
    x = np.array([context["x"] for context in world.contexts])
    logits = np.log(world.means / (1 - world.means))
    design = np.column_stack([np.ones(500), x])
    coefficients, residuals, *_ = np.linalg.lstsq(design, logits, rcond=None)
    assert residuals == pytest.approx([0, 0], abs=1e-12)
    # With many contexts a fixed arm's value nears the integral over normal features.
    mean, sd = coefficients[0, 0], np.linalg.norm(coefficients[1:, 0])
    exact = integrate.quad(lambda z: stats.norm.pdf(z) / (1 + np.exp(-(mean + sd * z))), -8, 8)[0]
    assert world.value([1.0, 0.0]) == pytest.approx(exact, abs=4 * world.means[:, 0].std() / np.sqrt(500))


def test_a_log_repeats_from_its_seed_and_never_takes_an_arm_without_probability() -> None:
    world = testbed.bernoulli([0.2, 0.9, 0.5])
    one, two = (world.log([0.0, 0.3, 0.7], 2000, seed=3)[1] for _ in range(2))
    assert one.actions == two.actions
    assert np.array_equal(one.rewards, two.rewards)
    assert set(one.actions) == {"1", "2"}
    assert world.value([0.0, 0.3, 0.7]) == pytest.approx(0.62)


def test_chances_beyond_one_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        testbed.bernoulli([0.5, 1.5])
