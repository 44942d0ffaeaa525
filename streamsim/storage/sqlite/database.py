"""The SQLite file as one process has it open.

A process writes on one thread, which commits all waiting work together, and reads on another, whose every
transaction sees all that was acknowledged. Rows that every request needs are looked up without a thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.sqlite import schema as sqlite_schema
from streamsim.storage.sqlite.revocations import Revocations
from streamsim.storage.sqlite.writer import Turn, Writer, is_outage

T = TypeVar("T")


class _Connected(NamedTuple):
    turn: Turn
    revocations: Revocations
    writing: sqlite3.Connection
    reading: sqlite3.Connection
    looking: sqlite3.Connection


class Database:
    """Opens, reads and writes the file at `path`; belongs to the event loop that opened it."""

    def __init__(self, path: Path, synchronous: sqlite_schema.Synchronous, busy_ms: int) -> None:
        self._path = path
        self._synchronous = synchronous
        self._busy_ms = busy_ms
        self._writer: Writer | None = None

    async def open(self) -> None:
        """:raises StoreUnavailable:"""
        self._reader = ThreadPoolExecutor(1, "sqlite-reader")
        try:
            connections = await self._on_reader(self._connect)
        except BaseException:
            self._reader.shutdown()
            raise
        self._revocations, self._reading, self._looking = (
            connections.revocations,
            connections.reading,
            connections.looking,
        )
        self._writer = Writer(connections.writing, connections.turn, connections.revocations)

    async def close(self) -> None:
        """Finish what was submitted. Further work is refused."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        await self._on_reader(writer.finish)
        await self._on_reader(self._held.close)
        self._reader.shutdown()

    @property
    def revocations(self) -> int:
        """The count of `Revocations`. :raises StoreUnavailable: the database is closed."""
        if self._writer is None:
            raise StoreUnavailable("the database is closed")
        return self._revocations.count

    async def write(self, work: Callable[[sqlite3.Connection], T], *, revokes: bool = False) -> T:
        """The outcome of `work`, which ran in a transaction that is durable. It may run more than once.

        :param revokes: it may end logins, which processes remember.
        :raises StoreUnavailable: nothing was applied.
        """
        return await self.submit(work, revokes=revokes)

    def submit(self, work: Callable[[sqlite3.Connection], T], *, revokes: bool = False) -> asyncio.Future[T]:
        """As `write`, for those that do not wait themselves."""
        if self._writer is None:
            raise StoreUnavailable("the database is closed")
        return self._writer.submit(work, revokes=revokes)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The outcome of `work`, which sees one moment of the database, later than the call.

        :raises StoreUnavailable:
        """
        if self._writer is None:
            raise StoreUnavailable("the database is closed")
        return await self._on_reader(lambda: self._read(work))

    async def look_up(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As `read`, for one statement that finds a row or so by key.

        It takes less time than to hand it to a thread, and no writer can hold it up: readers of a write-ahead
        log wait for nobody. In the rare moments in which they would have to, it becomes a `read`.

        :raises StoreUnavailable:
        """
        if self._writer is None:
            raise StoreUnavailable("the database is closed")
        try:
            return work(self._looking)
        except sqlite3.Error as error:
            if not is_outage(error):
                raise
        return await self.read(work)

    def _connect(self) -> _Connected:
        with ExitStack() as held:
            sqlite_schema.create(self._path)
            turn = held.enter_context(closing(Turn(self._path, self._busy_ms)))
            revocations = held.enter_context(closing(Revocations(self._path)))
            with turn:
                writing, reading, looking = (
                    held.enter_context(
                        closing(sqlite_schema.connect(self._path, self._synchronous, self._busy_ms))
                    )
                    for _ in range(3)
                )
                sqlite_schema.upgrade(writing)
            for connection in (reading, looking):
                connection.execute("PRAGMA query_only = ON")
            looking.execute("PRAGMA busy_timeout = 0")
            self._held = held.pop_all()
            return _Connected(turn, revocations, writing, reading, looking)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._reading.execute("BEGIN")
        try:
            return work(self._reading)
        finally:
            if self._reading.in_transaction:
                self._reading.execute("COMMIT")

    async def _on_reader(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, work)
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, OSError) or is_outage(error):
                raise StoreUnavailable(f"the database cannot be opened or read: {error}") from error
            raise
