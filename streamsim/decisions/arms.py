"""Which arm an action names, and which number a reward is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streamsim import values


def arm_of(action: object, field: str | None = None, probabilities: Mapping[str, float] | None = None) -> str:
    """The label of an action's arm.

    Of a dict, the label of the value of `field`. Without it the arm is guessed only where there is one guess:
    the value of the only field beside "propensity", or of the only one whose label is in `probabilities`.
    What is no dict is the arm itself.

    :param field: the `arm_field` of the experiment, or the `action_field` of the request.
    :param probabilities: of each arm's label, as the decision told them.
    :raises InvalidValue: if a dict lacks `field`, is empty, or has several fields of which none is named.

    >>> arm_of({"arm": 1.0, "propensity": 0.5}), arm_of({"arm": "b", "price": 3}, probabilities={"b": 1})
    ('1', 'b')
    """
    # Almost always a dict, which is told apart from other mappings in a fifth of the time.
    if type(action) is not dict and not isinstance(action, Mapping):
        return label(action)
    if field is not None:
        if field not in action:
            raise values.InvalidValue("action", f"has no field {field!r}")
        return label(action[field])
    rest = [name for name in action if name != "propensity"]
    if len(rest) > 1 and probabilities:
        rest = [name for name in rest if label(action[name]) in probabilities] or rest
    if len(rest) == 1:
        return label(action[rest[0]])
    if not rest:
        raise values.InvalidValue("action", "is empty; an action names an arm")
    shown = ", ".join(sorted(map(str, rest)))[:200]
    raise values.InvalidValue(
        "action",
        f"has several fields ({shown}): say which one names the arm, in the experiment's arm_field or in the "
        "request's action_field",
    )


def label(arm: object) -> str:
    """An arm as text: text is its own label; anything else gives its JSON text with sorted keys, in which 1.0
    is 1. Wherever arms are compared, counted or logged, it is by this text; `inputs.name` gives policies the
    same one.
    """
    if isinstance(arm, str):
        return arm
    return values.dump_sorted(_whole(arm)).decode()


def labelled(figures: Mapping[Any, float], where: str) -> dict[str, float]:
    """A figure for each arm, by label. :raises InvalidValue: for two arms that have the same label."""
    result = {
        arm if type(arm) is str else label(values.plain(arm, where)): figure
        for arm, figure in figures.items()
    }
    if len(result) < len(figures):
        raise values.InvalidValue(where, 'names an arm twice: 1, 1.0 and "1" are one arm')
    return result


def _whole(value: Any) -> Any:
    """The value with floats that are whole numbers as integers, so that 1 and 1.0 are one arm."""
    if type(value) is float:
        return values.without_fraction(value)
    if isinstance(value, Mapping):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value


def reward_of(reward: object, field: str | None = None) -> float:
    """A reward as one number: a number, or the value of `field`, by default of its only numeric field.

    True counts 1 and False 0. :raises InvalidValue: where that does not give one finite number.
    """
    if type(reward) is dict or isinstance(reward, Mapping):
        if field is None:
            numeric = [name for name, value in reward.items() if isinstance(value, (int, float))]
            if len(numeric) != 1:
                complaint = (
                    f"several numeric fields ({', '.join(numeric)}): choose one"
                    if numeric
                    else "no numeric field"
                )
                raise values.InvalidValue("reward", f"has {complaint}")
            field = numeric[0]
        elif field not in reward:
            raise values.InvalidValue("reward", f"has no field {field!r}")
        reward = reward[field]
    if not isinstance(reward, (int, float)) or not math.isfinite(reward):
        raise values.InvalidValue("reward", "must be a finite number, or an object with one")
    return float(reward)
