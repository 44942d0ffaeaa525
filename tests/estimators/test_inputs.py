"""What the functions of `inputs` take, and how they refuse the rest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streamsim.estimators import inputs
from streamsim.values import InvalidValue


def call(context: Any = None, action: Any = None, reward: Any = None) -> SimpleNamespace:
    return SimpleNamespace(context=context or {}, action=action or {}, reward=reward)


def test_arm_names_are_text_and_each_is_one_arm() -> None:
    given = [1, "1", 1.0, 2.5, True, "b", "b", "\u4e16"]
    assert inputs.arms(call({"arms": given}), ["a"]) == ["1", "2.5", "true", "b", "\u4e16"]
    assert inputs.arms(call(), [1, 2]) == ["1", "2"]


@pytest.mark.parametrize("arms", [None, [], "abc", {}, 3, [{}], [[]], [None], [""], ["x" * 513], ["a\0"]])
def test_arms_of_another_form_are_refused_by_name(arms: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^context\.arms(\[0\])?: must be a (list of|name)"):
        inputs.arms(call({"arms": arms}), ["a"])


@pytest.mark.parametrize("reward", [0.5, {"value": 0.5}])
def test_a_bare_number_is_the_reward_of_the_one_field(reward: Any) -> None:
    assert inputs.number(call(reward=reward), "reward.value", 0, 1) == 0.5
    assert inputs.number(call(reward=True), "reward.value", 0, 1) == 1.0


@pytest.mark.parametrize(
    "reward", [None, "1", {}, [], {"value": None}, {"value": "1"}, {"value": [1]}, {"value": 1.01}, -1, 1e308]
)
def test_rewards_of_another_form_are_refused_by_name(reward: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^reward(\.value: must be a number from 0 to 1$|: must be an)"):
        inputs.number(call(reward=reward), "reward.value", 0, 1)


def test_true_is_no_propensity_and_a_step_is_whole() -> None:
    with pytest.raises(InvalidValue, match=r"action\.propensity: must be a number from 0 to 1"):
        inputs.number(call(action={"propensity": True}), "action.propensity", 0, 1)
    assert inputs.whole(call(action={"t": 24.0}), "action.t", 1) == 24
    for t in (2**63 - 1, 0, 1.5, "1", None):
        with pytest.raises(InvalidValue, match=r"action\.t: must be a whole number from 1 to 1e15"):
            inputs.whole(call(action={"t": t}), "action.t", 1)


def test_features_are_finite_numbers_of_a_size_that_a_regression_can_take() -> None:
    assert inputs.numbers(call({"features": [1, 0.5]}), "context.features") == [1.0, 0.5]
    for bad, where in ((None, ""), ("abc", ""), ([1, "2"], r"\[1\]"), ([1e16], r"\[0\]"), ([True], r"\[0\]")):
        with pytest.raises(InvalidValue, match=rf"^context\.features{where}: must be"):
            inputs.numbers(call({"features": bad}), "context.features")


def test_a_choice_is_one_of_what_is_offered() -> None:
    assert inputs.choice(call({"customer": "new"}), "context.customer", ["new", "old"]) == "new"
    with pytest.raises(InvalidValue, match=r"context\.customer: must be one of 'new', 'old'"):
        inputs.choice(call({"customer": None}), "context.customer", ["new", "old"])
