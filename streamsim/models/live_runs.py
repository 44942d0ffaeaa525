"""Runs in memory: a sandboxed process that did what a run's journal says is a cache of that journal.

One request of a run at a time per server process; between processes the journal decides. A request brings a
process to the journal's present end, asks it, appends what was done on the condition that nobody appended in
between, and only then answers. If somebody did, the process has seen what never happened: it is ended, and
the request starts over.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar
from weakref import WeakValueDictionary

import msgspec

from streamsim.config import ModelSettings
from streamsim.errors import BadRequest, Conflict, ModelError
from streamsim.models.journal import Entry, Kind, RunJournal
from streamsim.models.library import Models
from streamsim.models.workers import ModelWorkers, Refusal, ask
from streamsim.sandbox.host.pool import Worker
from streamsim.storage.contract.runs import Run
from streamsim.waiting import Turns

ATTEMPTS: Final = 20
AT_ONCE: Final = 100
"""Entries per message when a journal is played."""
BUSY: Final = "the instance is being used by too many others at once; try again"
NO_SESSION: Final = "no data was returned from run_step"

Result = TypeVar("Result")


class NotBegun(BadRequest):
    """The instance has no session that could be asked."""

    def __init__(self) -> None:
        super().__init__(NO_SESSION)


class Behind(Exception):
    """Somebody else appended to the run: what was decided on its former end does not hold."""


class Live:
    """A process at a position of a run's journal."""

    def __init__(
        self, run: Run, worker: Worker, models: dict[str, int], position: int, lock: asyncio.Lock
    ) -> None:
        """:param lock: the run's, which lives as long as its process."""
        self.lock = lock
        self.run = run
        self.worker = worker
        self.models = models
        self.position = position
        self.used = asyncio.get_running_loop().time()


class Alone:
    """A context in which nobody else of this process uses a run."""

    __slots__ = ("_left", "_lock")

    def __init__(self, lock: asyncio.Lock, left: Callable[[], None]) -> None:
        self._lock, self._left = lock, left

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_error: object) -> None:
        self._lock.release()
        self._left()


