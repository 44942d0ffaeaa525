"""Logged bandit data as arrays, from an experiment's own log rows or from uploaded CSV and JSON lines.

A row is one decision: context, action, reward and, where it is known, propensity: the probability with which
the logging policy chose that action. An action is reduced to its arm, a text; a reward to one number.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from streamsim import values
from streamsim.decisions.arms import arm_of, reward_of
from streamsim.errors import BadRequest, TooLarge
from streamsim.evaluation.intervals import Floats, Ints

MAX_ROWS = 1_000_000
MAX_ARMS = 1_000
_CONTEXT_PREFIX = "context."
_COLUMNS = (
    "action, reward and, optionally, propensity and context (or context.NAME, one column for each field)"
)
_FIELDS = frozenset(("context", "action", "reward", "propensity"))
_NOT_KNOWN = ("", "na", "nan", "null", "none")

_Parts = tuple[object, object, object, object]
_Record = TypeVar("_Record")


@dataclass(frozen=True)
class DecisionLog:
    """n logged decisions.

    `contexts`: n dicts; `actions`: n arm labels; `rewards`: n finite numbers; `propensities`: n numbers in
    (0, 1], NaN where unknown. `unrewarded` counts decisions left out for want of a reward, `unusable` those
    whose action or reward has none of the accepted forms, `ignored` names columns that were not read.
    """

    contexts: list[dict[str, Any]]
    actions: list[str]
    rewards: Floats
    propensities: Floats
    unrewarded: int = 0
    unusable: int = 0
    ignored: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def arms(self) -> tuple[str, ...]:
        """The different arms, in order of their labels.

        :raises BadRequest: for more than `MAX_ARMS`, as when an action holds a continuous number.
        """
        arms = sorted(set(self.actions))
        if len(arms) > MAX_ARMS:
            raise BadRequest(
                f"the log has {len(arms)} different actions; off-policy evaluation takes at most {MAX_ARMS}: "
                "choose the field of the action that names the arm",
                field="action_field",
            )
        return tuple(arms)

    def index(self, arms: Sequence[str]) -> Ints:
        """The place of each row's arm in `arms`. :raises KeyError: for a logged arm that is not there."""
        places = {arm: place for place, arm in enumerate(arms)}
        return np.array([places[action] for action in self.actions], dtype=np.int64)

    def take(self, rows: Sequence[int] | Ints) -> DecisionLog:
        """Some of the rows."""
        return DecisionLog(
            [self.contexts[i] for i in rows],
            [self.actions[i] for i in rows],
            self.rewards[rows],
            self.propensities[rows],
            self.unrewarded,
            self.unusable,
            self.ignored,
        )


