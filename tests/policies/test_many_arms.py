"""Catalogue policies with thousands of arms, and arms that tie."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.arms import states, with_arms
from streamsim.experiments.catalogue import CatalogueEntry
from tests.policies.play import ENTRIES, Player, seed

TELLING = ("bernoulli-thompson", "top-two-thompson", "discounted-thompson", "lints")


@pytest.mark.parametrize("entry", with_arms(), ids=lambda entry: entry.slug)
@pytest.mark.parametrize("fresh", [False, True])
def test_thousands_of_arms_are_decided_on_with_propensities_that_sum_to_1(
    entry: CatalogueEntry, fresh: bool
) -> None:
    arms = [f"arm-{place}" for place in range(1000)]
    told = any(one.name == "LOG_PROPENSITY" for one in entry.description.parameters)
    rows = {} if fresh else states(entry.slug, arms, np.random.default_rng(2))
    player = Player(entry, {"LOG_PROPENSITY": True} if told else {}, rows=rows)
    seed(1)
    action, probabilities = player.decide({"arms": arms, "features": [0.5, 0.1, -1.0, 2.0]})
    assert action[entry.description.action.field] in arms
    if probabilities is not None:
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert probabilities[action[entry.description.action.field]] == action["propensity"]


@pytest.mark.parametrize("slug", TELLING)
def test_told_probabilities_are_the_shares_of_what_is_played(slug: str) -> None:
    arms = list("wxyz")
    rows = states(slug, arms, np.random.default_rng(4))
    player = Player(ENTRIES[slug], {"LOG_PROPENSITY": True}, rows=rows)
    seed(8)
    context: dict[str, Any] = {"arms": arms, "features": [0.5, 0.1, -1.0, 0.3]}
    told = player.decide(context)[1]
    silent = Player(ENTRIES[slug], rows=rows)
    chosen = Counter(silent.decide(context)[0][ENTRIES[slug].description.action.field] for _ in range(2000))
    expected = np.array([2000 * told[arm] for arm in arms])
    kept = expected > 1e-3
    counts = np.array([chosen[arm] for arm in arms])
    assert counts[~kept].sum() == 0
    assert stats.chisquare(counts[kept], expected[kept], sum_check=False).pvalue > 1e-4


@pytest.mark.parametrize("slug", ["ab-test", "e-greedy", "kl-ucb", "ucb1"])
def test_arms_with_the_same_successes_in_another_order_tie(slug: str) -> None:
    entry = ENTRIES[slug]
    field = entry.description.action.field
    player = Player(entry, {"ARMS": ["a", "b"]})
    rewards = [1] * 30 + [0] * 70
    for arm, order in (("a", rewards), ("b", rewards[::-1])):
        for reward in order:
            player.learn({}, {field: arm}, {"value": reward})
    assert player.decide({})[1] == {"a": 0.5, "b": 0.5}
    assert len({json.dumps(state) for state in player.theta(field).values()}) == 1


def test_the_propensity_of_nested_policies_is_that_of_the_arm_over_all_of_them() -> None:
    seed(3)
    player = Player(ENTRIES["nested-policies"])
    for _ in range(600):
        action, probabilities = player.decide({})
        assert sum(probabilities.values()) == pytest.approx(1)
        assert action["propensity"] == probabilities[action["arm"]]
        player.learn({}, action, {"value": 1.0 if action["arm"] == "treatment" else 0.0})
    # Both exploit "treatment" by now; E-greedy explores with probability 0.1.
    told = player.decide({})[1]
    assert told == pytest.approx({"treatment": (1 + 0.95) / 2, "control": (0 + 0.05) / 2})
    counts = Counter(player.decide({})[0]["arm"] for _ in range(2000))
    assert stats.binomtest(counts["control"], 2000, told["control"]).pvalue > 1e-4


def test_an_experiment_that_logs_propensities_has_the_exact_ones() -> None:
    for slug in TELLING:
        player = Player(ENTRIES[slug], rows=states(slug, ["a", "b"], np.random.default_rng(1)))
        context = {"arms": ["a", "b"], "features": [0.5, 0.1, -1.0, 0.3]}
        assert player.decide(context)[1] is None
        player._session.root.properties["log_propensity"] = True
        assert sum(player.decide(context)[1].values()) == pytest.approx(1)


def test_ucb1_refuses_a_reward_outside_its_range_as_its_siblings_do() -> None:
    for slug in ("ucb1", "kl-ucb", "exp3"):
        with pytest.raises(ValueError, match=r"reward\.value.*from 0 to 1"):
            Player(ENTRIES[slug]).learn({}, {"arm": "a", "propensity": 0.5}, {"value": 7})


@pytest.mark.parametrize("slug", ["bernoulli-thompson", "top-two-thompson", "discounted-thompson"])
def test_the_prior_of_thompson_samplers_is_a_parameter(slug: str) -> None:
    # One arm with a win: under a prior of 999 and 999 it says next to nothing.
    field = ENTRIES[slug].description.action.field
    for prior, most in (([1, 1], 0.9), ([999, 999], 0.55)):
        player = Player(ENTRIES[slug], {"ARMS": ["a", "b"], "PRIOR": prior, "LOG_PROPENSITY": True})
        seed(1)
        player.learn({}, {field: "a"}, {"value": 1})
        told = player.decide({})[1]
        assert sum(told.values()) == pytest.approx(1)
        assert 0.5 <= max(told.values()) <= most
        assert (max(told.values()) - 0.5 > 0.1) is (prior == [1, 1] and slug != "top-two-thompson")
