"""Whether units were assigned to arms in the planned shares: from counts, or from a log of any size."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from streamsim import values
from streamsim.decisions.arms import arm_of
from streamsim.errors import BadRequest
from streamsim.evaluation import health
from streamsim.evaluation.logs import MAX_ARMS
from streamsim.evaluation.uploads import fault, text_of
from streamsim.evaluation.wire import EstimatesLoad

_SUM: Final = 1e-6


def of_counts(counts: Mapping[str, int], shares: Mapping[str, float] | None) -> dict[str, Any]:
    """The check of so many independent units of each arm.

    :param shares: of the arms, which sum to 1; None: all the same.
    :raises BadRequest: naming the field.

    >>> round(of_counts({"a": 821588, "b": 815482}, None)["statistic"], 3)
    22.774
    """
    if not 2 <= len(counts) <= MAX_ARMS or not sum(counts.values()):
        raise BadRequest(f"counts must have 2 to {MAX_ARMS} arms, and a unit at least", field="counts")
    planned = dict.fromkeys(counts, 1 / len(counts)) if shares is None else dict(shares)
    if planned.keys() != counts.keys():
        if planned.keys() - counts.keys():
            # An arm that was planned and has no unit counts 0.
            counts = dict.fromkeys(planned, 0) | dict(counts)
        if unplanned := counts.keys() - planned.keys():
            raise BadRequest(f"shares lack the arm {min(unplanned)!r}", field="shares")
    if not all(share > 0 for share in planned.values()) or abs(math.fsum(planned.values()) - 1) > _SUM:
        raise BadRequest("shares must be numbers above 0 that sum to 1", field="shares")
    check = health.ratio_of_counts(counts, planned)
    n = sum(counts.values())
    arms = {arm: {"count": count, "expected": n * planned[arm]} for arm, count in counts.items()}
    shown: dict[str, Any] = msgspec.to_builtins(check)
    return shown | {"detail": {"units": n, "arms": arms, **check.detail}}


def of_upload(text: bytes, load: EstimatesLoad, shares: dict[str, float] | None) -> dict[str, Any]:
    """The same of a log's rows; with `load.unit`, a field or column, each unit counts once, by its first arm.

    Rows need no reward. `detail` then says how many rows there are, how many of them repeat a unit, and how
    many units have more than one arm.

    :raises BadRequest: naming line and field.
    """
    counts: Counter[str] = Counter()
    first: dict[object, str] = {}
    moved: set[object] = set()
    rows = 0
    for line, arm, unit in _rows(text, load):
        rows += 1
        if load.unit is None:
            counts[arm] += 1
        else:
            if unit in (None, ""):
                raise fault(line, "unit", f"has no {load.unit!r}")
            if first.setdefault(unit, arm) != arm:
                moved.add(unit)
    if load.unit is not None:
        counts.update(first.values())
    found = of_counts(dict(sorted(counts.items())), shares)
    found["detail"]["rows"] = rows
    if load.unit is None:
        return found
    found["detail"] |= {"unit": load.unit, "repeated": rows - len(first), "with_several_arms": len(moved)}
    if moved:
        found["sentence"] += f" {len(moved):,} units have more than one arm; each counts with its first."
    return found


def _rows(text: bytes, load: EstimatesLoad) -> Iterator[tuple[int, str, object]]:
    """(line, arm, unit) of every row."""
    whole = text_of(text)
    name = load.action_field or "action"
    if load.form == "jsonl":
        for line, part in enumerate(whole.split("\n"), 1):
            if part.strip():
                yield line, *_of_object(line, part, name, load)
        return
    reader = csv.reader(io.StringIO(whole, newline=""), strict=True)
    header = [cell.strip() for cell in next(reader, [])]
    for field, column in (("action_field", name), ("unit", load.unit)):
        if column is not None and column not in header:
            raise fault(1, field, f"there is no column {column!r}")
    arm, unit = header.index(name), None if load.unit is None else header.index(load.unit)
    least = max(arm, unit or 0)
    try:
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) <= least or not cells[arm].strip():
                raise fault(reader.line_num, "action", "is missing")
            yield reader.line_num, cells[arm].strip(), None if unit is None else cells[unit].strip()
    except csv.Error as error:
        raise fault(reader.line_num, "row", f"is not comma-separated values: {error}") from None


def _of_object(line: int, part: str, name: str, load: EstimatesLoad) -> tuple[str, object]:
    try:
        row = values.parse(part, "row")
        if not isinstance(row, dict):
            raise values.InvalidValue("row", "must be an object with action")
        named = name in row and "action" not in row
        action = row.get(name) if named else row.get("action")
        if action is None:
            raise values.InvalidValue("action", "is missing")
        arm = arm_of(action, None if named else load.action_field)
    except values.InvalidValue as error:
        raise fault(line, error.where, error.why) from None
    if load.unit is None:
        return arm, None
    context = row.get("context")
    inside = context.get(load.unit) if isinstance(context, dict) else None
    unit = row.get(load.unit, inside)
    return arm, values.dump_sorted(unit) if isinstance(unit, dict | list) else unit
