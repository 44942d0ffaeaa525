"""Logged data: how actions become arms and rewards numbers, and what an upload must look like."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsim.decisions import arms
from streamsim.errors import BadRequest
from streamsim.estimators import inputs
from streamsim.evaluation import own_log
from streamsim.values import InvalidValue


@pytest.mark.parametrize(
    ("action", "field", "arm"),
    [
        ({"treatment": "A", "propensity": 0.3}, None, "A"),
        ({"treatment": "A"}, None, "A"),
        ({"treatment": 2}, None, "2"),
        ({"treatment": 2.0}, None, "2"),
        ({"price": 2.5}, None, "2.5"),
        ({"show": True}, None, "true"),
        ({"slate": {"b": 1.0, "a": ["x", 2.0]}, "propensity": 0.1}, None, '{"a":["x",2],"b":1}'),
        ({"b": 1, "a": 2}, "b", "1"),
        ({"propensity": 0.5, "arm": "B", "note": "n"}, "arm", "B"),
        ("A", None, "A"),
        ("A", "treatment", "A"),
        (3, None, "3"),
    ],
)
def test_an_action_is_reduced_to_its_arm(action: Any, field: str | None, arm: str) -> None:
    assert arms.arm_of(action, field) == arm


@pytest.mark.parametrize(
    ("action", "probabilities", "arm"),
    [
        ({"price": 3, "arm": "B"}, {"A": 0.5, "B": 0.5}, "B"),
        ({"price": 3.0, "arm": "B"}, {"2": 0.5, "3": 0.5}, "3"),
        ({"arm": "C"}, {"A": 0.5, "B": 0.5}, "C"),
    ],
)
def test_of_several_fields_the_one_that_the_probabilities_name_is_the_arm(
    action: Any, probabilities: dict[str, float], arm: str
) -> None:
    assert arms.arm_of(action, None, probabilities) == arm


@pytest.mark.parametrize("probabilities", [None, {}, {"x": 1.0}, {"B": 0.5, "A": 0.5}])
def test_of_several_fields_none_is_guessed(probabilities: dict[str, float] | None) -> None:
    with pytest.raises(InvalidValue, match=r"several fields \(a, b\): .* arm_field"):
        arms.arm_of({"b": "B", "a": "A", "propensity": 0.5}, None, probabilities)


@given(
    st.text()
    | st.integers(-(2**53), 2**53)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
)
def test_a_policy_names_an_arm_as_the_service_does(arm: Any) -> None:
    try:
        name = inputs.name(SimpleNamespace(action={"arm": arm}), "action.arm")
    except InvalidValue:
        return  # too long, too short or with a NUL: no name
    assert arms.label(arm) == name


def test_a_figure_for_each_arm_is_by_label_and_no_arm_is_named_twice() -> None:
    assert arms.labelled({1: 0.25, 2.0: 0.5, "x": 0.25}, "f") == {"1": 0.25, "2": 0.5, "x": 0.25}
    with pytest.raises(InvalidValue, match="twice"):
        arms.labelled({1: 0.5, "1": 0.5}, "f")


@pytest.mark.parametrize(("action", "field"), [({}, None), ({"propensity": 0.5}, None), ({"a": 1}, "b")])
def test_an_action_without_an_arm_is_refused(action: Any, field: str | None) -> None:
    with pytest.raises(InvalidValue, match="action"):
        arms.arm_of(action, field)


@pytest.mark.parametrize(
    ("reward", "field", "figure"),
    [
        (1, None, 1.0),
        (True, None, 1.0),
        ({"click": 0}, None, 0.0),
        ({"click": 1, "page": "home"}, None, 1.0),
        ({"click": 1, "spent": 2.5}, "spent", 2.5),
        (-1.5, "spent", -1.5),
    ],
)
def test_a_reward_is_reduced_to_a_number(reward: Any, field: str | None, figure: float) -> None:
    assert arms.reward_of(reward, field) == figure


@pytest.mark.parametrize(
    ("reward", "field", "said"),
    [
        ({"click": 1, "spent": 2}, None, "choose one"),
        ({"page": "home"}, None, "no numeric field"),
        ({"click": 1}, "spent", "no field 'spent'"),
        ({"click": "1"}, "click", "finite number"),
        ("1", None, "finite number"),
        (None, None, "finite number"),
        (math.nan, None, "finite number"),
    ],
)
def test_a_reward_without_one_number_is_refused(reward: Any, field: str | None, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        arms.reward_of(reward, field)


def test_own_logs_are_joined_by_advice_id() -> None:
    decisions = [
        {"context": {"x": 1}, "action": {"arm": "A"}, "propensity": 0.25, "advice_id": "1"},
        {"context": {"x": 2}, "action": {"arm": "B", "propensity": 0.5}, "advice_id": "2"},
        {"context": {"x": 3}, "action": {"arm": "B"}, "propensity": 0.5, "advice_id": "3"},
        {"context": {"x": 4}, "action": {"arm": "B"}, "propensity": 0.5},
    ]
    rewards: list[dict[str, Any]] = [
        {
            "context": {"x": 2},
            "action": {"arm": "B", "propensity": 0.5},
            "reward": {"r": 2},
            "advice_id": "2",
        },
        {"context": {"x": 1}, "action": {"arm": "A"}, "reward": {"r": 1}, "advice_id": "1", "timeout": True},
        {"context": {"x": 5}, "action": {"arm": "C", "propensity": 0.125}, "reward": {"r": 3}},
        {"context": {"x": 6}, "action": {"arm": "C", "propensity": 7}, "reward": 4},
        {"context": {}, "action": {}, "reward": 4},
        {"context": {}, "action": {"arm": "C"}, "reward": {"text": "x"}},
    ]
    data = own_log.from_logs(decisions, rewards)
    # The last one has no reward.
    assert data.contexts == [{"x": 2}, {"x": 1}, {"x": 5}, {"x": 6}, {"x": 3}]
    assert data.actions[:4] == ["B", "A", "C", "C"]
    assert np.array_equal(data.rewards, [2.0, 1.0, 3.0, 4.0, np.nan], equal_nan=True)
    assert np.array_equal(data.propensities[:4], [0.5, 0.25, 0.125, np.nan], equal_nan=True)
    assert (data.unrewarded, data.unusable) == (1, 2)


def test_a_log_without_any_usable_row_says_why() -> None:
    with pytest.raises(BadRequest, match="several numeric fields") as caught:
        own_log.from_logs([], [{"action": {"arm": "A"}, "reward": {"a": 1, "b": 2}}])
    assert caught.value.field == "reward"
    assert (
        len(own_log.from_logs([], [{"action": {"arm": "A"}, "reward": {"a": 1, "b": 2}}], reward_field="b"))
        == 1
    )


ARMS = ["1.10", "1.1", "1.0", "1", "1e3", "1000", "1_000", "007", "true", "NaN", "+1", ".5", '"quoted"']
