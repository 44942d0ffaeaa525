"""Which arm an action names, and which number a reward is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streamsim import values


def arm_of(action: object, field: str | None = None) -> str:
    """The label of an action's arm.

    Of a dict, the value of `field`; without it the value of the only field beside "propensity", or else the
    dict without its propensity. Text is its own label; anything else gives its JSON text with sorted keys, in
    which 1.0 is 1.

    :raises InvalidValue: if a dict lacks `field`, or is empty.
    """
    if isinstance(action, Mapping):
        rest = {name: value for name, value in action.items() if name != "propensity"}
        if field is not None:
            if field not in action:
                raise values.InvalidValue("action", f"has no field {field!r}")
            action = action[field]
        elif not rest:
            raise values.InvalidValue("action", "is empty; an action names an arm")
        else:
            action = next(iter(rest.values())) if len(rest) == 1 else rest
    if isinstance(action, str):
        return action
    return values.dump_sorted(_whole(action)).decode()


def _whole(value: Any) -> Any:
    """The value with floats that are whole numbers as integers, so that 1 and 1.0 are one arm."""
    if type(value) is float and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value


def reward_of(reward: object, field: str | None = None) -> float:
    """A reward as one number: a number, or the value of `field`, by default of its only numeric field.

    True counts 1 and False 0. :raises InvalidValue: where that does not give one finite number.
    """
    if isinstance(reward, Mapping):
        if field is None:
            numeric = [name for name, value in reward.items() if isinstance(value, int | float)]
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
    if not isinstance(reward, int | float) or not math.isfinite(reward):
        raise values.InvalidValue("reward", "must be a finite number, or an object with one")
    return float(reward)
