"""The lane: one queue per active experiment. Whatever waits goes to the worker in one frame, its effects are
committed in one atomic step, and only then is every caller answered (group commit).

While a batch is under way the next one gathers, so latency stays low when idle and throughput grows
with load. A batch that leaves theta as it is, as decisions do, is committed while the next one runs, if that
is large (`queueing`): else it waits, as who is answered may join it: large batches cost least. A refused
commit runs the batch again on fresh values; the sandbox makes sure that a run has no other effect. Of a batch
that gathers, the first calls may run already (`early`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from streamsim.config import LaneSettings
from streamsim.decisions import batch, preconditions
from streamsim.decisions.calls import Pending, Reward, enter, fail_all
from streamsim.decisions.counting import Arms
from streamsim.decisions.early import Early
from streamsim.decisions.queueing import Committing, size, take
from streamsim.decisions.routing import Around, Routed, around
from streamsim.decisions.transaction import Untrustworthy
from streamsim.decisions.wire import Done
from streamsim.decisions.worker import BatchFailed, PolicyWorker
from streamsim.decisions.written import Written
from streamsim.errors import (
    PolicyCrashed,
    PolicyError,
    StreamsimError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from streamsim.storage.contract.decisions import DecisionStore, Experiment, Stale
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.waiting import on_behalf_of

log = logging.getLogger(__name__)

ATTEMPTS: Final = 1000
"""So often a commit may be refused because others were first: far more than others can be within `call_s`."""
_CLOSE_S: Final = 1.0
"""How long calls that are under way may take when the server ends; their clients were cut off by then."""


class Lane:
    """The queue of one experiment in this process.

    :param find: the live experiment by id, or None; `forget` drops what `find` has cached of it.
    :param let_go: told the size of each of its calls that has ended.
    :param guarded: takes the experiment's id when calls were committed for guardrails to look at.
    """

    def __init__(
        self,
        experiment_id: str,
        tenant: str,
        store: DecisionStore,
        worker: PolicyWorker,
        settings: LaneSettings,
        *,
        debug: bool = False,
        find: Callable[[str], Awaitable[Experiment | None]],
        forget: Callable[[str], None],
        now_ms: Callable[[], int],
        observe: Callable[[int, bool], None],
        let_go: Callable[[int], None],
        guarded: set[str],
    ) -> None:
        self.experiment_id, self.tenant = experiment_id, tenant
        self.let_go = let_go
        self.written = Written(settings.minute_bytes)
        self._around: Around | None = None
        self._arms = Arms()
        self.used_ms = now_ms()
        self._store, self._worker = store, worker
        self._settings, self._debug = settings, debug
        self._find, self._forget = find, forget
        self._now_ms = now_ms
        self._observe = observe
        self._guarded = guarded
        self._queue: deque[Pending] = deque()
        self._task: asyncio.Task[None] | None = None
        self._committing: Committing | None = None
        self._aside = False  # the last batch was committed aside
        self._woken: asyncio.Future[None] | None = None
        self._enough = 0
        self._early = Early(worker, settings.batch)
        self._loop = asyncio.get_running_loop()

    @property
    def busy(self) -> bool:
        return self._task is not None

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def submit(self, call: Pending) -> None:
        """Queue a call; its answer comes when its effects are durable. :raises TooManyRequests:"""
        self.written.check()
        if len(self._queue) >= self._settings.queue:
            raise TooManyRequests("this experiment has too many calls waiting; try again soon")
        call.deadline, call.attempts = self._loop.time() + self._settings.call_s, 0
        self._queue.append(call)
        if self._task is None:
            self._task = self._loop.create_task(self._drain())
        elif len(self._queue) >= self._enough:
            self._wake()
        if self._early.gathering:
            self._early.give(self._queue, self._around)

    def _committed(self, prepared: batch.Prepared) -> None:
        self.written.add(prepared.transaction)
        if self._around is not None and self._around.guarded:
            self._guarded.add(self.experiment_id)

    async def idle(self) -> None:
        """Wait until nothing waits or runs."""
        while self._task is not None:
            await self._task

    async def stop(self) -> None:
        """Answer what is under way within a second, or refuse it, and end the worker."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.idle()  # cancelled, it cancels what it waits for
        except TimeoutError:
            log.warning("calls of experiment %s were cut off", self.experiment_id)
        self.close()

    def close(self) -> None:
        """End the worker. Only when idle."""
        self._worker.dismiss()

    async def _drain(self) -> None:
        on_behalf_of.set(self.tenant)
        try:
            while self._queue or self._committing is not None:
                await self._gathered()
                calls = self._take()
                try:
                    if self._committing is not None and (not calls or self._committing.task.done()):
                        await self._settled()
                    if calls:
                        await self._serve(calls)
                    await self._early.rest(self._queue)
                except Exception as error:
                    self._failed(calls, error)
                    self._early.dismiss()
                except BaseException:
                    self._cut_off(calls)
                    raise
        finally:
            if self._committing is not None:
                self._committing.task.cancel()
                self._cut_off(self._committing.calls)
                self._committing = None
            self.used_ms = self._now_ms()
            self._task, self._early.gathering = None, True
            self._cut_off(self._queue)
            self._queue.clear()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _gathered(self) -> None:
        """Wait until the batch that is being committed is, or the next one is worth running beside it."""
        queue, half, committing = self._queue, self._worker.pace.half, self._committing
        if committing is not None:
            self._early.gathering = len(committing.calls) < half
            self._enough = committing.enough(self._settings.batch, half)
            while not committing.task.done() and len(queue) < self._enough:
                self._woken = self._loop.create_future()
                await self._woken
        await self._early.gathered(queue, self._around)

    def _failed(self, calls: Sequence[Pending], error: Exception) -> None:
        if isinstance(error, StoreUnavailable):
            error = Unavailable(f"the store is not available: {error}")
        else:
            log.error("a batch of experiment %s failed", self.experiment_id, exc_info=error)
        fail_all(calls, error)

    def _cut_off(self, calls: Sequence[Pending] | deque[Pending]) -> None:
        fail_all(calls, Unavailable("the server is stopping"))

    def _take(self) -> list[Pending]:
        """The next batch."""
        queue = self._queue
        try:
            self.written.check()
        except TooManyRequests as error:
            fail_all(queue, error)
            queue.clear()
        most = self._settings.batch
        if self._aside and (self._committing is None or self._committing.task.done()):
            most = max(size(len(queue), most, self._worker.pace.half), self._early.given)
        return take(queue, most, self._worker.batch_bytes, self._loop.time(), self._settings.call_s)

    async def _serve(self, calls: Sequence[Pending]) -> None:
        """Answer every call of a batch."""
        left = await preconditions.admit(self._store, self.experiment_id, calls, self._now_ms())
        while left:
            experiment = await self._find(self.experiment_id)
            if experiment is None:
                fail_all(left, Unauthorized("key or experiment id is not valid"))
                return
            left = preconditions.with_key(left, experiment.key)
            routed = await self._routed(experiment, left)
            if routed.refused:
                if await self._edited(experiment):
                    continue
                for call, error in routed.refused:
                    call.fail(error)
            left = routed.calls
            if not left:
                return
            try:
                prepared = await self._run(experiment, routed)
            except BatchFailed as failure:
                await self._settled()
                await self._run_one_by_one(experiment, left, failure)
                return
            if await self._settled():
                continue  # what this batch ran on was out of date as well
            self._aside = prepared.leaves_theta
            if self._aside:
                task = self._loop.create_task(self._commit_aside(prepared, left))
                task.add_done_callback(lambda _: self._wake())
                self._committing = Committing(left, task)
                return
            enter(left, "commit")
            result = await self._store.commit(prepared.transaction)
            self._observe(len(left), isinstance(result, Stale))
            if isinstance(result, Stale):
                try:
                    left = await self._refused(left, result)
                except BatchFailed as failure:
                    await self._run_one_by_one(experiment, left, failure)
                    return
                continue
            self._committed(prepared)
            if prepared.ran:
                self._worker.committed(result)
            errors = False
            for call, outcome in prepared.ends:
                if isinstance(outcome, bytes):
                    call.resolve(outcome)
                else:
                    errors = True
                    await self._fail_call(experiment, call, outcome)
            if errors:
                self._worker.recycle()
            self._early.answered(len(left), len(self._queue))
            return

    async def _refused(self, calls: list[Pending], result: Stale) -> list[Pending]:
        """The calls of a batch that have to run again; the worker is told what was out of date.

        A call that was refused too often, for too long, or for nobody, is given up.

        :raises BatchFailed: the worker claims what cannot be.
        """
        for changed in result.experiments:
            self._forget(changed)
        self._worker.stale(result)
        left, now = [], self._loop.time()
        for call in preconditions.refuse(calls, result.advices, result.idempotency):
            call.attempts += 1
            if call.attempts < ATTEMPTS and now <= call.deadline and not call.given_up:
                left.append(call)
            else:
                await self._give_up(call)
        return left

    async def _give_up(self, call: Pending) -> None:
        """Refuse a call whose commit was refused too often. A default reward would come due for ever."""
        if isinstance(call, Reward) and call.by == "timeout" and call.attempts >= ATTEMPTS:
            experiment = await self._find(self.experiment_id)
            error = PolicyCrashed("the code's default reward could not be committed")
            if experiment is not None:
                await self._fail_call(experiment, call, error)
                return
        call.fail(Unavailable("others change this experiment faster than the call can be committed"))

    async def _commit_aside(self, prepared: batch.Prepared, calls: list[Pending]) -> Stale | None:
        """Commit a batch that leaves theta as it is, and answer it; or why it was refused."""
        enter(calls, "commit")
        try:
            result = await self._store.commit(prepared.transaction)
            self._observe(len(calls), isinstance(result, Stale))
        except Exception as error:
            self._failed(calls, error)
            return None
        except BaseException:
            self._cut_off(calls)
            raise
        if isinstance(result, Stale):
            return result
        self._committed(prepared)
        self._worker.was_current()
        for call, outcome in prepared.ends:
            assert isinstance(outcome, bytes)
            call.resolve(outcome)
        self._early.answered(len(calls), len(self._queue))
        return None

    async def _settled(self) -> bool:
        """Wait for what is committed aside. True: it was refused and ran again, as what ran since has to."""
        committing, self._committing = self._committing, None
        if committing is None:
            return False
        try:
            result = await committing.task
            if result is None:
                return False
            await self._serve_again(committing.calls, result)
        except Exception as error:
            self._failed(committing.calls, error)
        except BaseException:
            self._cut_off(committing.calls)
            raise
        return True

    async def _serve_again(self, calls: list[Pending], result: Stale) -> None:
        """Answer a batch whose commit aside was refused."""
        try:
            left = await self._refused(calls, result)
        except BatchFailed as failure:
            experiment = await self._find(self.experiment_id)
            if experiment is None:
                fail_all(calls, Unauthorized("key or experiment id is not valid"))
            else:
                await self._run_one_by_one(experiment, calls, failure)
        else:
            await self._serve(left)

    async def _run_one_by_one(
        self, experiment: Experiment, calls: list[Pending], failure: BatchFailed
    ) -> None:
        """A batch without any result: each call in a batch of its own, so that only the guilty one fails."""
        if not failure.of_all and len(calls) > 1:
            for call in calls:
                await self._serve([call])
            return
        if isinstance(failure.error, PolicyError):
            await self._store.commit(batch.failures(experiment, calls, failure.error, self._now_ms()))
        shadowed = [call for call in calls if self._around is not None and self._around.shadows(call)]
        for call in shadowed:
            call.without_code = True
        for call in calls:
            if call not in shadowed:
                await self._fail_call(experiment, call, failure.error)
        if shadowed:
            await self._serve(shadowed)

    async def _fail_call(self, experiment: Experiment, call: Pending, error: StreamsimError) -> None:
        """Answer a call with its error. A default reward has no effect then: it would come due for ever."""
        if isinstance(error, PolicyError) and isinstance(call, Reward) and call.by == "timeout":
            await self._store.commit(batch.without_effect(experiment, call, error, self._now_ms()))
        call.fail(error)

    async def _routed(self, experiment: Experiment, calls: list[Pending]) -> Routed:
        """The calls that are left, and what some get without the code of the experiment."""
        if self._around is None or self._around.experiment is not experiment:
            self._around = around(experiment)
        return await self._around.route(self._store, calls, self._now_ms())

    async def _edited(self, experiment: Experiment) -> bool:
        """Whether what this process knows of the experiment is old, as no commit would say."""
        self._forget(self.experiment_id)
        fresh = await self._find(self.experiment_id)
        return fresh is None or fresh.revision != experiment.revision

    async def _run(self, experiment: Experiment, routed: Routed) -> batch.Prepared:
        """Run a batch in the sandbox, but for the calls that need no code. :raises BatchFailed:"""
        worker = self._worker
        enter(routed.calls, "run")
        calls = [call for call in routed.calls if routed.runs(call)]
        frames = [batch.frame(call) for call in calls]
        done = Done([], [], [], [], [])
        if calls:
            done = await worker.run(experiment, frames, self._early.taken(calls))
            if not done.writes and not routed.rewarded:
                self._early.give(self._queue, self._around)  # it works while this batch is checked
        assert self._around is not None
        given = self._around, routed, done, worker.opened, self._settings, self._now_ms(), self._arms
        try:
            return batch.prepare(*given, worker.repeated, debug=self._debug)
        except Untrustworthy as error:
            worker.dismiss()
            raise BatchFailed(PolicyCrashed(f"the policy process broke the protocol: {error}")) from None
