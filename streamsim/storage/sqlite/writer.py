"""Who writes to the SQLite file: one thread of a process, or its event loop what is small; and how processes
take turns."""

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
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeVar

from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.sqlite.revocations import Revocations
from streamsim.storage.sqlite.schema import CHECKPOINT_PAGES
from streamsim.storage.sqlite.write_ahead import WriteAheadLog
from streamsim.waiting import on_behalf_of

T = TypeVar("T")

_GROUP = 64
_POLL_S = 0.0001
_HELD_S: Final = 0.001
"""So long at most what stands back waits for another's commit, whose sync is its own as well."""
_QUICK_S: Final = 0.002
"""While one of the last commits took no longer, the event loop makes the next one itself."""
_LAST: Final = 4
"""So many commits tell a slow disk from a moment in which it, or Python's lock, was another's."""
_ASIDE, _ASIDE_ROWS = 2048, 16_384
"""After so many commits of the event loop, or rows that they changed, one is the thread's, which makes the
checkpoint if it is due. Beside a busy loop that takes ten times as long: it is far from one in a hundred."""

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

    def at_once(self) -> bool:
        """Take it if nobody has it or waits for it."""
        if not _flock(self._next, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return False
        taken = _flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _flock(self._next, fcntl.LOCK_UN)
        return taken

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
        self.leave()

    def leave(self) -> None:
        """It is another's."""
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
    stands_back: bool


class Writer:
    """Runs jobs in order of submission, all that wait in one transaction: one sync to disk for the group.

    A job that raises is undone alone. If the group cannot be committed, every job of it fails with
    StoreUnavailable and nothing of it is applied.

    To hand a job to a thread and its outcome back takes as long as a small commit on a quick disk. So the
    event loop makes those itself, all of one of its turns together: while nothing else is written, no other
    process has the turn, and the disk is quick. It never waits for a lock nor for a checkpoint.

    :param stands_back: whether a tenant's work makes way now for another's, which commits soon.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        log: WriteAheadLog,
        turn: Turn,
        revocations: Revocations,
        busy_ms: int,
        stands_back: Callable[[str], bool],
    ) -> None:
        self._db = db
        self._log = log
        self._turn = turn
        self._revocations = revocations
        self._loop = asyncio.get_running_loop()
        self._small: list[_Job] = []
        self._stands_back = stands_back
        # When those are written, if all of them stand back.
        self._held: asyncio.TimerHandle | None = None
        self._handed = self._made_here = self._changed = 0
        self._took_s = deque([_QUICK_S] * _LAST, _LAST)  # nothing is known of the disk yet
        self._quick = False
        self._busy_ms = busy_ms
        self._waiting = True
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(
        self, work: Callable[[sqlite3.Connection], T], *, revokes: bool = False, small: bool = False
    ) -> asyncio.Future[T]:
        """The outcome of `work`, once it is durable.

        :param revokes: it may end logins. :param small: it takes a fraction of a millisecond.
        """
        job = _Job(work, self._loop.create_future(), revokes, self._stands_back(on_behalf_of.get()))
        if small and (self._handed == 0 or self._quick):
            first = not self._small
            self._small.append(job)
            if self._handed == 0:
                self._schedule(job, first)
        else:
            self._hand_over(job)
        return job.future

    def _schedule(self, job: _Job, first: bool) -> None:
        """Have what is small written in this turn of the loop, or a little later.

        :param first: no other small job waits.
        """
        if job.stands_back:
            if first:
                self._held = self._loop.call_later(_HELD_S, self._write_small)
        elif first or self._held is not None:
            self._release()
            self._loop.call_soon(self._write_small)

    def _release(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held = None

    def _hand_over(self, *jobs: _Job) -> None:
        """To the thread, after what was submitted before."""
        self._release()
        before, self._small = self._small, []
        for job in (*before, *jobs):
            self._handed += 1
            self._jobs.put(job)

    def _write_small(self) -> None:
        """What one turn of the event loop has submitted, and was not handed over meanwhile."""
        if self._handed:
            return  # what is small waits for the thread, since this was called for
        jobs = self._small
        if not jobs or not self._quick or len(jobs) > _GROUP or self._is_due() or not self._begun_here():
            self._hand_over()
            return
        self._release()
        self._small = []
        self._made_here += 1
        try:
            outcomes = self._tried(self._commit, jobs)
        finally:
            self._turn.leave()
        _answer(jobs, outcomes)

    def _is_due(self) -> bool:
        """Whether it is the thread's turn."""
        return self._made_here >= _ASIDE or self._db.total_changes - self._changed >= _ASIDE_ROWS

    def _begun_here(self) -> bool:
        """Whether a transaction has begun without waiting for anybody."""
        if not self._turn.at_once():
            return False
        try:
            self._waits(False)
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            # Another tool has the file, or it is worse: the thread waits for it, or meets and tells it.
            self._turn.leave()
            return False
        return True

    def finish(self) -> None:
        """Nothing more will be submitted: when all is written, the thread ends."""
        self._hand_over()
        self._jobs.put(None)

    def join(self) -> None:
        """Wait until the thread has ended."""
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
                self._loop.call_soon_threadsafe(
                    self._handed_back, jobs, self._tried(self._commit_aside, jobs)
                )

    def _handed_back(self, jobs: list[_Job], outcomes: list[Any]) -> None:
        self._handed -= len(jobs)
        self._made_here, self._changed = 0, self._db.total_changes
        _answer(jobs, outcomes)
        if self._small and not self._handed:
            # What came meanwhile does not follow to the thread: one of its commits would bring the next.
            self._loop.call_soon(self._write_small)

    @staticmethod
    def _tried(commit: Callable[[list[_Job]], list[Any]], jobs: list[_Job]) -> list[Any]:
        """The outcomes, or that nothing was applied."""
        try:
            return commit(jobs)
        except Exception as error:
            if not isinstance(error, StoreUnavailable):
                _log.exception("a group commit of %d failed", len(jobs))
            return [StoreUnavailable(f"the database cannot be written: {error}") for _ in jobs]

    def _commit_aside(self, jobs: list[_Job]) -> list[Any]:
        revokes = any(job.revokes for job in jobs)
        with self._turn, self._revocations.under_way() if revokes else nullcontext():
            self._waits(True)
            return self._commit(jobs)

    def _waits(self, may: bool) -> None:
        """Whether the connection may wait: for another tool's lock, and for a checkpoint when it is due."""
        if may is not self._waiting:
            self._db.execute(f"PRAGMA busy_timeout = {self._busy_ms if may else 0}")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES if may else 0}")
            self._waiting = may

    def _commit(self, jobs: list[_Job]) -> list[Any]:
        failed: dict[int, Exception] = {}
        began = time.monotonic()
        try:
            while (outcomes := self._attempt(jobs, failed)) is None:
                pass
            return outcomes
        finally:
            self._took_s.append(time.monotonic() - began)
            self._quick = min(self._took_s) < _QUICK_S

    def _attempt(self, jobs: list[_Job], failed: dict[int, Exception]) -> list[Any] | None:
        """The outcomes; None if a job failed halfway, which is then in `failed`: the others must run again.

        No savepoints: they would copy every page that a job changes, for the sake of a rare failure.
        """
        db = self._db
        try:
            if not db.in_transaction:
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
            self._log.make_room()
            db.execute("COMMIT")
            return outcomes
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def _answer(jobs: list[_Job], outcomes: list[Any]) -> None:
    """Tell all, first those whose work does not stand back."""
    for job, outcome in sorted(zip(jobs, outcomes, strict=True), key=lambda told: told[0].stands_back):
        if job.future.cancelled():
            continue
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)
