"""What single policies decide, against their definitions computed another way."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy import optimize, special, stats

from streamsim import values

from tests.policies.play import ENTRIES, Player, play, play_uniformly, seed

ARMS = ["a", "b", "c", "d"]


def stored(slug: str, key: str, theta: dict[str, Any], **parameters: Any) -> Player:
    """A player whose experiment has these dicts in theta."""
    rows = {(slug, "_theta", key, value): values.dump(state) for value, state in theta.items()}
    return Player(ENTRIES[slug], parameters, rows=rows)


@pytest.mark.parametrize("slug", ["ab-test", "e-first"])
def test_exploration_lasts_until_every_arm_has_enough_rewards(slug: str) -> None:
    seed(1)
    figure = "p" if slug == "ab-test" else "m"
    short = {"control": {"n": 5, figure: 0.9}, "treatment": {"n": 4, figure: 0.1}}
    probabilities = stored(slug, "arm", short, PER_ARM=5).decide({})[1]
    assert probabilities == {"control": 0.5, "treatment": 0.5}
    enough = {**short, "treatment": {"n": 5, figure: 0.1}}
    assert stored(slug, "arm", enough, PER_ARM=5).decide({})[1] == {"control": 1.0, "treatment": 0.0}


def test_e_greedy_shares_exploitation_among_the_best_and_plays_as_it_says() -> None:
    seed(2)
    means = {"x": {"n": 3, "m": 2.0}, "y": {"n": 3, "m": 2.0}, "z": {"n": 3, "m": 1.0}}
    player = stored("e-greedy", "arm", means, ARMS=["x", "y", "z"], EPSILON=0.3)
    probabilities = player.decide({})[1]
    assert probabilities == pytest.approx({"x": 0.45, "y": 0.45, "z": 0.1})
    chosen = Counter(player.decide({})[0]["arm"] for _ in range(2000))
    assert stats.chisquare([chosen[a] for a in "xyz"], [900, 900, 200]).pvalue > 0.001


def test_ucb1_plays_the_highest_bound_and_new_arms_first() -> None:
    seed(3)
    means = {"a": {"n": 40, "m": 0.5}, "b": {"n": 10, "m": 0.35}, "c": {"n": 200, "m": 0.6}}
    bounds = {arm: s["m"] + math.sqrt(2 * math.log(250) / s["n"]) for arm, s in means.items()}
    player = stored("ucb1", "arm", means)
    assert player.decide({"arms": ["a", "b", "c"]})[0]["arm"] == max(bounds, key=bounds.__getitem__)
    assert player.decide({})[1] == {"a": 0, "b": 0, "c": 0, "d": 1}
    assert stored("ucb1", "arm", {}).decide({})[1] == dict.fromkeys(ARMS, 0.25)


def kl_bound(p: float, allowed: float) -> float:
    """The greatest q whose Bernoulli divergence from p is allowed, by Brent's method."""

    def excess(q: float) -> float:
        return float(special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q) - allowed)

    top = 1 - 1e-12
    return 1.0 if excess(top) < 0 else float(optimize.brentq(excess, p, top))


def test_kl_ucb_plays_the_highest_kullback_leibler_bound() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        shares = {
            arm: {"n": int(n), "p": int(rng.integers(0, n + 1)) / int(n)}
            for arm, n in zip(ARMS, rng.integers(3, 60, 4), strict=True)
        }
        total = sum(s["n"] for s in shares.values())
        bounds = {arm: kl_bound(s["p"], math.log(total) / s["n"]) for arm, s in shares.items()}
        chosen = stored("kl-ucb", "arm", shares).decide({})[0]["arm"]
        assert bounds[chosen] == pytest.approx(max(bounds.values()), abs=1e-6)


def test_softmax_probabilities_are_those_of_boltzmann() -> None:
    means: dict[str, dict[str, float]] = {
        "a": {"n": 5, "m": 0.2},
        "b": {"n": 5, "m": 0.5},
        "c": {"n": 5, "m": 700.0},
        "d": {"n": 1, "m": 0},
    }
    for arms in (["a", "b", "d"], ARMS):
        probabilities = stored("softmax", "arm", means).decide({"arms": arms})[1]
        expected = special.softmax([means[arm]["m"] / 0.1 for arm in arms])
        assert list(probabilities.values()) == pytest.approx(expected.tolist())
    fresh = stored("softmax", "arm", {"a": {"n": 5, "m": 1.0}}).decide({"arms": ["a", "new"]})[1]
    assert fresh == pytest.approx({"a": 0.5, "new": 0.5}), "a new arm counts as INITIAL"