class LiveRuns:
    """The runs that one server process has in memory, at most `settings.live`, and how they get there."""

    def __init__(
        self, journal: RunJournal, models: Models, workers: ModelWorkers, settings: ModelSettings
    ) -> None:
        self.journal = journal
        self._models = models
        self._workers = workers
        self._settings = settings
        self._live: OrderedDict[str, Live] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # Runs that are being brought into memory, and those that wait for room there.
        self._coming = 0
        self._turns = Turns()

    def close(self) -> None:
        """End the processes; the runs are in the store."""
        for live in self._live.values():
            live.worker.kill()
        self._live.clear()

    @property
    def all(self) -> dict[str, Live]:
        """The runs that are in memory by id, least recently used first."""
        return dict(self._live)

    # ---- what requests do

    async def read(self, tenant: str, run: str, entry: Entry, kind: Kind = "instance") -> msgspec.Raw:
        """The result of an entry that changes nothing.

        :raises NotFound: :raises NotBegun: :raises Refusal: :raises ModelError:
        """
        async with self._alone(run):
            live = await self._current(await self.journal.get(tenant, run, kind))
            try:
                return await ask(live.worker, [entry])
            except Refusal:
                raise
            except BaseException:
                # The model stopped halfway through: what its process holds is no longer the journal's.
                self._drop(run)
                raise

    async def change(
        self, tenant: str, run: str, kind: Kind, act: Callable[[Turn], Awaitable[Result]]
    ) -> Result:
        """What `act` makes of a run that it has to itself in this server process.

        `act` looks at the run, asks its process, and appends what was done; whatever it raises, the run is as
        its journal says. It starts over, with another turn, when somebody else appended meanwhile.

        :raises NotFound: unknown, another tenant's, or of the other kind.
        :raises Conflict: too many others write to it.
        """
        async with self._alone(run):
            live = self._live.get(run)
            known = None
            if live is not None and live.worker.alive and (live.run.tenant, live.run.kind) == (tenant, kind):
                # It was at the end a moment ago, and the store tells if it no longer is.
                known = live
            for _ in range(ATTEMPTS):
                turn = Turn(self, known.run if known else await self.journal.get(tenant, run, kind), known)
                try:
                    return await act(turn)
                except Behind:
                    known = None
                finally:
                    if turn.unsaved:
                        self._drop(run)
            raise Conflict(BUSY)

    async def delete(self, tenant: str, run: str) -> None:
        """Remove an instance. :raises NotFound:"""
        async with self._alone(run):
            await self.journal.get(tenant, run)
            self._drop(run)
            await self.journal.delete([run])

    async def discard(self, run: str) -> None:
        """Remove a run that nobody else knows of: it did not come about."""
        self._drop(run)
        await self.journal.delete([run])

    async def unload(self, tenant: str, run: str, kind: Kind) -> None:
        """Let go of its process, after the request that it is at; the run stays. :raises NotFound:"""
        async with self._alone(run):
            await self.journal.look(tenant, run, kind)
            self._drop(run)

    async def load(self, tenant: str, run: str, kind: Kind) -> Run:
        """Bring it into memory; the run. :raises NotFound: :raises ModelError: it does not come back."""
        async with self._alone(run):
            return (await self._current(await self.journal.look(tenant, run, kind))).run

    async def copy(self, tenant: str, run: str, kind: Kind) -> Run:
        """A new run with the journal, the seed and the recorded variables of another. :raises NotFound:"""
        async with self._alone(run):
            return await self.journal.copy(await self.journal.look(tenant, run, kind))

    # ---- upkeep

    def tidy(self) -> None:
        """End processes that nobody used for long."""
        limit = asyncio.get_running_loop().time() - self._settings.idle_s
        for run, live in list(self._live.items()):
            if live.used < limit and not self._lock(run).locked():
                self._drop(run)

    async def expire(self) -> int:
        """Remove runs that timed out; how many."""
        removed = 0
        while expired := await self.journal.expired():
            for run in expired:
                self._drop(run)
            removed += await self.journal.delete(expired)
        return removed

    # ---- inside

    async def _current(self, run: Run) -> Live:
        """Its process at the end of the journal. :raises NotBegun: an empty journal of an instance."""
        live = self._live.get(run.id)
        if live is not None and (not live.worker.alive or live.position > run.length):
            self._drop(run.id)
            live = None
        if live is not None and live.position >= run.base:
            await self._play(live, await self.journal.entries(run, live.position))
        else:
            self._drop(run.id)
            entries = await self.journal.entries(run)
            models = entries[0].get("models") if entries else None
            if run.kind == "instance" and models is None:
                raise NotBegun
            live = await self._place(run, models or run.models, run.base)
            await self._play(live, entries)
        live.run = run
        self._use(live)
        return live

    async def _fresh(self, run: Run, models: dict[str, int], known: Live | None) -> Live:
        """A process with exactly these models, whatever it did before: the next entry starts anew."""
        live = known or self._live.get(run.id)
        if live is None or not live.worker.alive or live.models != models:
            self._drop(run.id)
            live = await self._place(run, models, run.length)
        self._use(live)
        return live

    def _use(self, live: Live) -> None:
        live.used = asyncio.get_running_loop().time()
        self._live.move_to_end(live.run.id)

    async def _play(self, live: Live, entries: Sequence[Entry]) -> None:
        for start in range(0, len(entries), AT_ONCE):
            part = [
                {name: value for name, value in entry.items() if name != "models"}
                for entry in entries[start : start + AT_ONCE]
            ]
            try:
                await ask(live.worker, part)
            except BaseException as error:
                self._drop(live.run.id)
                if isinstance(error, Refusal):
                    raise ModelError(f"the instance cannot be brought back: {error.message}") from None
                raise
            live.position += len(part)

    async def _place(self, run: Run, versions: dict[str, int], position: int) -> Live:
        """The run in a new process, which is to be brought to the journal's end."""
        models = [await self._models.version(run.tenant, name, number) for name, number in versions.items()]
        await self._make_room()
        self._coming += 1
        try:
            worker = await self._workers.spawn(models)
        finally:
            self._coming -= 1
            self._turns.give()
        live = self._live[run.id] = Live(run, worker, versions, position, self._lock(run.id))
        return live

    async def _make_room(self) -> None:
        """Let go of the least recently used run that nobody uses now; if all are in use, wait for one."""
        while len(self._live) + self._coming >= self._settings.live:
            idle = next((run for run in self._live if not self._lock(run).locked()), None)
            if idle is not None:
                self._drop(idle)
                continue
            await self._turns.wait()

    def _alone(self, run: str) -> Alone:
        return Alone(self._lock(run), self._turns.give)

    def _drop(self, run: str) -> None:
        live = self._live.pop(run, None)
        if live is not None:
            live.worker.kill()

    def _lock(self, run: str) -> asyncio.Lock:
        lock = self._locks.get(run)
        if lock is None:
            lock = self._locks[run] = asyncio.Lock()
        return lock


