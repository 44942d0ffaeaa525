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
from streamsim.errors import Conflict, ModelError
from streamsim.models import run_records
from streamsim.models.group_commit import GroupCommit
from streamsim.models.journal import Entry, Kind, RunJournal
from streamsim.models.library import Models
from streamsim.models.turn import ATTEMPTS, BUSY, Behind, Live, NotBegun, Turn
from streamsim.models.workers import ModelWorkers, Refusal, ask
from streamsim.storage.contract.runs import Run
from streamsim.waiting import Turns

AT_ONCE: Final = 100
"""Entries per message when a journal is played."""

Result = TypeVar("Result")


class Alone:
    """A context in which nobody else of this process uses a run."""

    __slots__ = ("_left", "_lock")

    def __init__(self, lock: asyncio.Lock, left: Callable[[], object]) -> None:
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
        self.group_commit = GroupCommit()
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
            live = await self.current(await self.journal.get(tenant, run, kind))
            try:
                return await ask(live.worker, [entry])
            except Refusal:
                raise
            except BaseException:
                # The model stopped halfway through: what its process holds is no longer the journal's.
                self.drop(run)
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
                        self.drop(run)
            raise Conflict(BUSY)

    async def delete(self, tenant: str, run: str) -> None:
        """Remove an instance. :raises NotFound:"""
        async with self._alone(run):
            await self.journal.get(tenant, run)
            self.drop(run)
            await self.journal.delete([run])

    async def discard(self, run: str) -> None:
        """Remove a run that nobody else knows of: it did not come about."""
        self.drop(run)
        await self.journal.delete([run])

    async def unload(self, tenant: str, run: str, kind: Kind) -> None:
        """Let go of its process, after the request that it is at; the run stays. :raises NotFound:"""
        async with self._alone(run):
            await self.journal.look(tenant, run, kind)
            self.drop(run)

    async def load(self, tenant: str, run: str, kind: Kind) -> Run:
        """Bring it into memory; the run. :raises NotFound: :raises ModelError: it does not come back."""
        async with self._alone(run):
            return (await self.current(await self.journal.look(tenant, run, kind))).run

    async def copy(self, tenant: str, run: str, kind: Kind) -> Run:
        """A new run with the journal, the seed and the recorded variables of another. :raises NotFound:"""
        async with self._alone(run):
            copied = await self.journal.look(tenant, run, kind)
            return await self.journal.copy(copied, run_records.of_copy(copied.metadata))

    # ---- upkeep

    def tidy(self) -> None:
        """End processes that nobody used for long."""
        limit = asyncio.get_running_loop().time() - self._settings.idle_s
        for run, live in list(self._live.items()):
            if live.worker.used < limit and not self._lock(run).locked():
                self.drop(run)

    async def expire(self) -> int:
        """Remove runs that timed out; how many."""
        removed = 0
        while expired := await self.journal.expired():
            for run in expired:
                self.drop(run)
            removed += await self.journal.delete(expired)
        return removed

    # ---- what a turn needs

    def get(self, run: str) -> Live | None:
        """Its process, wherever in the journal that is; None if it has none here."""
        return self._live.get(run)

    async def current(self, run: Run) -> Live:
        """Its process at the end of the journal. :raises NotBegun: an empty journal of an instance."""
        live = self._live.get(run.id)
        if live is not None and (not live.worker.alive or live.position > run.length):
            self.drop(run.id)
            live = None
        if live is not None and live.position >= run.base:
            await self.play(live, await self.journal.entries(run, live.position))
        else:
            self.drop(run.id)
            entries = await self.journal.entries(run)
            models = entries[0].get("models") if entries else None
            if run.kind == "instance" and models is None:
                raise NotBegun
            live = await self.place(run, models or run.models, run.base)
            await self.play(live, entries)
        live.run = run
        self.use(live)
        return live

    async def fresh(self, run: Run, models: dict[str, int], known: Live | None) -> Live:
        """A process with exactly these models, whatever it did before: the next entry starts anew."""
        live = known or self._live.get(run.id)
        if live is None or not live.worker.alive or live.models != models:
            self.drop(run.id)
            live = await self.place(run, models, run.length)
        self.use(live)
        return live

    def use(self, live: Live) -> None:
        """It is the last of those that have to leave memory."""
        if live.run.id in self._live:  # else it expired during this request
            self._live.move_to_end(live.run.id)

    async def play(self, live: Live, entries: Sequence[Entry]) -> None:
        """Have its process do entries of a journal. :raises ModelError: it does not; the process is gone."""
        for start in range(0, len(entries), AT_ONCE):
            part = [
                {name: value for name, value in entry.items() if name != "models"}
                for entry in entries[start : start + AT_ONCE]
            ]
            try:
                await ask(live.worker, part)
            except BaseException as error:
                self.drop(live.run.id)
                if isinstance(error, Refusal):
                    raise ModelError(f"the instance cannot be brought back: {error.message}") from None
                raise
            live.position += len(part)

    async def place(self, run: Run, versions: dict[str, int], position: int) -> Live:
        """The run in a new process, which is to be brought to the journal's end."""
        models = [await self._models.version(run.tenant, name, number) for name, number in versions.items()]
        await self._make_room(run.tenant)
        self._coming += 1
        try:
            worker = await self._workers.spawn(models)
        finally:
            self._coming -= 1
            self._turns.give()
        live = self._live[run.id] = Live(run, worker, versions, position, self._lock(run.id))
        return live

    def drop(self, run: str) -> None:
        """End its process, if it has one here; the run stays."""
        live = self._live.pop(run, None)
        if live is not None:
            live.worker.kill()

    # ---- inside

    async def _make_room(self, tenant: str) -> None:
        """Let go of the least recently used run that nobody uses now; if all are in use, wait for one."""
        while len(self._live) + self._coming >= self._settings.live:
            idle = next((run for run in self._live if not self._lock(run).locked()), None)
            if idle is not None:
                self.drop(idle)
                continue
            await self._turns.wait(tenant)

    def _alone(self, run: str) -> Alone:
        return Alone(self._lock(run), self._turns.give)

    def _lock(self, run: str) -> asyncio.Lock:
        lock = self._locks.get(run)
        if lock is None:
            lock = self._locks[run] = asyncio.Lock()
        return lock