def test_exp3_weighs_rewards_by_the_inverse_of_their_probability() -> None:
    player = stored("exp3", "arm", {"a": {"gain": 30.0}, "b": {"gain": 5.0}}, GAMMA=0.2)
    probabilities = player.decide({})[1]
    expected = 0.8 * special.softmax(0.2 / 4 * np.array([30, 5, 0, 0])) + 0.2 / 4
    assert list(probabilities.values()) == pytest.approx(expected.tolist())
    player.learn({}, {"arm": "b", "propensity": 0.25}, {"value": 0.5})
    assert player.theta("arm") == {"a": {"gain": 30.0}, "b": {"gain": 7.0}}
    with pytest.raises(ValueError, match="reward.value: must be a number from 0 to 1"):
        player.learn({}, {"arm": "b", "propensity": 0.25}, {"value": 2})


def test_linucb_plays_the_highest_bound_of_the_arms_ridge_regressions() -> None:
    seed(5)
    player = Player(ENTRIES["linucb"], {"ARMS": ["0", "1", "2"], "ALPHA": 0.7, "RIDGE": 2.0, "TRIALS": 1})
    played = play(player, 120)
    x = np.array([1.0, *played[-1].context["features"]])
    bounds = {}
    for arm in ("0", "1", "2"):
        steps = [step for step in played if step.action["arm"] == arm]
        design = np.array([[1.0, *step.context["features"]] for step in steps])
        inverse = np.linalg.inv(2 * np.eye(11) + design.T @ design)
        mean = x @ inverse @ design.T @ [step.reward["value"] for step in steps]
        bounds[arm] = mean + 0.7 * math.sqrt(x @ inverse @ x)
    chosen = player.decide(played[-1].context)[0]["arm"]
    assert chosen == max(bounds, key=bounds.__getitem__)


def test_linucb_learns_handwritten_digits() -> None:
    from sklearn.datasets import load_digits

    seed(6)
    images, labels = load_digits(return_X_y=True)
    player = Player(ENTRIES["linucb"])
    hits = []
    for i in np.random.default_rng(6).permutation(len(labels)):
        context = {"features": (images[i] / 16).tolist()}
        action = player.decide(context)[0]
        hits.append(action["arm"] == str(labels[i]))
        player.learn(context, action, {"value": int(hits[-1])})
    assert np.mean(hits[-500:]) >= 0.90


def test_top_two_plays_leader_and_rival_in_the_shares_of_its_definition() -> None:
    seed(7)
    shares = {"a": {"n": 20, "p": 0.3}, "b": {"n": 20, "p": 0.5}, "c": {"n": 20, "p": 0.6}}
    player = stored("top-two-thompson", "arm", shares, ARMS=["a", "b", "c"], BETA=0.5)
    rng = np.random.default_rng(7)
    draws = rng.beta([7, 11, 13], [15, 11, 9], size=(400_000, 3)).argmax(axis=1)
    best = np.bincount(draws) / 400_000
    expected = [
        best[i] * (0.5 + 0.5 * sum(best[j] / (1 - best[j]) for j in range(3) if j != i)) for i in range(3)
    ]
    chosen = Counter(player.decide({})[0]["arm"] for _ in range(2000))
    assert stats.chisquare([chosen[a] for a in "abc"], np.array(expected) * 2000).pvalue > 0.001


def test_top_two_finds_a_rival_to_an_arm_that_never_loses() -> None:
    seed(8)
    shares = {"a": {"n": 10_000, "p": 0.99}, "b": {"n": 10_000, "p": 0.5}, "c": {"n": 10_000, "p": 0.01}}
    player = stored("top-two-thompson", "arm", shares, ARMS=["a", "b", "c"])
    chosen = Counter(player.decide({})[0]["arm"] for _ in range(200))
    assert set(chosen) == {"a", "b"}
    assert stats.binomtest(chosen["a"], 200).pvalue > 0.001


def test_discounted_evidence_is_the_discounted_sum_of_what_was_observed() -> None:
    seed(9)
    player = Player(ENTRIES["discounted-thompson"], {"DISCOUNT": 0.9})
    played = play(player, 60)
    evidence = player.theta("evidence")["all"]
    for arm in ("a", "b"):
        ages = [(59 - i, step.reward["value"]) for i, step in enumerate(played) if step.action["arm"] == arm]
        successes = sum(0.9**age * value for age, value in ages)
        failures = sum(0.9**age * (1 - value) for age, value in ages)
        assert evidence[arm] == pytest.approx([successes, failures])


