"""The SQLite file as one process has it open.

A process writes on one thread, which commits all waiting work together, or on its event loop what is small,
and reads on others, whose every transaction sees all that was acknowledged. They are the tenants' in turn,
and no tenant has all of them. Rows that every request needs are looked up without a thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple, TypeVar

from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.sqlite import schema as sqlite_schema
from streamsim.storage.sqlite.revocations import Revocations
from streamsim.storage.sqlite.write_ahead import WriteAheadLog
from streamsim.storage.sqlite.writer import Turn, Writer, is_outage
from streamsim.waiting import Room, on_behalf_of

T = TypeVar("T")

READERS: Final = 4
SMALL_BYTES: Final = 64 * 1024
"""A write of few rows with so many bytes is small."""
_STEPS: Final = 100_000
"""Steps of SQLite's machine between two looks at the clock: about a millisecond."""
READ_S: Final = 20.0
"""The longest that a statement of a reader works; then it is interrupted."""


class _Connected(NamedTuple):
    turn: Turn
    revocations: Revocations
    writing: sqlite3.Connection
    log: WriteAheadLog
    reading: list[sqlite3.Connection]
    looking: sqlite3.Connection


class Database:
    """Opens, reads and writes the file at `path`; belongs to the event loop that opened it.

    :param stands_back: whether a tenant's commits make way now for another's; see `Writer`.
    """

    def __init__(
        self,
        path: Path,
        synchronous: sqlite_schema.Synchronous,
        busy_ms: int,
        read_s: float = READ_S,
        stands_back: Callable[[str], bool] = lambda tenant: False,
    ) -> None:
        self._path = path
        self._synchronous = synchronous
        self._busy_ms = busy_ms
        self._read_s = read_s
        self._stands_back = stands_back
        self._writer: Writer | None = None

    async def open(self) -> None:
        """:raises StoreUnavailable:"""
        self._readers = ThreadPoolExecutor(READERS, "sqlite-reader")
        self._room = Room(READERS, share=READERS - 1)
        try:
            connections = await self._on_reader(self._connect)
        except BaseException:
            self._readers.shutdown()
            raise
        self._revocations, self._reading, self._looking = (
            connections.revocations,
            connections.reading,
            connections.looking,
        )
        self._writer = Writer(
            connections.writing,
            connections.log,
            connections.turn,
            connections.revocations,
            self._busy_ms,
            self._stands_back,
        )

    async def close(self) -> None:
        """Finish what was submitted. Further work is refused."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        writer.finish()
        await self._on_reader(writer.join)
        # What still reads is interrupted, as there is no writer now.
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._held.close)

    @property
    def revocations(self) -> int:
        """The count of `Revocations`. :raises StoreUnavailable: the database is closed."""
        if self._writer is None:
            raise StoreUnavailable("the database is closed")
        return self._revocations.count

    async def write(
        self, work: Callable[[sqlite3.Connection], T], *, revokes: bool = False, small: bool = False
    ) -> T:
        """The outcome of `work`, which ran in a transaction that is durable. It may run more than once.

        :param revokes: it may end logins, which processes remember.
        :param small: it takes a fraction of a millisecond, for which no thread is worth while.
        :raises StoreUnavailable: nothing was applied.
        """
        return await self.submit(work, revokes=revokes, small=small)

    def submit(
        self, work: Callable[[sqlite3.Connection], T], *, revokes: bool = False, small: bool = False
    ) -> asyncio.Future[T]:
        """As `write`, for those that do not wait themselves."""
        if self._writer is None:
            raise StoreUnavailable("the database is closed")
        return self._writer.submit(work, revokes=revokes, small=small)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The outcome of `work`, which sees one moment of the database, later than the call.

        :raises StoreUnavailable: also for work that took too long.
        """
        tenant = on_behalf_of.get()
        await self._room.take(tenant)
        if self._writer is None:
            self._room.free(tenant)
            raise StoreUnavailable("the database is closed")
        left = Event()
        reading = asyncio.get_running_loop().run_in_executor(self._readers, self._read, work, left)
        # The place is free when the thread is, which is later than now for a caller that gives up.
        reading.add_done_callback(lambda _: self._room.free(tenant))
        try:
            with _outages():
                return await asyncio.shield(reading)
        except asyncio.CancelledError:
            left.set()
            raise

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

    async def finds(self, sql: str, given: Sequence[object] = ()) -> bool:
        """Whether a query finds a row, which an index tells at once: as `look_up`.

        Most looks for work that is due find none. Those need no thread, for which the event loop may wait
        where the thread has Python's lock.

        :raises StoreUnavailable:
        """
        return await self.look_up(lambda db: db.execute(sql, given).fetchone() is not None)

    def _connect(self) -> _Connected:
        with ExitStack() as held:
            sqlite_schema.create(self._path)
            turn = held.enter_context(closing(Turn(self._path, self._busy_ms)))
            revocations = held.enter_context(closing(Revocations(self._path)))
            with turn:
                writing, looking, *reading = (
                    held.enter_context(
                        closing(sqlite_schema.connect(self._path, self._synchronous, self._busy_ms))
                    )
                    for _ in range(2 + READERS)
                )
                sqlite_schema.upgrade(writing)
                log = held.enter_context(closing(WriteAheadLog(self._path)))
            for connection in (*reading, looking):
                connection.execute("PRAGMA query_only = ON")
            looking.execute("PRAGMA busy_timeout = 0")
            self._held = held.pop_all()
            return _Connected(turn, revocations, writing, log, reading, looking)

    def _read(self, work: Callable[[sqlite3.Connection], T], left: Event) -> T:
        # As many threads as connections, so there is always one.
        db = self._reading.pop()
        deadline = time.monotonic() + self._read_s
        db.set_progress_handler(
            lambda: left.is_set() or self._writer is None or time.monotonic() > deadline, _STEPS
        )
        try:
            db.execute("BEGIN")
            try:
                return work(db)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                    raise StoreUnavailable(f"reading took longer than {self._read_s:g} s") from None
                raise
            finally:
                if db.in_transaction:
                    db.execute("COMMIT")
        finally:
            db.set_progress_handler(None, 0)
            self._reading.append(db)

    async def _on_reader(self, work: Callable[[], T]) -> T:
        with _outages():
            return await asyncio.get_running_loop().run_in_executor(self._readers, work)


@contextmanager
def _outages() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, OSError) or is_outage(error):
            raise StoreUnavailable(f"the database cannot be opened or read: {error}") from error
        raise
