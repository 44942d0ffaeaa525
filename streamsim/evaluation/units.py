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


def repeated(data: DecisionLog) -> str | None:
    """The field of the contexts that names units which keep their arm, though it was drawn at random: None if
    none does.

    A unit whose decisions all took one arm did so with the product of its propensities but the first, had
    they been drawn anew each time. A field is told if that is less likely than one in a million.
    """
    groups: defaultdict[str, defaultdict[object, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, context in enumerate(data.contexts):
        for name, value in context.items():
            if isinstance(value, str | int):
                groups[name][value].append(row)
    best, found = _UNLIKELY, None
    for name, rows_of in groups.items():
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
