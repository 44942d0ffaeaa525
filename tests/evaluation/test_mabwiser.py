"""The catalogue's UCB1 and LinUCB against MABWiser: the same scores and choices on the same history."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy

from tests.policies.play import ENTRIES, Player, seed


def scoring(slug: str, **parameters: Any) -> Player:
    """The catalogue's policy, which also says the scores that it compared."""
    entry = ENTRIES[slug]
    code = {**entry.code, "get_action": entry.code["get_action"] + "\nself.action['scores'] = bounds\n"}
    return Player(msgspec.structs.replace(entry, code=code), parameters)


def taken(probabilities: dict[str, float]) -> set[str]:
    return {arm for arm, chance in probabilities.items() if chance > 0}


def test_ucb1_scores_every_arm_as_mabwiser_does() -> None:
    seed(1)
    player = scoring("ucb1")
    arms = ["a", "b", "c", "d"]
    rng = np.random.default_rng(2)
    decisions, rewards = [*arms, *rng.choice(arms, 150)], rng.random(154).round(3)
    other = MAB(arms, LearningPolicy.UCB1(alpha=1.0))
    for step, (arm, reward) in enumerate(zip(decisions, rewards, strict=True), 1):
        player.learn({}, {"arm": arm}, {"value": float(reward)})
        if step < len(arms):
            continue
        other.fit(decisions[:step], rewards[:step])
        action, probabilities = player.decide({})
        expected = other.predict_expectations()
        assert action["scores"] == pytest.approx(expected, rel=1e-12)
        assert taken(probabilities) == {other.predict()}


def test_linucb_scores_every_arm_as_mabwiser_does() -> None:
    seed(3)
    arms, alpha, ridge = ["0", "1", "2", "3"], 0.7, 2.0
    player = scoring("linucb", ARMS=arms, ALPHA=alpha, RIDGE=ridge, TRIALS=0)
    other = MAB(arms, LearningPolicy.LinUCB(alpha=alpha, l2_lambda=ridge))
    rng = np.random.default_rng(4)
    features = rng.normal(size=(120, 5))
    # MABWiser takes RIDGE for its inverse until an arm's first reward, so every arm gets one first.
    decisions = [*arms, *(arms[i] for i in rng.integers(4, size=116))]
    rewards = features[:, 0] * [int(arm) for arm in decisions] + rng.normal(size=120)
    x = np.column_stack([np.ones(120), features])
    other.fit(decisions[:4], rewards[:4], x[:4])
    for step in range(120):
        context = {"features": features[step].tolist()}
        player.learn(context, {"arm": decisions[step]}, {"value": float(rewards[step])})
        if step < 4:
            continue
        other.partial_fit(decisions[step : step + 1], rewards[step : step + 1], x[step : step + 1])
        new = rng.normal(size=5)
        action, probabilities = player.decide({"features": new.tolist()})
        expected = other.predict_expectations(np.array([[1.0, *new]]))
        assert action["scores"] == pytest.approx(expected, rel=1e-9)
        assert taken(probabilities) == {max(expected, key=expected.__getitem__)}