def _is_propensity(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def propensity_of(propensity: object) -> float:
    """A propensity, NaN for None. :raises InvalidValue: unless it is a number in (0, 1]."""
    if propensity is None:
        return math.nan
    if not _is_propensity(propensity):
        raise values.InvalidValue("propensity", "must be a number above 0 and at most 1")
    return float(propensity)  # type: ignore[arg-type]


class _Rows:
    """Rows as they are gathered."""

    def __init__(self, action_field: str | None, reward_field: str | None) -> None:
        self.fields = action_field, reward_field
        self.contexts: list[dict[str, Any]] = []
        self.actions: list[str] = []
        self.rewards: list[float] = []
        self.propensities: list[float] = []

    def add(self, context: object, action: object, reward: object, propensity: object) -> None:
        if context is None:
            context = {}
        if not isinstance(context, dict):
            raise values.InvalidValue("context", "must be an object")
        arm, figure = arm_of(action, self.fields[0]), reward_of(reward, self.fields[1])
        chance = propensity_of(propensity)
        self.contexts.append(context)
        self.actions.append(arm)
        self.rewards.append(figure)
        self.propensities.append(chance)

    def data(self, *, unrewarded: int = 0, unusable: int = 0, ignored: tuple[str, ...] = ()) -> DecisionLog:
        figures = np.array(self.rewards), np.array(self.propensities)
        return DecisionLog(self.contexts, self.actions, *figures, unrewarded, unusable, ignored)


def _own(action: object) -> object:
    """The propensity that an action itself carries, if it is one."""
    return action.get("propensity") if isinstance(action, Mapping) else None


def from_logs(
    decisions: Iterable[Mapping[str, Any]],
    rewards: Iterable[Mapping[str, Any]],
    *,
    action_field: str | None = None,
    reward_field: str | None = None,
) -> DecisionLog:
    """The rows of an experiment's reward log, with propensities from its action log by advice id.

    Without advice id a reward row's own propensity counts, or the one in its action. What is not a
    probability counts as unknown. Rows without a usable action or reward are left out and counted.

    :raises BadRequest: if there are reward rows and none can be used, with the reason of the first.
    """
    logged = {row["advice_id"]: row for row in decisions if row.get("advice_id") is not None}
    rows, reason, unusable, rewarded = _Rows(action_field, reward_field), None, 0, set()
    for row in rewards:
        rewarded.add(row.get("advice_id"))
        decision = logged.get(row.get("advice_id"), row)
        given = (decision.get("propensity"), _own(decision.get("action")), _own(row.get("action")))
        propensity = next((p for p in given if _is_propensity(p)), None)
        try:
            rows.add(row.get("context"), row.get("action"), row.get("reward"), propensity)
        except values.InvalidValue as error:
            reason, unusable = reason or error, unusable + 1
    if reason is not None and not rows.actions:
        raise BadRequest(f"no reward row of the log can be used; the first: {reason}", field=reason.where)
    return rows.data(unrewarded=len(logged.keys() - rewarded), unusable=unusable)


def parse_json_lines(
    text: str | bytes,
    *,
    action_field: str | None = None,
    reward_field: str | None = None,
    max_rows: int = MAX_ROWS,
) -> DecisionLog:
    """Rows uploaded as JSON lines: objects with action, reward and, optionally, context and propensity.

    An action may carry its propensity as a field of that name. Empty lines are skipped.

    :raises BadRequest: naming the line (from 1) and the field at fault. :raises TooLarge: over `max_rows`.
    """

    def read(part: str) -> _Parts:
        row = values.parse(part, "row")
        if not isinstance(row, dict):
            raise values.InvalidValue("row", "must be an object with action and reward")
        for name in ("action", "reward"):
            if row.get(name) is None:
                raise values.InvalidValue(name, "is missing")
        ignored.update(row.keys() - _FIELDS)
        propensity = row.get("propensity")
        return (
            row.get("context"),
            row["action"],
            row["reward"],
            _own(row["action"]) if propensity is None else propensity,
        )

    lines = ((line, part) for line, part in enumerate(_text(text).split("\n"), 1) if part.strip())
    ignored: set[str] = set()
    rows = _gather(lines, read, _Rows(action_field, reward_field), max_rows)
    return rows.data(ignored=tuple(sorted(ignored)))


def parse_csv(
    text: str | bytes,
    *,
    action_field: str | None = None,
    reward_field: str | None = None,
    max_rows: int = MAX_ROWS,
) -> DecisionLog:
    """Rows uploaded as comma-separated values with a header line.

    `action`: an arm's name, which is text (1.10 and 1.1 are two), or a JSON object, list or quoted text.
    `reward`: a number, true, false or a JSON object. `propensity`: a number, or empty where unknown.
    `context`: a JSON object; or columns `context.NAME`, absent from the context where the cell is empty, with
    true, false, JSON, text, or a number each. A cell is a number only if the number prints back to the same
    text: 1.10, 1e3 and 007 are text. Empty columns at the end, as spreadsheets write them, are skipped.

    :raises BadRequest: naming the line (from 1) and the field at fault. :raises TooLarge: over `max_rows`.
    """
    # With newline="" a quoted cell keeps the line ends inside it.
    table = _table(csv.reader(io.StringIO(_text(text), newline=""), strict=True))
    _, header = next(table, (1, []))
    header = _without_empty_end(header, 0)
    known = [
        name.strip()
        if name.strip().startswith(_CONTEXT_PREFIX)
        else name.strip().lower() or f"column {place}"
        for place, name in enumerate(header, 1)
    ]
    for name in ("action", "reward"):
        if name not in known:
            raise _fault(1, name, f"there is no such column; columns, separated by commas, are {_COLUMNS}")
    for name in known:
        if known.count(name) > 1:
            raise _fault(1, name, "the column appears twice")

    def read(cells: list[str]) -> _Parts:
        cells = _without_empty_end(cells, len(known))
        if len(cells) != len(known):
            raise values.InvalidValue("row", f"has {len(cells)} cells, the header {len(known)}")
        row = dict(zip(known, cells, strict=True))
        action = _action_cell(row["action"])
        propensity = row.get("propensity", "").strip()
        context = _object_cell(row.get("context", ""), "context")
        for name, cell in row.items():
            if name.startswith(_CONTEXT_PREFIX) and cell.strip():
                context[name.removeprefix(_CONTEXT_PREFIX)] = _scalar_cell(cell, name)
        return (
            context,
            action,
            _reward_cell(row["reward"]),
            _own(action) if propensity.lower() in _NOT_KNOWN else _number(propensity, "propensity"),
        )

    rows = _gather(table, read, _Rows(action_field, reward_field), max_rows)
    return rows.data(
        ignored=tuple(name for name in known if name not in _FIELDS and not name.startswith(_CONTEXT_PREFIX))
    )


def _gather(
    records: Iterable[tuple[int, _Record]], read: Callable[[_Record], _Parts], rows: _Rows, max_rows: int
) -> _Rows:
    for line, record in records:
        if len(rows.actions) == max_rows:
            raise TooLarge(f"the log has more than {max_rows} rows")
        try:
            rows.add(*read(record))
        except values.InvalidValue as error:
            raise _fault(line, error.where, error.why) from None
    if not rows.actions:
        raise BadRequest("the log has no rows", field="log")
    return rows


def _fault(line: int, where: str, why: str) -> BadRequest:
    return BadRequest(f"line {line}, {where}: {why}", field=where, detail={"line": line})


def _text(text: str | bytes) -> str:
    if isinstance(text, bytes):
        try:
            return text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise _fault(text.count(b"\n", 0, error.start) + 1, "row", "is not UTF-8 text") from None
    return text.removeprefix("\ufeff")


def _table(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of the line where each starts, without empty ones."""
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise _fault(line, "row", f"is not comma-separated values: {error}") from None


def _without_empty_end(cells: list[str], least: int) -> list[str]:
    """The cells without empty ones at the end, but not fewer than `least` of those that there are."""
    until = len(cells)
    while until > least and not cells[until - 1].strip():
        until -= 1
    return cells[:until]


def _action_cell(cell: str) -> object:
    if not (cell := cell.strip()):
        raise values.InvalidValue("action", "is missing")
    if cell[0] in "{[":
        return values.parse(cell, "action")
    found = _scalar_cell(cell, "action")
    return found if isinstance(found, str) else cell


def _scalar_cell(cell: str, where: str) -> object:
    """A cell as the JSON value that it is, if that prints back to the same text (I15); else as text."""
    cell = cell.strip()
    try:
        value = values.parse(cell, where)
    except values.InvalidValue:
        values.check(cell, where)
        return cell
    if isinstance(value, int | float) and values.dump(value) != cell.encode():
        return cell
    return value


def _object_cell(cell: str, where: str) -> dict[str, Any]:
    value = values.parse(cell, where) if cell.strip() else {}
    if not isinstance(value, dict):
        raise values.InvalidValue(where, "must be a JSON object")
    return value


def _reward_cell(cell: str) -> object:
    cell = cell.strip()
    if cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    return _object_cell(cell, "reward") if cell.startswith("{") else _number(cell, "reward")


def _number(cell: str, where: str) -> float:
    try:
        if "_" in cell:  # which Python would take between digits
            raise ValueError
        return float(cell)
    except ValueError:
        raise values.InvalidValue(where, "must be a number" if cell else "is missing") from None
