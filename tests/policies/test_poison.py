"""No accepted call leaves a state that later legal calls fail on: I13, in short. In full: bench.poison."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policies.hostile import ESTIMATORS, estimate_sequence, play_sequence
from tests.policies.play import ENTRIES, Player, seed


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("slug", ENTRIES)
def test_after_every_accepted_call_plain_calls_succeed_and_refusals_name_the_field(slug: str) -> None:
    assert sum(play_sequence(slug, number) for number in range(40)) > 0


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_after_every_accepted_observation_an_estimator_takes_and_tells_the_next(name: str) -> None:
    assert sum(estimate_sequence(name, number) for number in range(100)) > 0


@pytest.mark.parametrize("slug", ["linucb", "lints"])
@pytest.mark.parametrize("features", [[], [0.5] * 7, [1.7e9, 1.7e9, 0.3, 0.3], [1e15] * 4])
def test_a_reward_with_other_features_costs_no_later_decision(slug: str, features: list[float]) -> None:
    player = Player(ENTRIES[slug], forgetful=True)
    player.learn({"features": features}, {"arm": "0"}, {"value": 1})
    usual = {"features": [0.1, 0.2, 0.3, 0.4]}
    for _ in range(20):
        action, _ = player.decide(usual)
        player.learn(usual, action, {"value": 0.5})


@pytest.mark.parametrize("propensity", [1e-300, -0.5, 2, True, None])
def test_exp3_takes_no_propensity_that_it_cannot_have_had(propensity: Any) -> None:
    player = Player(ENTRIES["exp3"])
    with pytest.raises(ValueError, match=r"^action\.propensity: "):
        player.learn({}, {"arm": "a", "propensity": propensity}, {"value": 1})
    assert player.rows == {}


@pytest.mark.parametrize("t", [2**63 - 1, 10**12])
def test_a_step_far_ahead_does_not_move_lock_in_feedback_from_its_own(t: int) -> None:
    player = Player(ENTRIES["lock-in-feedback"], forgetful=True)
    try:
        player.learn({}, {"x": 3.0, "t": t, "x0": 3.0}, {"value": 1})
    except ValueError as error:
        assert str(error).startswith("action.t: ")
    assert player.decide({})[0]["t"] <= 2


@pytest.mark.parametrize("slug", [slug for slug, entry in ENTRIES.items() if "arms" in {
    field.kind for field in entry.description.inputs} and not entry.description.needs
])  # fmt: skip
def test_arms_that_are_numbers_or_given_twice_are_learnt_from_by_their_names(slug: str) -> None:
    entry = ENTRIES[slug]
    seed(7)
    player = Player(entry, forgetful=True)
    field = entry.description.action.field
    context = {**player.context(), "arms": [1, 2.0, 2, "x"]}
    seen = set()
    for _ in range(30):
        action, probabilities = player.decide(context)
        seen.add(action[field])
        assert probabilities is None or set(probabilities) == {"1", "2", "x"}
        player.learn(context, action, 1)
    assert seen <= {"1", "2", "x"}
    assert player.rows