class Turn:
    """One attempt of a request at a run; made by `LiveRuns.change`.

    `run`: as this server process knows it. Before a request is refused for what it says, `confirm` that it
    still holds. `unsaved`: whether the process did what the journal does not have.
    """

    __slots__ = ("_expected", "_live", "_runs", "run", "unsaved")

    def __init__(self, runs: LiveRuns, run: Run, live: Live | None) -> None:
        """:param live: its process, if that is known to be at the end of the journal as `run` has it."""
        self.run = run
        self.unsaved = False
        self._runs = runs
        self._live = live
        self._expected = run.length if live is None else live.position

    async def ask(self, entry: Entry) -> msgspec.Raw:
        """What the run's process, at the journal's end, answers to an entry.

        :raises NotBegun: :raises Refusal: nothing was changed. :raises ModelError: nothing was changed.
        """
        if self._live is None:
            self._live = await self._runs._current(self.run)
            self._expected = self._live.position
        else:
            self._runs._use(self._live)
        was_unsaved, self.unsaved = self.unsaved, True
        try:
            return await ask(self._live.worker, [entry])
        except Refusal:
            self.unsaved = was_unsaved
            await self._check_end()
            raise

    async def ask_anew(self, entry: Entry, models: dict[str, int]) -> msgspec.Raw:
        """What a process with exactly these models answers to an entry that begins anew, whatever was before.

        `restart` is to follow. :raises Refusal: nothing was changed. :raises ModelError: nothing was changed.
        """
        self._live = await self._runs._fresh(self.run, models, self._live)
        # Also a refused beginning has cost the process what it held.
        self.unsaved = True
        try:
            return await ask(self._live.worker, [entry])
        except Refusal:
            await self._check_end()
            raise

    async def replay(self, entries: Sequence[Entry]) -> None:
        """Have a new process do these entries, whatever the journal says. `append` is to follow.

        :raises ModelError: they do not run; nothing was changed.
        """
        self._runs._drop(self.run.id)
        self._live = await self._runs._place(self.run, self.run.models, self.run.length)
        self.unsaved = True
        await self._runs._play(self._live, entries)

    async def entries(self) -> list[Entry]:
        """The journal as far as it is needed to bring the run back."""
        return await self._runs.journal.entries(self.run)

    async def confirm(self) -> None:
        """See to it that nothing was appended elsewhere, for an answer that leaves nothing behind; an access.

        What was asked in this turn, if anything, has changed nothing. :raises Behind:
        """
        self.unsaved = False
        await self._check_end()

    async def append(
        self,
        *entries: Entry,
        restart: bool = False,
        variables: dict[str, bytes] | None = None,
        metadata: bytes | None = None,
    ) -> None:
        """Put what was done into the journal. Arguments as of `RunJournal.append`.

        :raises Behind: somebody else appended; `LiveRuns.change` starts over.
        """
        changed = await self._runs.journal.append(
            self.run.id, self._expected, entries, restart=restart, variables=variables, metadata=metadata
        )
        if changed is None:
            raise Behind
        # Where no process was asked, the entries do nothing in one that is at the journal's end.
        live = self._live or self._runs._live.get(self.run.id)
        if live is not None and (live is self._live or live.position == self._expected):
            live.run, live.position = changed, changed.length
        self.run, self._expected, self.unsaved = changed, changed.length, False

    async def restart(self, entry: Entry, metadata: bytes) -> None:
        """Replace the journal by an entry that begins anew. It does not depend on what was before, so it goes
        wherever the end is by now. `metadata` replaces the run's.

        :raises Conflict: too many others write to the run.
        """
        is_asked = self.unsaved
        for _ in range(ATTEMPTS):
            try:
                await self.append(entry, restart=True, metadata=metadata)
            except Behind:
                self._expected = (await self._now()).length
                continue
            if not is_asked:
                self._runs._drop(self.run.id)
            return
        raise Conflict(BUSY)

    async def _check_end(self) -> None:
        if (await self._now()).length != self._expected:
            raise Behind

    async def _now(self) -> Run:
        return await self._runs.journal.get(self.run.tenant, self.run.id, self.run.kind)
