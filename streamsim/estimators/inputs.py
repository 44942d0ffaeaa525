"""Checked inputs of a policy: each function takes one field of a call, or refuses it with the form it takes.

Policies read every field that a caller sends through one of these, before they touch theta. So what is
refused names its field and the form that it takes, and what is accepted cannot leave a state that later
decisions fail on. A field is given by its path, e.g. `context.features`. `policy.yml` declares the same
paths, kinds and ranges, and the catalogue refuses a policy whose code reads other ones.

>>> from types import SimpleNamespace
>>> call = SimpleNamespace(context={"arms": [1, "b", 1.0]}, action={"arm": 1}, reward=0.5)
>>> arms(call, ["default"]), name(call, "action.arm"), number(call, "reward.value", 0, 1)
(['1', 'b'], '1', 0.5)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeGuard, TypeVar

from streamsim import values

__all__ = ["arms", "choice", "name", "number", "numbers", "whole"]

LIMIT: Final = 1e15
"""The largest size of a number. Up to it floats tell whole numbers apart, so that a regression with a prior
precision of about 1 stays definite; powers and sums of such numbers stay within the range of floats."""
MAX_NAME: Final = 512
"""Characters of a name: as long as a part of theta's address may be."""

_ABSENT: Final = object()
T = TypeVar("T")


def arms(call: Any, default: Iterable[Any]) -> list[str]:
    """The names of the arms to choose from: those of the context's list "arms", or else the default ones.

    Names are text: numbers become their JSON text (1 and 1.0 are "1", true is "true"), as everywhere where an
    arm is compared or stored. A name that is given twice is one arm.

    :raises InvalidValue: not a list, an empty one, or with a name that is neither text nor number.
    """
    given = _field(call, "context.arms", _ABSENT)
    listed = default if given is _ABSENT else given
    if not isinstance(listed, list | tuple) or not listed:
        raise values.InvalidValue("context.arms", "must be a list of at least one name")
    names: dict[str, None] = {}
    for i, item in enumerate(listed):
        names[item if _is_name(item) else _name(item, f"context.arms[{i}]")] = None
    return list(names)


def name(call: Any, path: str) -> str:
    """A name, such as an arm or a participant: text, or a number, which becomes its JSON text.

    :raises InvalidValue: missing, or anything else.
    """
    return _name(_field(call, path), path)


def choice(call: Any, path: str, accepted: Sequence[T]) -> T:
    """One of the accepted values. :raises InvalidValue: missing, or another one."""
    given = _field(call, path)
    for one in accepted:
        if given == one and type(given) is type(one):
            return one
    raise values.InvalidValue(path, f"must be one of {', '.join(map(repr, accepted))}")


def number(call: Any, path: str, least: float = -LIMIT, most: float = LIMIT) -> float:
    """A number from `least` to `most`, as a float. A reward may be sent as the bare number; true is 1.

    :raises InvalidValue: missing, no number, or outside.
    """
    given = _field(call, path)
    if type(given) is bool and path.startswith("reward."):
        given = int(given)
    if type(given) not in (int, float) or not least <= given <= most:
        raise values.InvalidValue(path, f"must be a number from {_shown(least)} to {_shown(most)}")
    return float(given)


def whole(call: Any, path: str, least: int, most: int = int(LIMIT)) -> int:
    """A whole number from `least` to `most`. :raises InvalidValue: missing, not whole, or outside."""
    given = _field(call, path)
    if type(given) not in (int, float) or not least <= given <= most or int(given) != given:
        raise values.InvalidValue(path, f"must be a whole number from {_shown(least)} to {_shown(most)}")
    return int(given)


def numbers(call: Any, path: str) -> list[float]:
    """A list of numbers from -1e15 to 1e15, as floats; it may be empty.

    :raises InvalidValue: missing, no list, or with an element that is no such number.
    """
    given = _field(call, path)
    if not isinstance(given, list | tuple):
        raise values.InvalidValue(path, "must be a list of numbers")
    for i, item in enumerate(given):
        if type(item) not in (int, float) or not -LIMIT <= item <= LIMIT:
            raise values.InvalidValue(f"{path}[{i}]", "must be a number from -1e15 to 1e15")
    return [float(item) for item in given]


def _field(call: Any, path: str, default: Any = None) -> Any:
    """What a path leads to; `default` if it is missing, and None leads to the caller's own complaint."""
    part, field = path.split(".")
    holder = getattr(call, part)
    if part == "reward" and type(holder) in (int, float, bool):
        return holder
    if type(holder) is not dict and not isinstance(holder, Mapping):
        raise values.InvalidValue(part, f"must be an object with the field {field!r}")
    return holder.get(field, default)


def _is_name(given: Any) -> TypeGuard[str]:
    return isinstance(given, str) and 1 <= len(given) <= MAX_NAME and "\0" not in given


def _name(given: Any, where: str) -> str:
    if type(given) is float:
        given = values.without_fraction(given)
    if type(given) in (int, float, bool):
        given = values.dump(given).decode()
    if not _is_name(given):
        raise values.InvalidValue(where, f"must be a name: text of 1 to {MAX_NAME} characters, or a number")
    return given


def _shown(bound: float) -> str:
    return f"{bound:.12g}".replace("e+", "e")
