"""Single entries for the journals of many runs, in a few statements.

Each call of SQLite gives up Python's lock, and on a busy server waits to get it back: two calls for all
entries that wait cost as much as two for one. Entries of a usual size are small work, which the event loop
may do itself (`writer`); a large one goes to the thread, and alone.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec

from streamsim.storage.contract.runs import Append, Run
from streamsim.storage.sqlite.database import Database
from streamsim.storage.sqlite.rows import insert

RUN = (
    "id, tenant, kind, project, model, models, seed, length, base, created_ms, modified_ms, expires_ms,"
    " idle_ms, metadata"
)
_MOST = 32
_LARGE_BYTES = 16 << 10
"""As many entries as are written at once are then half a megabyte at most."""
_versions = msgspec.json.Decoder(dict[str, int]).decode


class _Waiting(NamedTuple):
    change: Append
    outcome: asyncio.Future[Run | None]


class _Call:
    """One turn of the writer, and what it took."""

    def __init__(self) -> None:
        self.begun = False
        self.taken: list[_Waiting] = []


class Appends:
    """Appends on one database; those that come before the writer's next turn go together."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: deque[_Waiting] = deque()
        self._called = False

    async def add(self, change: Append) -> Run | None:
        """As `RunStore.append`, of one entry to what there is."""
        if len(change.entries[0]) > _LARGE_BYTES:
            return (await self._db.submit(lambda db: append(db, [change])))[0]
        waiting = _Waiting(change, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if not self._called:
            self._called = True
            call = _Call()
            try:
                written = self._db.submit(partial(self._write, call), small=True)
            except BaseException:
                self._called = False
                self._waiting.remove(waiting)
                raise
            written.add_done_callback(partial(self._answer, call))
        return await waiting.outcome

    def _write(self, call: _Call, db: sqlite3.Connection) -> list[Run | None]:
        # On the writer's thread, and again if another job of its group failed.
        if not call.begun:
            call.begun = True
            # From here on a new one calls again; if it is taken here, the other call finds nothing to do.
            self._called = False
        self._take(call)
        return append(db, [waiting.change for waiting in call.taken])

    def _take(self, call: _Call) -> None:
        while self._waiting:
            call.taken.append(self._waiting.popleft())

    def _answer(self, call: _Call, written: asyncio.Future[list[Run | None]]) -> None:
        error = written.exception()
        if not call.begun:
            # The file could not even be locked: all that wait, wait for this call.
            self._called = False
            self._take(call)
        for place, (_, outcome) in enumerate(call.taken):
            if outcome.done():
                continue
            if error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(written.result()[place])


def append(db: sqlite3.Connection, changes: Sequence[Append]) -> list[Run | None]:
    """Append one entry for each change that meets its condition: the run then, else None."""
    outcomes: list[Run | None] = [None] * len(changes)
    left = list(enumerate(changes))
    while left:
        now: dict[str, tuple[int, Append]] = {}
        for place, change in left:
            if len(now) < _MOST:
                now.setdefault(change.run, (place, change))
        parameters: list[Any] = []
        for _, change in now.values():
            metadata = None if change.metadata is None else change.metadata.decode()
            parameters += (change.run, change.expected, change.now_ms, metadata)
        rows = []
        for number, *row in db.execute(_update(len(now)), parameters).fetchall():
            run = to_run(row)
            place, change = now[run.id]
            outcomes[place] = run
            rows.append((number, change.expected, change.entries[0]))
        insert(db, "run_entries (run, position, entry)", rows, "")
        done = {place for place, _ in now.values()}
        left = [(place, change) for place, change in left if place not in done]
    return outcomes


@lru_cache(_MOST)
def _update(count: int) -> str:
    columns = ", ".join(f"runs.{name.strip()}" for name in RUN.split(","))
    return (
        f"WITH change(run, expected, now_ms, metadata) AS (VALUES {', '.join(['(?, ?, ?, ?)'] * count)})"
        " UPDATE runs SET length = runs.length + 1, modified_ms = change.now_ms,"
        " expires_ms = CASE WHEN runs.idle_ms > 0 THEN change.now_ms + runs.idle_ms ELSE 0 END,"
        " metadata = coalesce(change.metadata, runs.metadata) FROM change"
        " WHERE runs.id = change.run AND runs.length = change.expected"
        f" AND (runs.expires_ms = 0 OR runs.expires_ms > change.now_ms) RETURNING runs.num, {columns}"
    )


def to_run(row: Sequence[Any]) -> Run:
    """A run of a row of the columns `RUN`."""
    id, tenant, kind, project, model, models, seed, length, base, created_ms, modified_ms, *rest = row
    expires_ms, idle_ms, metadata = rest
    return Run(
        id=id,
        tenant=tenant,
        kind=kind,
        project=project,
        model=model,
        models=_versions(models),
        seed=seed,
        length=length,
        base=base,
        created_ms=created_ms,
        modified_ms=modified_ms,
        expires_ms=expires_ms,
        idle_ms=idle_ms,
        metadata=metadata.encode(),
    )