def test_discounting_follows_a_change_that_plain_thompson_sampling_misses() -> None:
    rewards = {}
    for discount in (0.97, 1.0):
        seed(10)
        played = play(Player(ENTRIES["discounted-thompson"], {"DISCOUNT": discount}), 1200)
        rewards[discount] = np.mean([step.reward["value"] for step in played])
    assert rewards[0.97] > rewards[1.0] + 0.1


def test_bernoulli_thompson_logs_exact_propensities_if_asked_to() -> None:
    seed(11)
    shares = {"1": {"n": 4, "p": 0.5}, "2": {"n": 10, "p": 0.6}}
    player = stored("bernoulli-thompson", "arm", shares, ARMS=["1", "2"], LOG_PROPENSITY=True)
    action, probabilities = player.decide({})
    assert sum(probabilities.values()) == pytest.approx(1)
    assert action["propensity"] == probabilities[action["arm"]]
    draws = np.random.default_rng(11).beta([3, 7], [3, 5], size=(400_000, 2))
    assert probabilities["2"] == pytest.approx((draws[:, 1] > draws[:, 0]).mean(), abs=0.004)


def test_optimal_sampling_estimates_the_difference_more_precisely_than_equal_shares() -> None:
    seed(12)
    player = Player(ENTRIES["thompson-optimal-sampling"])
    play(player, 1200)
    groups = player.theta("arm")
    variance = 1.0 / groups["control"]["n"] + 25.0 / groups["treatment"]["n"]
    assert variance < 0.75 * (1.0 + 25.0) / 600
    assert groups["treatment"]["n"] / groups["control"]["n"] == pytest.approx(5, rel=0.25)


def test_a_participant_keeps_the_condition() -> None:
    seed(13)
    played = play(Player(ENTRIES["social-science-experiment"]), 400)
    conditions: dict[str, str] = {}
    for step in played:
        first = step.context["userid"] not in conditions
        assert (step.action.get("note") == "allocated") == first
        assert (
            conditions.setdefault(step.context["userid"], step.action["condition"])
            == step.action["condition"]
        )
    assert set(conditions.values()) == {"baseline", "random", "lockin"}


def test_online_marketing_logs_every_outcome_and_fits_revenue_on_discount() -> None:
    seed(14)
    player = Player(ENTRIES["online-marketing-experiment"])
    played = play(player, 200)
    assert player.logged == [{**step.action, **step.reward} for step in played]
    design = np.array([[1.0, step.action["discount"]] for step in played])
    revenue = [step.reward["revenue"] for step in played]
    expected = np.linalg.solve(np.eye(2) + design.T @ design, design.T @ revenue)
    model = player.theta("regression")["revenue"]
    assert np.linalg.solve(model["A"], model["b"][0]) == pytest.approx(expected)


class TestNested:
    def test_the_experiment_that_decided_learns_and_no_other(self) -> None:
        seed(15)
        player = Player(ENTRIES["nested-policies"])
        played = play(player, 200)
        by_experiment = Counter(step.action["experiment"] for step in played)
        for slug in ("e-first", "e-greedy"):
            learnt = sum(
                values.parse(text, "theta")["n"] for row, text in player.rows.items() if row[0] == slug
            )
            assert learnt == by_experiment[slug]
        assert stats.binomtest(by_experiment["e-first"], 200).pvalue > 0.001

    def test_an_experiment_of_the_tenant_that_is_not_nested_is_refused(self) -> None:
        player = Player(ENTRIES["nested-policies"])
        with pytest.raises(ValueError, match="none of this experiment's"):
            player.learn({}, {"arm": "control", "experiment": "other"}, {"value": 1})

    def test_parallel_evaluation_estimates_what_each_policy_would_earn(self) -> None:
        seed(16)
        player = Player(ENTRIES["parallel-evaluation"])
        play(player, 2000)
        estimates = player.theta("policy")
        for slug in ("e-first", "e-greedy"):
            alone = [step.reward["value"] for step in play(Player(ENTRIES[slug]), 1000)]
            assert estimates[slug]["n"] == pytest.approx(1000, rel=0.15)
            assert estimates[slug]["m"] == pytest.approx(np.mean(alone), abs=0.3)
        uniform = np.mean(play_uniformly(ENTRIES["parallel-evaluation"], 1000))
        assert estimates["e-greedy"]["m"] > uniform + 0.3
