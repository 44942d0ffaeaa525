"""The lane's side of its worker: spawns it, sends it batches with the outcome of the last one, answers its
questions, and turns every way to fail into the error of the calls that earned it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from streamsim.decisions import history
from streamsim.decisions.declared import HIDDEN
from streamsim.decisions.needs import only_numpy
from streamsim.decisions.pace import Pace
from streamsim.decisions.repeated import Repeated
from streamsim.decisions.transaction import Untrustworthy, parse_done, policy_error
from streamsim.decisions.wire import Call, Done, More, Opened, Request, WireAddress, WireRows
from streamsim.errors import (
    PolicyCrashed,
    PolicyError,
    PolicyMemory,
    PolicyTimeout,
    StreamsimError,
    TooLarge,
    Unavailable,
)
from streamsim.sandbox.host.pool import (
    Limits,
    ProgramFailed,
    RequestTooLarge,
    Sandbox,
    SandboxLost,
    SandboxUnavailable,
    Worker,
    WorkerDied,
    WorkerMemory,
    WorkerTimeout,
)
from streamsim.storage.contract.decisions import (
    Committed,
    Experiment,
    Stale,
    ThetaAddress,
    ThetaRows,
)
from streamsim.storage.contract.logs import LogStore

STEP_BYTES: Final = 1 << 20
"""A batch has calls of no more bytes, but for a single one: what is done for all calls of a batch in one go,
to encode them and to write their log rows, takes the event loop a millisecond for some of them."""
_RECYCLE_S = 1.0
_questions = msgspec.msgpack.Decoder(list[str | int | None])


class BatchFailed(Exception):
    """No call of the batch has a result. `error` is what a call that is alone in its batch is answered;
    `of_all`: no call is guilty, so it is the answer of all."""

    def __init__(self, error: StreamsimError, *, of_all: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.of_all = of_all


class PolicyWorker:
    """One experiment's worker over time: there is at most one, and a new one when it is needed.

    :param find: a live experiment by id, or None.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        store: history.Readable,
        limits: Limits,
        cached_rows: int,
        find: Callable[[str], Awaitable[Experiment | None]],
        logs: LogStore,
    ) -> None:
        self._sandbox = sandbox
        self._logs = logs
        self._store = store
        self._limits = limits
        self._cached_rows = cached_rows
        self._find = find
        # What calls come in is about what they go on in, and what comes back may hold as much. A request
        # larger than a frame is found out only when it is encoded, and costs this worker.
        self.batch_bytes = min(limits.frame_bytes // 2, STEP_BYTES)
        self._worker: Worker | None = None
        self._experiment: Experiment | None = None
        self._recycled = 0.0
        # Versions of scopes that it was told when its last batch was refused.
        self._told: dict[ThetaAddress, int] = {}
        # Revision of each experiment whose code this worker was given.
        self.opened: dict[str, int] = {}
        self.repeated = Repeated()
        self.pace = Pace()
        # How many calls of the next batch it was given early, and whether what they run on is out of date.
        self._early = 0
        self._outdated = False
        self._settle(None)

    def _settle(self, committed: dict[str, int] | None) -> None:
        self._outdated = True
        self._committed = committed
        self._changed: list[str] = []
        self._fresh: list[tuple[WireAddress, int, list[tuple[str, str, bytes, int]]]] = []

    def run_early(self, experiment: Experiment, calls: Sequence[Call]) -> bool:
        """Run the first calls of a batch, or more of them, while it is not complete; False if that is not
        possible now. `run` or `rest` has to follow."""
        worker = self._worker
        if worker is None or not worker.alive or not self._knows(experiment):
            return False
        if worker.busy and not self._early:
            return False
        try:
            if self._early:
                worker.extend(More(list(calls), True), calls=len(calls), more=True)
            else:
                request = Request(self._committed, self._changed, self._fresh, list(calls), True)
                worker.begin(request, calls=len(calls), asks=True, more=True)
                self._settle(None)
                self._outdated = False
        except RequestTooLarge:
            return False
        self._early += len(calls)
        return True

    async def rest(self) -> None:
        """What was run early is no batch: wait for its end, and forget it."""
        began, self._early = self._early, 0
        if not began or self._worker is None:
            return
        try:
            self._worker.extend(More([], False), calls=0, more=False)
            await self._worker.finish(self._answer)
        except (ProgramFailed, WorkerDied):
            self.dismiss()
        except BaseException:
            self.dismiss()
            raise

    async def run(self, experiment: Experiment, calls: Sequence[Call], early: int = 0) -> Done:
        """Run a batch. Its effects must then be settled by `committed` or `stale`; else they are forgotten.

        :param early: so many of its first calls are those of `run_early`; 0 if those are others.
        :raises BatchFailed: nothing of it has any effect.
        """
        try:
            if early != self._early or self._outdated or not self._knows(experiment):
                await self.rest()
            return await self._attempt(experiment, calls)
        except SandboxLost:
            pass  # and with it what the last batch came to: a new worker needs none of that
        try:
            return await self._attempt(experiment, calls)
        except SandboxLost as error:
            raise BatchFailed(Unavailable(str(error)), of_all=True) from None

    async def start(self, experiment: Experiment) -> None:
        """Have a process that has loaded the code. :raises BatchFailed: :raises SandboxLost:"""
        await self._ready(experiment)

    async def _attempt(self, experiment: Experiment, calls: Sequence[Call]) -> Done:
        worker = await self._ready(experiment)
        left, self._early = calls[self._early :], 0
        try:
            if len(left) < len(calls):
                worker.extend(More(list(left), False), calls=len(left), more=False)
            else:
                request = Request(self._committed, self._changed, self._fresh, list(calls))
                self._settle(None)
                worker.begin(request, calls=len(calls), asks=True)
            answer = await worker.finish(self._answer)
            self.pace.ran(worker, len(calls))
            return parse_done(answer, len(calls), self.repeated)
        except ProgramFailed as error:
            self.dismiss()
            raise BatchFailed(policy_error(error.failure)) from None
        except Untrustworthy as error:
            self.dismiss()
            raise BatchFailed(PolicyCrashed(f"the policy process broke the protocol: {error}")) from None
        except RequestTooLarge:
            # How the last batch ended was not told either.
            self.dismiss()
            limit = self._limits.frame_bytes
            raise BatchFailed(TooLarge(f"a call may have at most {limit} bytes in all")) from None
        except SandboxLost:
            self.dismiss()
            raise
        except WorkerDied as error:
            self.dismiss()
            raise BatchFailed(death(error)) from None
        except BaseException:
            # E.g. the store was not there to answer a question: the exchange is cut off in the middle.
            self.dismiss()
            raise

    def committed(self, result: Committed) -> None:
        self._settle(result.versions)
        self.was_current()

    def was_current(self) -> None:
        """A batch of it was committed: what it was told before that proves nothing any more."""
        self._told = {}

    def stale(self, result: Stale) -> None:
        """The store refused: the worker drops what was out of date before its next batch.

        :raises BatchFailed: it was told this before, nothing changed, and it claims another version again.
        """
        self._settle(None)
        told, self._told = self._told, {scope: rows.version for scope, rows in result.theta.items()}
        if any(told.get(scope) == version for scope, version in self._told.items()):
            self.dismiss()
            raise BatchFailed(
                PolicyCrashed("the policy process broke the protocol: it read what is not there")
            )
        self._changed = [
            experiment_id for experiment_id in result.experiments if experiment_id in self.opened
        ]
        for experiment_id in self._changed:
            del self.opened[experiment_id]
        self._fresh = [(scope, *_answer(rows)) for scope, rows in result.theta.items()]
        if sum(_size(rows) for _, _, rows in self._fresh) > self._limits.frame_bytes // 2:
            # Too much to tell in one request: a new worker asks for it, page by page.
            self.dismiss()

    def recycle(self) -> None:
        """After an error of the code: start over with a fresh process, at most once a second."""
        now = time.monotonic()
        if now - self._recycled > _RECYCLE_S:
            self._recycled = now
            self.dismiss()

    def dismiss_early(self) -> None:
        """End the worker if it runs calls of a batch that is not complete."""
        if self._early:
            self.dismiss()

    def dismiss(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
        self.opened, self._early = {}, 0
        self._settle(None)

    def _knows(self, experiment: Experiment) -> bool:
        return self._experiment is not None and self._experiment.revision == experiment.revision

    async def _ready(self, experiment: Experiment) -> Worker:
        if not self._knows(experiment):
            self.dismiss()
            self.repeated = Repeated()
            self._experiment = experiment
        worker = self._worker
        if worker is not None and worker.alive:
            return worker
        self.dismiss()
        load = {
            "experiment": experiment.id,
            "code": experiment.code,
            "properties": properties_of(experiment),
            "max_rows": self._cached_rows,
        }
        identity = f"{experiment.tenant}/{experiment.id}/{experiment.revision}"
        try:
            plain = only_numpy(experiment.code.values())
            worker = await self._sandbox.spawn("policy", load, self._limits, identity=identity, plain=plain)
        except ProgramFailed as error:
            raise BatchFailed(policy_error(error.failure), of_all=True) from None
        except SandboxUnavailable as error:
            raise BatchFailed(Unavailable(str(error)), of_all=True) from None
        except SandboxLost:
            raise
        except WorkerDied as error:
            raise BatchFailed(death(error), of_all=True) from None
        self._worker = worker
        self.opened = {experiment.id: experiment.revision}
        return worker

    async def _answer(self, body: msgspec.Raw) -> Any:
        try:
            question = _questions.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Untrustworthy("a question of another form") from None
        match question:
            case ["open", str(experiment_id)]:
                return await self._open(experiment_id)
            case [
                "theta", str(experiment_id), str(name), None | str() as key, None | str() as value, int(known)
            ] if experiment_id in self.opened:  # fmt: skip
                if (key is None and value is not None) or known < 0:
                    raise Untrustworthy("a malformed theta address")
                address = ThetaAddress(experiment_id, name, key, value)
                self._told.pop(address, None)
                version, rows = _answer(await self._store.read_theta(address))
                return version, *_page(rows, known, self._limits.frame_bytes // 2)
            case ["summary", str(experiment_id)] if experiment_id in self.opened:
                return await history.summary(self._store, experiment_id)
            case ["log", str(experiment_id), str(kind), int(limit)] if experiment_id in self.opened:
                if kind not in history.KINDS or limit < 0:
                    raise Untrustworthy("a malformed question for a log")
                room = self._limits.frame_bytes // 2
                return await history.rows(self._logs, experiment_id, history.KINDS[kind], limit, room)
        raise Untrustworthy("a question about something it was not given")

    async def _open(self, experiment_id: str) -> Opened:
        root = self._experiment
        nested = await self._find(experiment_id)
        if root is None or nested is None or nested.tenant != root.tenant:
            return Opened(f"there is no experiment {experiment_id[:64]!r}")
        self.opened[nested.id] = nested.revision
        return Opened("", nested.code, properties_of(nested))


def properties_of(experiment: Experiment) -> dict[str, Any]:
    """The properties that policy code sees: not those of what is around it."""
    shown = {name: value for name, value in experiment.properties.items() if name not in HIDDEN}
    return shown | {"name": experiment.name, "key": experiment.key}


def _answer(rows: ThetaRows) -> WireRows:
    return rows.version, [(key, value, data, version) for (key, value), (data, version) in rows.rows.items()]


def _size(rows: list[tuple[str, str, bytes, int]]) -> int:
    """Bytes of rows on the wire, at most."""
    return sum(len(data) + 4 * (len(key) + len(value)) + 32 for key, value, data, _ in rows)


def _page(
    rows: list[tuple[str, str, bytes, int]], known: int, limit: int
) -> tuple[list[tuple[str, str, bytes, int]], bool]:
    """The rows after those that are known, in one order, up to `limit` bytes, and whether there are more."""
    if not known and _size(rows) <= limit:
        return rows, False
    rows = sorted(rows)
    until, size = known, 0
    while until < len(rows) and (until == known or size + _size(rows[until : until + 1]) <= limit):
        size += _size(rows[until : until + 1])
        until += 1
    return rows[known:until], until < len(rows)


def death(error: WorkerDied) -> PolicyError:
    """The end of a worker as the error of the call that it ended with."""
    if isinstance(error, WorkerTimeout):
        return PolicyTimeout(str(error))
    if isinstance(error, WorkerMemory):
        return PolicyMemory(str(error))
    return PolicyCrashed(str(error))
