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
_PARTS = ("action", "reward", "propensity", "predictions")
_FIELDS = frozenset(("context", *_PARTS))
_OPTIONAL = frozenset(("probabilities", "propensity_runs"))
_NOT_KNOWN = ("", "na", "nan", "null", "none")

_Parts = tuple[object, ...]
"""What `Rows.add` takes."""
_Record = TypeVar("_Record")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a CSV, or of the fields of JSON lines, that are not called action, reward,
    propensity, predictions or context.NAME."""

    action: str | None = None
    reward: str | None = None
    propensity: str | None = None
    predictions: str | None = None
    context: tuple[str, ...] = ()

    def of(self, header: Sequence[str]) -> dict[str, str]:
        """What each named column of a header is. :raises BadRequest: a column that is not there."""
        result = {}
        for part in _PARTS:
            name = getattr(self, part)
            if name is None or part in header:
                continue
            if name in header:
                result[name] = part
        self.check(set(header))
        for name in self.context:
            result[name] = f"{_CONTEXT_PREFIX}{name}"
        return result

    def renamed(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row of JSON lines whose fields of other names are there under those that they stand for, too."""
        for part in _PARTS:
            name = getattr(self, part)
            if name is not None and row.get(part) is None and name in row:
                row[part] = row[name]
        if self.context:
            context = row.get("context")
            more = {name: row[name] for name in self.context if row.get(name) is not None}
            row["context"] = more | context if isinstance(context, dict) else more
        return row

    def check(self, names: set[str]) -> None:
        """:raises BadRequest: one that nothing in the log has."""
        for part in ("propensity", "predictions"):
            name = getattr(self, part)
            if name is not None and not {name, part} & names:
                raise fault(1, f"{part}_field", f"there is no column {name!r}")
        for name in self.context:
            if name not in names:
                raise fault(1, "context_fields", f"there is no column {name!r}")


def parse_json_lines(
    text: str | bytes,
    *,
    action_field: str | None = None,
    reward_field: str | None = None,
    max_rows: int = MAX_ROWS,
    columns: Columns | None = None,
) -> DecisionLog:
    """Rows uploaded as JSON lines: objects with action, reward and, optionally, context, propensity and
    predictions (arm -> predicted reward).

    An action may carry its propensity as a field of that name. Empty lines are skipped.

    :raises BadRequest: naming the line (from 1) and the field at fault. :raises TooLarge: over `max_rows`.
    """

    names = columns or Columns()
    # Names of columns are read from the row, as long as it has them; else they are fields of what is in it.
    fields: set[str] = set()

    def read(part: str) -> _Parts:
        row = values.parse(part, "row")
        if not isinstance(row, dict):
            raise values.InvalidValue("row", "must be an object with action and reward")
        found = row.keys() - fields
        fields.update(found)
        own = frozenset(row)
        row = names.renamed(row)
        for name in ("action", "reward"):
            if row.get(name) is None:
                raise values.InvalidValue(name, "is missing")
        rows.fields = (
            None if action_field in own and "action" not in own else action_field,
            None if reward_field in own and "reward" not in own else reward_field,
        )
        rest = sorted((name, values.dump_sorted(row[name])) for name in own - read_here)
        rows.seen((*rest, part.strip()), tuple(rest))
        propensity = row.get("propensity")
        return (
            row.get("context"),
            row["action"],
            row["reward"],
            own_propensity(row["action"]) if propensity is None else propensity,
            row.get("probabilities"),
            row.get("propensity_runs"),
            row.get("predictions"),
        )

    lines = ((line, part) for line, part in enumerate(text_of(text).split("\n"), 1) if part.strip())
    rows = Rows(action_field, reward_field)
    named = {getattr(names, part) for part in _PARTS if getattr(names, part) is not None}
    read_here = named | set(_PARTS) | _OPTIONAL
    _gather(lines, read, rows, max_rows)
    names.check(fields)
    ignored = fields - _FIELDS - _OPTIONAL - named - set(names.context)
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
    `predictions`: a JSON object of arm -> predicted reward. `context`: a JSON object; or columns
    `context.NAME`, absent from the context where the cell is empty, with true, false, JSON, text, or a number
    each. A cell is a number only if the number prints back to the same
    text: 1.10, 1e3 and 007 are text. Empty columns at the end, as spreadsheets write them, are skipped.

    :raises BadRequest: naming the line (from 1) and the field at fault. :raises TooLarge: over `max_rows`.
    """
    # With newline="" a quoted cell keeps the line ends inside it.
    table = _table(csv.reader(io.StringIO(text_of(text), newline=""), strict=True))
    _, header = next(table, (1, []))
    header = _without_empty_end(header, 0)
    if len(header) > MAX_COLUMNS:
        raise fault(1, "row", f"has {len(header)} columns; at most {MAX_COLUMNS} are read")
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
            raise fault(1, name, f"there is no such column; columns, separated by commas, are {_COLUMNS}")
    for name, count in Counter(known).items():
        if count > 1:
            raise fault(1, name, "the column appears twice")

    def read(cells: list[str]) -> _Parts:
        cells = _without_empty_end(cells, len(known))
        if len(cells) != len(known):
            raise values.InvalidValue("row", f"has {len(cells)} cells, the header {len(known)}")
        row = dict(zip(known, cells, strict=True))
        rest = tuple(cell for name, cell in row.items() if name not in _PARTS)
        rows.seen(tuple(cells), rest)
        given = row.get("predictions", "")
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
            None,
            None,
            _object_cell(given, "predictions") if given.strip() else None,
        )

    rows = Rows(action_field, reward_field)
    _gather(table, read, rows, max_rows)
    return rows.data(
        ignored=tuple(name for name in known if name not in _FIELDS and not name.startswith(_CONTEXT_PREFIX))
    )


def _gather(
    records: Iterable[tuple[int, _Record]], read: Callable[[_Record], _Parts], rows: Rows, max_rows: int
) -> None:
    for line, record in records:
        if len(rows.actions) == max_rows:
            raise TooLarge(f"the log has more than {max_rows} rows")
        try:
            rows.add(*read(record))
        except values.InvalidValue as error:
            raise fault(line, error.where, error.why) from None
    if not rows.actions:
        raise BadRequest("the log has no rows", field="log")


def fault(line: int, where: str, why: str) -> BadRequest:
    """What is wrong with a line (from 1) of an uploaded log."""
    return BadRequest(f"line {line}, {where}: {why}", field=where, detail={"line": line})


def text_of(text: str | bytes) -> str:
    """An uploaded log as text. :raises BadRequest: naming the line that is not UTF-8."""
    if isinstance(text, bytes):
        try:
            return text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise fault(text.count(b"\n", 0, error.start) + 1, "row", "is not UTF-8 text") from None
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
        raise fault(line, "row", f"is not comma-separated values: {error}") from None


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
