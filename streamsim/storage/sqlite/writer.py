"""The one thread of a process that writes to the SQLite file, and how processes take turns."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.sqlite.revocations import Revocations

T = TypeVar("T")

_GROUP = 64
_POLL_S = 0.0001

# On a busy server it takes far longer to get Python's lock back than one of these calls, which never wait.
_libc = ctypes.PyDLL(None, use_errno=True)
_log = logging.getLogger(__name__)


def is_outage(error: BaseException) -> bool:
    """Whether an error is of the file, its disk or its locks rather than of our SQL or our values."""
    if isinstance(error, sqlite3.OperationalError):
        return (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_ERROR
    return type(error) is sqlite3.DatabaseError


class Turn:
    """Exclusive leave to write, across processes: held around each group commit with its checkpoint.

    SQLite's own lock polls in growing sleeps, and lets the process that has just written write again. Here
    whoever is next in line holds `-next` until it has `-turn`, so processes alternate; the kernel frees both
    if a process dies. And as no commit runs beside another process's checkpoint, the WAL-reset race of SQLite
    before 3.51.3 (sqlite.org/wal.html#walresetbug) cannot happen.
    """

    def __init__(self, path: Path, busy_ms: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._next = os.open(f"{path}-next", flags, 0o600)
        self._turn = os.open(f"{path}-turn", flags, 0o600)
        self._busy_s = busy_ms / 1000

    def __enter__(self) -> None:
        deadline = time.monotonic() + self._busy_s
        self._take(self._next, deadline)
        try:
            self._take(self._turn, deadline)
        finally:
            _flock(self._next, fcntl.LOCK_UN)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _flock(self._turn, fcntl.LOCK_UN)

    def _take(self, lock: int, deadline: float) -> None:
        while not _flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if time.monotonic() > deadline:
                raise StoreUnavailable("another process has kept the database locked")
            time.sleep(_POLL_S)

    def close(self) -> None:
        os.close(self._next)
        os.close(self._turn)


def _flock(file: int, operation: int) -> bool:
    """As `fcntl.flock`, without giving up Python's lock; False if another process holds the file's."""
    if _libc.flock(file, operation) == 0:
        return True
    error = ctypes.get_errno()
    if error == errno.EWOULDBLOCK:
        return False
    raise OSError(error, os.strerror(error))


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    revokes: bool


class Writer:
    """Runs jobs in order of submission, all that wait in one transaction: one sync to disk for the group.

    A job that raises is undone alone. If the group cannot be committed, every job of it fails with
    StoreUnavailable and nothing of it is applied.
    """

    def __init__(self, db: sqlite3.Connection, turn: Turn, revocations: Revocations) -> None:
        self._db = db
        self._turn = turn
        self._revocations = revocations
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[sqlite3.Connection], T], *, revokes: bool = False) -> asyncio.Future[T]:
        """The outcome of `work`, once it is durable. `revokes`: it may end logins."""
        job = _Job(work, self._loop.create_future(), revokes)
        self._jobs.put(job)
        return job.future

    def finish(self) -> None:
        """Wait for what was submitted, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            waiting = [self._jobs.get()]
            while len(waiting) < _GROUP and not self._jobs.empty():
                waiting.append(self._jobs.get())
            ended = None in waiting
            jobs = [job for job in waiting if job is not None]
            if jobs:
                self._loop.call_soon_threadsafe(_answer, jobs, self._commit(jobs))

    def _commit(self, jobs: list[_Job]) -> list[Any]:
        failed: dict[int, Exception] = {}
        try:
            revokes = any(job.revokes for job in jobs)
            with self._turn, self._revocations.under_way() if revokes else nullcontext():
                while (outcomes := self._attempt(jobs, failed)) is None:
                    pass
            return outcomes
        except Exception as error:
            if not isinstance(error, StoreUnavailable):
                _log.exception("a group commit of %d failed", len(jobs))
            return [StoreUnavailable(f"the database cannot be written: {error}") for _ in jobs]

    def _attempt(self, jobs: list[_Job], failed: dict[int, Exception]) -> list[Any] | None:
        """The outcomes; None if a job failed halfway, which is then in `failed`: the others must run again.

        No savepoints: they would copy every page that a job changes, for the sake of a rare failure.
        """
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            outcomes: list[Any] = []
            for index, job in enumerate(jobs):
                changes = db.total_changes
                try:
                    outcomes.append(failed[index] if index in failed else job.work(db))
                except Exception as error:
                    if is_outage(error):
                        raise
                    failed[index] = error
                    if db.total_changes != changes or not db.in_transaction:
                        return None
                    outcomes.append(error)
            db.execute("COMMIT")
            return outcomes
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def _answer(jobs: list[_Job], outcomes: list[Any]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.future.cancelled():
            continue
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)
