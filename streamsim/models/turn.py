"""A request's turn at a run: it looks, asks the run's process, and appends what was done to the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from streamsim.errors import BadRequest, Conflict
from streamsim.models.group_commit import QUICK_S
from streamsim.models.journal import Entry
from streamsim.models.workers import Refusal, ask
from streamsim.sandbox.host.pool import Worker
from streamsim.storage.contract.runs import Run

if TYPE_CHECKING:
    from streamsim.models.live_runs import LiveRuns

ATTEMPTS: Final = 20
BUSY: Final = "the instance is being used by too many others at once; try again"
NO_SESSION: Final = "no data was returned from run_step"


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
        self.quick = False
        """Whether what it did last took it no time to speak of."""


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
            self._live = await self._runs.current(self.run)
            self._expected = self._live.position
        else:
            self._runs.use(self._live)
        was_unsaved, self.unsaved = self.unsaved, True
        live, loop = self._live, asyncio.get_running_loop()
        try:
            with self._runs.group_commit.expecting(live.quick):
                began = loop.time()
                answer = await ask(live.worker, [entry])
                live.quick = loop.time() < began + QUICK_S
            return answer
        except Refusal:
            self.unsaved = was_unsaved
            await self._check_end()
            raise

    async def ask_anew(self, entry: Entry, models: dict[str, int]) -> msgspec.Raw:
        """What a process with exactly these models answers to an entry that begins anew, whatever was before.

        `restart` is to follow. :raises Refusal: nothing was changed. :raises ModelError: nothing was changed.
        """
        self._live = await self._runs.fresh(self.run, models, self._live)
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
        self._runs.drop(self.run.id)
        self._live = await self._runs.place(self.run, self.run.models, self.run.length)
        self.unsaved = True
        await self._runs.play(self._live, entries)

    async def entries(self) -> list[Entry]:
        """The journal as far as it is needed to bring the run back."""
        return await self._runs.journal.entries(self.run)

    async def confirm(self, holds: Callable[[Run], bool] | None = None) -> None:
        """See to it that nothing was appended elsewhere, for an answer that leaves nothing behind; an access.

        What was asked in this turn, if anything, has changed nothing.

        :param holds: whether what the answer rests on is so of the run as it is now: then it may have grown.
        :raises Behind:
        """
        self.unsaved = False
        await self._check_end(holds)

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
        journal = self._runs.journal
        await self._runs.group_commit.wait()
        changed = await journal.append(self.run.id, self._expected, entries, restart, variables, metadata)
        if changed is None:
            raise Behind
        # Where no process was asked, the entries do nothing in one that is at the journal's end.
        live = self._live or self._runs.get(self.run.id)
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
                self._runs.drop(self.run.id)
            return
        raise Conflict(BUSY)

    async def _check_end(self, holds: Callable[[Run], bool] | None = None) -> None:
        now = await self._now()
        if now.length != self._expected and (holds is None or not holds(now)):
            raise Behind

    async def _now(self) -> Run:
        return await self._runs.journal.get(self.run.tenant, self.run.id, self.run.kind)
