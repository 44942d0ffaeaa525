"""Units, such as participants, whose decisions depend on each other: named by a field of the context."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Final

import numpy as np

from streamsim import values
from streamsim.errors import BadRequest
from streamsim.evaluation.intervals import Floats, Ints
from streamsim.evaluation.logs import DecisionLog

_LEAST: Final = 10
_UNLIKELY: Final = math.log(1e-6)
_SAMPLED: Final = 30
_DEVIATIONS: Final = 6.0
_WIDER: Final = 1.2


def of(data: DecisionLog, field: str) -> Ints:
    """The number of each decision's unit. :raises BadRequest: a context lacks the field."""
    places: dict[bytes, int] = {}
    numbers = np.empty(len(data), dtype=np.int64)
    for row, context in enumerate(data.contexts):
        if field not in context:
            raise BadRequest(f"the context of decision {row + 1} has no field {field!r}", field="unit")
        numbers[row] = places.setdefault(values.dump_sorted(context[field]), len(places))
    return numbers


def sums(column: Floats, units: Ints) -> Floats:
    """The sum of a column over each unit."""
    result: Floats = np.zeros(int(units.max()) + 1)
    np.add.at(result, units, column)
    return result


def doubt(data: DecisionLog) -> str | None:
    """What to say of rewarded decisions for which no unit was named: None if they look independent."""
    if (name := repeated(data)) is not None:
        return (
            f"Decisions with the same context.{name} all have the same arm, though arms were drawn at "
            "random: they are no independent decisions, and intervals are too narrow. Name the field as "
            "unit."
        )
    if (found := alike(data)) is not None:
        name, ratio = found
        return (
            f"Rewards of the same context.{name} are alike: if its values are units, such as participants, "
            "and the answer is meant for other units too, intervals are too narrow, by up to "
            f"{ratio:.1f} times. Name the field as unit."
        )
    return None


def repeated(data: DecisionLog) -> str | None:
    """The field of the contexts that names units which keep their arm, though it was drawn at random: None if
    none does.

    A unit whose decisions all took one arm did so with the product of its propensities but the first, had
    they been drawn anew each time. A field is told if that is less likely than one in a million.
    """
    best, found = _UNLIKELY, None
    for name, rows_of in _groups(data).items():
        often = [rows for rows in rows_of.values() if len(rows) > 1]
        if len(rows_of) < _LEAST or not often:
            continue
        total = 0.0
        for rows in often:
            if len({data.actions[row] for row in rows}) > 1:
                break
            total += float(np.log(data.propensities[rows[1:]]).sum())
        else:
            if total < best:
                best, found = total, name
    return found


def alike(data: DecisionLog) -> tuple[str, float] | None:
    """The field of the contexts whose values have rewards of their own, and how many times as wide the
    interval of the mean reward is by these values as by decisions: None if there is none.

    The square of that is the design effect (Kish, "Survey Sampling", 1965), here of rewards less the mean of
    their arm: 1 on average if decisions are independent, with a variance of ``2 sum n_g (n_g - 1) / n^2``.
    Estimates that weigh decisions have more variance within a unit, and so a lesser effect. Few values, such
    as segments, are features rather than units: there have to be 30 of them.
    """
    arms: defaultdict[str, list[int]] = defaultdict(list)
    for row, arm in enumerate(data.actions):
        arms[arm].append(row)
    rest = data.rewards.copy()
    for rows in arms.values():
        rest[rows] -= rest[rows].mean()
    squares = float(np.square(rest).sum())
    best, found = _WIDER, None
    if squares == 0:
        return found
    for name, rows_of in _groups(data).items():
        sizes = np.array([len(rows) for rows in rows_of.values()])
        if len(sizes) < _SAMPLED:
            continue
        spread = math.sqrt(2 * float((sizes * (sizes - 1.0)).sum())) / len(data)
        effect = sum(float(rest[rows].sum()) ** 2 for rows in rows_of.values()) / squares
        if spread and effect - 1 > _DEVIATIONS * spread and math.sqrt(effect) > best:
            best = math.sqrt(effect)
            found = name, best
    return found


def _groups(data: DecisionLog) -> dict[str, defaultdict[object, list[int]]]:
    """The rows of each value of each field of the contexts that could name units."""
    groups: defaultdict[str, defaultdict[object, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, context in enumerate(data.contexts):
        for name, value in context.items():
            if isinstance(value, str | int):
                groups[name][value].append(row)
    return groups
