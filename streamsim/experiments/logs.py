"""Logs as their owners read them: in pages or whole, as JSON or as comma-separated values, newest first."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from streamsim import values
from streamsim.dates import HOUR_MS
from streamsim.errors import BadRequest
from streamsim.storage.contract.logs import LogKind, LogRow, LogStore, is_last

LogFormat = Literal["json", "jsonl", "csv"]
Iso = Callable[[int], str]
"""Writes a date."""

# A page of a log ends early rather than grow beyond this; a part of a whole one is about so long.
_PAGE_BYTES: Final = 16 << 20
_PART_BYTES: Final = 1 << 20
_ROWS_AT_ONCE: Final = 500
# Rows are in the order of their commits. A date is that of the decision, on the clock of its process.
DISORDER_MS: Final = HOUR_MS

_DECISION: Final = ("date", "exp_id", "id", "context", "action")
COLUMNS: Final[dict[LogKind, tuple[str, ...]]] = {
    "action": (*_DECISION, "advice_id", "propensity", "propensity_runs", "probabilities"),
    "reward": (*_DECISION, "reward", "advice_id", "timeout"),
    "manual": ("date", "exp_id"),
    "theta": ("date", "exp_id", "id", "theta", "named"),
    "simulation": (
        *("date", "exp_id", "id", "simulation", "draw", "context", "action", "reward"),
        *("theta", "propensity", "probabilities", "regret"),
    ),
    "error": ("date", "exp_id", "id", "call", "code", "message", "detail"),
}
"""The columns of a log as comma-separated values; the last, `data`, has what else a row holds, as JSON."""
_REST: Final = "data"


class LogQuery(NamedTuple):
    """Which rows of a log: those before a position, and of dates from `from_ms` on and before `to_ms`."""

    kind: LogKind
    before: str = ""
    from_ms: int | None = None
    to_ms: int | None = None
    form: LogFormat = "json"


class Reader:
    """Reads a log in parts that are small in rows and in bytes. `before` is where it goes on."""

    def __init__(self, store: LogStore, experiment_id: str, query: LogQuery) -> None:
        self._store = store
        self._experiment_id = experiment_id
        self._query = query
        self._row_bytes = _PAGE_BYTES / 20
        self.before: str = query.before
        self.more = True

    async def page(self, limit: int) -> list[LogRow]:
        """As many of the next rows as a page has: at most `limit`. :raises BadRequest: as `read`."""
        rows: list[LogRow] = []
        size = 0
        while self.more and len(rows) < limit and size < _PAGE_BYTES:
            some = await self.read(limit - len(rows), _PAGE_BYTES - size)
            size += sum(len(row.data) for row in some)
            rows += some
        return rows

    async def read(self, most: int, room: int) -> list[LogRow]:
        """The next rows: at most `most`, of about `room` bytes in all. There may be none, and more later.

        :raises BadRequest: for a `before` that is no position.
        """
        wanted = min(most, _ROWS_AT_ONCE, max(1, int(room / self._row_bytes)))
        try:
            page = await self._store.read_log(
                self._experiment_id, self._query.kind, limit=wanted, before=self.before, max_bytes=room
            )
        except ValueError:
            raise BadRequest("before is not a position in this log", field="before") from None
        self.more = not is_last(page, wanted, room)
        if page:
            self.before = page[-1].position
            self._row_bytes = max(64.0, sum(len(row.data) for row in page) / len(page))
        from_ms, to_ms = self._query.from_ms, self._query.to_ms
        if from_ms is not None and page and page[-1].date_ms < from_ms - DISORDER_MS:
            self.more = False
        return [
            row
            for row in page
            if (from_ms is None or row.date_ms >= from_ms) and (to_ms is None or row.date_ms < to_ms)
        ]


async def page(
    store: LogStore, experiment_id: str, query: LogQuery, limit: int, iso: Iso
) -> tuple[bytes, str | None]:
    """At most `limit` rows, and the position to go on `before` if there may be more.

    :raises BadRequest: for a `before` that is no position.
    """
    reader = Reader(store, experiment_id, query)
    write = _WRITERS[query.form](experiment_id, query.kind, iso)
    rows = await reader.page(limit)
    return write.begin() + write.rows(rows) + write.end(), reader.before if reader.more else None


async def whole(
    store: LogStore, experiment_id: str, query: LogQuery, iso: Iso
) -> AsyncGenerator[bytes, None]:
    """All rows in parts, of which no more than one is held at a time.

    :raises BadRequest: before the first part, for a `before` that is no position.
    """
    reader = Reader(store, experiment_id, query)
    write = _WRITERS[query.form](experiment_id, query.kind, iso)
    held = write.begin()
    while reader.more:
        held += write.rows(await reader.read(_ROWS_AT_ONCE, _PART_BYTES))
        if len(held) >= _PART_BYTES:
            yield held
            held = b""
    yield held + write.end()


class _Json:
    """A JSON array of rows."""

    def __init__(self, experiment_id: str, kind: LogKind, iso: Iso) -> None:
        self._experiment_id = experiment_id
        self._iso = iso
        self._kind = kind
        self._first = True

    def begin(self) -> bytes:
        return b"["

    def rows(self, rows: Iterable[LogRow]) -> bytes:
        text = b",".join(log_row(self._experiment_id, self._kind, row, self._iso) for row in rows)
        joined = text if self._first or not text else b"," + text
        self._first = self._first and not text
        return joined

    def end(self) -> bytes:
        return b"]"


class _Lines(_Json):
    """A JSON object for each line."""

    def begin(self) -> bytes:
        return b""

    def rows(self, rows: Iterable[LogRow]) -> bytes:
        return b"".join(log_row(self._experiment_id, self._kind, row, self._iso) + b"\n" for row in rows)

    def end(self) -> bytes:
        return b""


class _Csv:
    """A header and a line for each row."""

    def __init__(self, experiment_id: str, kind: LogKind, iso: Iso) -> None:
        self._experiment_id = experiment_id
        self._iso = iso
        self._columns = COLUMNS[kind]
        self._manual = kind == "manual"

    def begin(self) -> bytes:
        return lines([[*self._columns, _REST]])

    def rows(self, rows: Iterable[LogRow]) -> bytes:
        return lines(map(self._cells, rows))

    def end(self) -> bytes:
        return b""

    def _cells(self, row: LogRow) -> list[str]:
        logged: dict[str, Any] = msgspec.json.decode(row.data)
        own = {"date": self._iso(row.date_ms), "exp_id": self._experiment_id, "id": row.id}
        if self._manual:
            return [own["date"], own["exp_id"], values.dump(logged).decode() if logged else ""]
        rest = {name: value for name, value in logged.items() if name not in self._columns}
        cells = [cell((logged | own).get(name)) for name in self._columns]
        return [*cells, values.dump(rest).decode() if rest else ""]


_WRITERS: Final[dict[LogFormat, Callable[[str, LogKind, Iso], _Json | _Csv]]] = {
    "json": _Json,
    "jsonl": _Lines,
    "csv": _Csv,
}


def log_row(experiment_id: str, kind: LogKind, row: LogRow, iso: Iso) -> bytes:
    """A row of a log as JSON text: what was logged, with `date`, `exp_id` and, unless manual, `id`."""
    if kind == "manual":
        # The code chose these names; where they clash, what it logged is what its author wants to see.
        own = {"date": iso(row.date_ms), "exp_id": experiment_id}
        return values.dump(own | msgspec.json.decode(row.data))
    own = {"date": iso(row.date_ms), "exp_id": experiment_id, "id": row.id}
    return values.dump(own)[:-1] + b"," + row.data[1:]


def lines(rows: Iterable[list[str]]) -> bytes:
    """Rows as comma-separated values."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def cell(value: object) -> str:
    """A value as the text of a cell that reads back as the same value; empty for null."""
    if value is None:
        return ""
    if isinstance(value, str):
        try:
            values.parse(value, "cell")
        except values.InvalidValue:
            return value
    return values.dump(value).decode()
