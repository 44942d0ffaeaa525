"""Logs uploaded as CSV or JSON lines, as arrays."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from streamsim import values
from streamsim.errors import BadRequest, TooLarge
from streamsim.evaluation.logs import MAX_ROWS, DecisionLog, Rows, own_propensity

MAX_COLUMNS = 2_000
_CONTEXT_PREFIX = "context."
_COLUMNS = (
    "action, reward and, optionally, propensity and context (or context.NAME, one column for each field)"
)
_FIELDS = frozenset(("context", "action", "reward", "propensity"))
_OPTIONAL = frozenset(("probabilities", "propensity_runs"))
_NOT_KNOWN = ("", "na", "nan", "null", "none")

_Parts = tuple[object, ...]
"""What `Rows.add` takes."""
_Record = TypeVar("_Record")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a CSV that are not called action, reward, propensity or context.NAME."""

    action: str | None = None
    reward: str | None = None
    propensity: str | None = None
    context: tuple[str, ...] = ()

    def of(self, header: Sequence[str]) -> dict[str, str]:
        """What each named column of a header is. :raises BadRequest: a column that is not there."""
        result = {}
        for part in ("action", "reward", "propensity"):
            name = getattr(self, part)
            if name is None or part in header:
                continue
            if name in header:
                result[name] = part
            elif part == "propensity":
                raise _fault(1, "propensity_field", f"there is no column {name!r}")
        for name in self.context:
            if name not in header:
                raise _fault(1, "context_fields", f"there is no column {name!r}")
            result[name] = f"{_CONTEXT_PREFIX}{name}"
        return result


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
        ignored.update(row.keys() - _FIELDS - _OPTIONAL)
        propensity = row.get("propensity")
        return (
            row.get("context"),
            row["action"],
            row["reward"],
            own_propensity(row["action"]) if propensity is None else propensity,
            row.get("probabilities"),
            row.get("propensity_runs"),
        )

    lines = ((line, part) for line, part in enumerate(_text(text).split("\n"), 1) if part.strip())
    ignored: set[str] = set()
    rows = _gather(lines, read, Rows(action_field, reward_field), max_rows)
    return rows.data(ignored=tuple(sorted(ignored)))


def parse_csv(
    text: str | bytes,
    *,
    action_field: str | None = None,
    reward_field: str | None = None,
    max_rows: int = MAX_ROWS,
    columns: Columns | None = None,
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
    if len(header) > MAX_COLUMNS:
        raise _fault(1, "row", f"has {len(header)} columns; at most {MAX_COLUMNS} are read")
    names = columns or Columns()
    named = names.of([name.strip() for name in header])
    known = [
        named.get(name.strip())
        or (
            name.strip()
            if name.strip().startswith(_CONTEXT_PREFIX)
            else name.strip().lower() or f"column {place}"
        )
        for place, name in enumerate(header, 1)
    ]
    # What names a column names no field of what is in it.
    action_field = None if action_field in named else action_field
    reward_field = None if reward_field in named else reward_field
    for name in ("action", "reward"):
        if name not in known:
            raise _fault(1, name, f"there is no such column; columns, separated by commas, are {_COLUMNS}")
    for name, count in Counter(known).items():
        if count > 1:
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
            own_propensity(action) if propensity.lower() in _NOT_KNOWN else _number(propensity, "propensity"),
        )

    rows = _gather(table, read, Rows(action_field, reward_field), max_rows)
    return rows.data(
        ignored=tuple(name for name in known if name not in _FIELDS and not name.startswith(_CONTEXT_PREFIX))
    )


def _gather(
    records: Iterable[tuple[int, _Record]], read: Callable[[_Record], _Parts], rows: Rows, max_rows: int
) -> Rows:
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
