"""Runs: what was done to one is its journal; a sandboxed process that did it all is a cache of that.

One request of a run at a time per server process; between processes the journal decides. A request brings a
process to the journal's present end, runs in it, appends its entry on the condition that nobody appended in
between, and only then answers. If somebody did, the process has seen what never happened: it is ended, and
the request starts over.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Literal
from weakref import WeakValueDictionary

import msgspec

from streamsim.config import ModelSettings
from streamsim.errors import BadRequest, Conflict, ModelError, NotFound, TooManyRequests
from streamsim.models.live import Alone, Live
from streamsim.models.workers import ModelWorkers, Refusal, ask
from streamsim.sandbox.host.pool import Worker
from streamsim.storage.contract.runs import Append, Model, Run, RunStore
from streamsim.waiting import Turns

ATTEMPTS: Final = 20
AT_ONCE: Final = 100
"""Entries per message when a journal is played."""
EXPIRED_AT_ONCE: Final = 200
BUSY: Final = "the instance is being used by too many others at once; try again"
LOCKED: Final = "instance is locked"
NO_SESSION: Final = "no data was returned from run_step"
UNKNOWN: Final = "expecting a valid instance id to be given"
UNKNOWN_RUN: Final = "there is no such run"
ID_BYTES: Final = {"instance": 16, "run": 18}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode

Entry = dict[str, Any]
Kind = Literal["instance", "run"]


class Outcome(msgspec.Struct, frozen=True):
    """What a request to a run leads to: its result, and what the store is to keep of it."""

    result: Any
    keep: bool = True
    variables: dict[str, bytes] = {}
    metadata: bytes | Callable[[bytes], bytes] | None = None
    """What replaces the run's, or what makes it of the run's own."""


class RunJournal:
    """All runs of all tenants as one server process sees them."""

    def __init__(
        self, store: RunStore, workers: ModelWorkers, settings: ModelSettings, now_ms: Callable[[], int]
    ) -> None:
        self.store = store
        self._workers = workers
        self._settings = settings
        self._now_ms = now_ms
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
    def live(self) -> dict[str, Live]:
        """The runs that are in memory, least recently used first."""
        return dict(self._live)

    async def create(
        self,
        tenant: str,
        kind: Kind,
        models: dict[str, int],
        *,
        count: int = 1,
        idle_ms: int = 0,
        most: int | None = None,
        **fields: Any,
    ) -> list[Run]:
        """New runs. :raises TooManyRequests: the tenant has `most` of this kind."""
        now_ms = self._now_ms()
        if most is not None and await self.store.count_runs(tenant, kind, now_ms) + count > most:
            raise TooManyRequests(f"at most {most} at a time: stop some, or let them time out")
        runs = [
            Run(
                id=secrets.token_hex(ID_BYTES[kind]),
                tenant=tenant,
                kind=kind,
                models=models,
                seed=secrets.randbits(32),
                created_ms=now_ms,
                modified_ms=now_ms,
                expires_ms=now_ms + idle_ms if idle_ms else 0,
                idle_ms=idle_ms,
                **fields,
            )
            for _ in range(count)
        ]
        await self.store.create_runs(runs)
        return runs

    async def get(self, tenant: str, run: str, kind: Kind = "instance") -> Run:
        """The run; an access, which moves its expiry.

        :raises NotFound: unknown, another tenant's, or of the other kind.
        """
        found = await self.store.touch(run, self._now_ms())
        return _owned(found, tenant, kind)

    async def look(self, tenant: str, run: str, kind: Kind = "instance") -> Run:
        """The run, for a request that goes on to write to it, which is the access. :raises NotFound:"""
        return _owned(await self.store.get_run(run, self._now_ms()), tenant, kind)

    async def delete(self, tenant: str, run: str) -> None:
        """Remove an instance. :raises NotFound:"""
        async with self._alone(run):
            await self.get(tenant, run)
            self._drop(run)
            await self.store.delete_runs([run])

    async def unload(self, tenant: str, run: str, kind: Kind) -> None:
        """Let go of its process, after the request that it is at; the run stays. :raises NotFound:"""
        async with self._alone(run):
            await self.look(tenant, run, kind)
            self._drop(run)

    async def load(self, tenant: str, run: str, kind: Kind) -> Run:
        """Bring it into memory; the run. :raises NotFound: :raises ModelError: it does not come back."""
        async with self._alone(run):
            await self._current(await self.look(tenant, run, kind))
            return self._live[run].run

    async def note(
        self, tenant: str, run: str, kind: Kind, entry: Entry, metadata: Callable[[bytes], bytes]
    ) -> Run:
        """Change what is known about a run, without bringing it into memory; the run. :raises NotFound:"""
        async with self._alone(run):
            for _ in range(ATTEMPTS):
                found = await self.look(tenant, run, kind)
                change = Append(
                    run, found.length, self._now_ms(), [_encode(entry)], metadata=metadata(found.metadata)
                )
                changed = await self.store.append(change)
                if changed is not None:
                    live = self._live.get(run)
                    if live is not None and live.position == found.length:
                        # Such an entry does nothing in a process.
                        live.run, live.position = changed, changed.length
                    return changed
            raise Conflict(BUSY)

    async def rewrite(
        self,
        tenant: str,
        run: str,
        kind: Kind,
        keep: Callable[[list[Entry]], list[Entry]],
        recorded: Callable[[msgspec.Raw], dict[str, bytes]],
    ) -> Run:
        """Replace the journal by what `keep` makes of it, and play that; the run.

        :param recorded: the variables that it leads to, from the answer to an entry `recorded`.
        :raises NotFound: :raises ModelError: the shorter journal does not run; nothing was changed.
        """
        async with self._alone(run):
            for _ in range(ATTEMPTS):
                found = await self.look(tenant, run, kind)
                entries = keep([_decode(one) for one in await self.store.entries(run, found.base)])
                self._drop(run)
                live = await self._place(found, found.models, found.length)
                await self._play(live, [_encode(one) for one in entries])
                variables = recorded(await self._ask(live, {"op": "recorded"}))
                change = Append(
                    run,
                    found.length,
                    self._now_ms(),
                    [_encode(one) for one in entries],
                    restart=True,
                    variables=variables,
                )
                changed = await self.store.append(change)
                if changed is not None:
                    live.run, live.position = changed, changed.length
                    return changed
                self._drop(run)
            raise Conflict(BUSY)

    async def copy(self, tenant: str, run: str, kind: Kind) -> Run:
        """A new run with the journal, the seed and the recorded variables of another. :raises NotFound:"""
        async with self._alone(run):
            found = await self.look(tenant, run, kind)
            entries = await self.store.entries(run, found.base)
            now_ms = self._now_ms()
            made = msgspec.structs.replace(
                found,
                id=secrets.token_hex(ID_BYTES[kind]),
                base=0,
                length=len(entries),
                created_ms=now_ms,
                modified_ms=now_ms,
                expires_ms=now_ms + found.idle_ms if found.idle_ms else 0,
            )
            await self.store.copy_run(made, run, entries)
            return made

    def forget(self, run: str) -> bool:
        """Let go of its process; the run stays. Whether there was one."""
        return self._drop(run)

    async def read(self, tenant: str, run: str, entry: Entry, kind: Kind = "instance") -> msgspec.Raw | None:
        """The result of an entry that changes nothing; None if there is nothing to ask yet."""
        async with self._alone(run):
            live = await self._current(await self.get(tenant, run, kind))
            return None if live is None else await self._ask(live, entry)

    async def write(
        self,
        tenant: str,
        run: str,
        entry: Entry,
        decide: Callable[[msgspec.Raw], Outcome],
        *,
        models: dict[str, int] | None = None,
        kind: Kind = "instance",
        allow: Callable[[bytes], bool] = lambda metadata: True,
    ) -> Any:
        """Do something to a run, and put it into its journal.

        :param decide: what to answer and to keep, from the worker's result.
        :param allow: whether the run's metadata allow it; those of the store have the last word.
        :param models: the entry begins anew with these; what was before it no longer matters.
        :raises NotFound: :raises Refusal: nothing was changed. :raises ModelError: nothing was changed.
        :raises Conflict: it is not allowed, or too many others write to it.
        """
        async with self._alone(run):
            return await self._write(tenant, run, entry, decide, models, kind, allow)

    async def clear(self, tenant: str, run: str, entry: Entry, metadata: bytes) -> None:
        """Drop the journal and whatever was going on; `entry` says why. :raises NotFound:"""
        async with self._alone(run):
            for _ in range(ATTEMPTS):
                found = await self.get(tenant, run)
                change = Append(
                    run, found.length, self._now_ms(), [_encode(entry)], restart=True, metadata=metadata
                )
                if await self.store.append(change) is not None:
                    self._drop(run)
                    return
            raise Conflict(BUSY)

    def tidy(self) -> None:
        """End processes that nobody used for long."""
        limit = asyncio.get_running_loop().time() - self._settings.idle_s
        for run, live in list(self._live.items()):
            if live.used < limit and not self._lock(run).locked():
                self._drop(run)

    async def expire(self) -> int:
        """Remove runs that timed out; how many."""
        removed = 0
        while expired := await self.store.expired_runs(self._now_ms(), EXPIRED_AT_ONCE):
            for run in expired:
                self._drop(run)
            removed += await self.store.delete_runs(expired)
        return removed

    # ---- inside

    async def _write(
        self,
        tenant: str,
        run: str,
        entry: Entry,
        decide: Callable[[msgspec.Raw], Outcome],
        models: dict[str, int] | None,
        kind: Kind,
        allow: Callable[[bytes], bool],
    ) -> Any:
        text = _encode(entry if models is None else {**entry, "models": models})
        for attempt in range(ATTEMPTS):
            live = self._live.get(run)
            if models is not None:
                live = await self._fresh(await self.get(tenant, run, kind), models)
            elif (
                attempt
                or live is None
                or not live.worker.alive
                or (live.run.tenant, live.run.kind) != (tenant, kind)
                or not allow(live.run.metadata)
            ):
                found = await self.get(tenant, run, kind)
                if not allow(found.metadata):
                    raise Conflict(LOCKED)
                live = await self._current(found)
            # else: it was at the end a moment ago, and `append` tells if it no longer is.
            if live is None:
                raise BadRequest(NO_SESSION)
            live.used = asyncio.get_running_loop().time()
            self._live.move_to_end(run)
            try:
                outcome = decide(await self._ask(live, entry))
            except Refusal:
                if await self._is_current(tenant, live):
                    raise
                continue
            except BaseException:
                self._drop(run)
                raise
            if not outcome.keep:
                if await self._is_current(tenant, live):
                    return outcome.result
                continue
            metadata = outcome.metadata
            change = Append(
                run,
                live.position,
                self._now_ms(),
                [text],
                models is not None,
                outcome.variables,
                metadata(live.run.metadata) if callable(metadata) else metadata,
            )
            try:
                changed = await self.store.append(change)
                for _ in range(ATTEMPTS):
                    if changed is not None or models is None:
                        break
                    # What begins anew does not depend on what was before: only where it goes is to be found.
                    now = await self.get(tenant, run, kind)
                    changed = await self.store.append(msgspec.structs.replace(change, expected=now.length))
            except BaseException:
                # Whether it was appended is unknown; the process has done it.
                self._drop(run)
                raise
            if changed is not None:
                live.run, live.position = changed, changed.length
                return outcome.result
            self._drop(run)
        raise Conflict(BUSY)

    async def _is_current(self, tenant: str, live: Live) -> bool:
        """Whether nothing was appended elsewhere; counts as an access."""
        run = await self.get(tenant, live.run.id, live.run.kind)
        return run.length == live.position

    async def _ask(self, live: Live, entry: Entry) -> msgspec.Raw:
        try:
            return await ask(live.worker, [entry])
        except Refusal:
            raise
        except BaseException:
            # The model stopped halfway through: what its process holds is no longer the journal's.
            self._drop(live.run.id)
            raise

    async def _fresh(self, run: Run, models: dict[str, int]) -> Live:
        """A process with exactly these models, whatever it did before: the next entry starts anew."""
        live = self._live.get(run.id)
        if live is None or not live.worker.alive or live.models != models:
            self._drop(run.id)
            live = await self._place(run, models, run.length)
        live.run, live.position = run, run.length
        return live

    async def _current(self, run: Run) -> Live | None:
        """A process at the end of the journal; None if an empty journal needs none."""
        live = self._live.get(run.id)
        if live is not None and (not live.worker.alive or live.position > run.length):
            self._drop(run.id)
            live = None
        if live is not None and live.position >= run.base:
            await self._play(live, await self.store.entries(run.id, live.position))
        else:
            entries = await self.store.entries(run.id, run.base)
            models = (_decode(entries[0]).get("models") if entries else None) or run.models
            if run.kind == "instance" and (not entries or "models" not in _decode(entries[0])):
                self._drop(run.id)
                return None
            self._drop(run.id)
            live = await self._place(run, models, run.base)
            await self._play(live, entries)
        live.run = run
        self._live.move_to_end(run.id)
        return live

    async def _play(self, live: Live, entries: list[bytes]) -> None:
        for start in range(0, len(entries), AT_ONCE):
            part = [_decode(entry) for entry in entries[start : start + AT_ONCE]]
            for entry in part:
                entry.pop("models", None)
            try:
                await ask(live.worker, part)
            except BaseException as error:
                self._drop(live.run.id)
                if isinstance(error, Refusal):
                    raise ModelError(f"the instance cannot be brought back: {error.message}") from None
                raise
            live.position += len(part)

    async def _place(self, run: Run, models: dict[str, int], position: int) -> Live:
        """The run in a new process, which is to be brought to the journal's end."""
        worker = await self._spawn(run, models)
        live = self._live[run.id] = Live(run, worker, models, position, self._lock(run.id))
        return live

    async def _spawn(self, run: Run, versions: dict[str, int]) -> Worker:
        models: list[Model] = []
        for name, version in versions.items():
            model = await self.store.get_model(run.tenant, name, version)
            if model is None:
                raise NotFound(f"model {name} has no version {version}")
            models.append(model)
        await self._make_room()
        self._coming += 1
        try:
            return await self._workers.spawn(models)
        finally:
            self._coming -= 1
            self._turns.give()

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

    def _drop(self, run: str) -> bool:
        live = self._live.pop(run, None)
        if live is not None:
            live.worker.kill()
        return live is not None

    def _lock(self, run: str) -> asyncio.Lock:
        lock = self._locks.get(run)
        if lock is None:
            lock = self._locks[run] = asyncio.Lock()
        return lock


def _owned(run: Run | None, tenant: str, kind: Kind) -> Run:
    if run is None or run.tenant != tenant or run.kind != kind:
        raise NotFound(UNKNOWN_RUN if kind == "run" else UNKNOWN)
    return run
