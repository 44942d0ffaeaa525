"""What the core API calls: finds the experiment, checks its key, and hands the call to its lane."""

from __future__ import annotations

import asyncio
import hmac
import math
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from streamsim import dates
from streamsim.config import LaneSettings
from streamsim.decisions.calls import Decision, Pending, Reward
from streamsim.decisions.checks import Checks
from streamsim.decisions.default_reward import default_reward
from streamsim.decisions.dry_run import dry_run
from streamsim.decisions.history import Readable
from streamsim.decisions.lane import Lane
from streamsim.decisions.together import End, Together
from streamsim.decisions.worker import PolicyWorker
from streamsim.errors import (
    BadRequest,
    PolicyError,
    StreamsimError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from streamsim.sandbox.host.pool import Limits, Sandbox
from streamsim.storage.contract.decisions import DecisionStore, Experiment
from streamsim.storage.contract.logs import LogStore
from streamsim.tracing import Tracing

MAX_ID = 128
DECIDING_S: Final = 2.0
"""Decisions go on for so long after the last call."""
_IDLE_LANE_MS = 600_000
_DUE_AT_ONCE = 500
_KEYS: Final = re.compile(rb'(?:"key"\s*:\s*"|(?:^|&)key=)([^"\\&]+)')


class Decisions:
    """All lanes of this process.

    :param observe: called after each commit with the number of calls and whether the commit was refused.
    :param asked: told the tenant of each call. :param resumed: called when decisions go on after a pause.
    :param tracing: where calls are traced.
    """

    def __init__(
        self,
        store: DecisionStore,
        sandbox: Sandbox,
        *,
        logs: LogStore,
        lane: LaneSettings,
        limits: Limits,
        debug: bool = False,
        now_ms: Callable[[], int] = dates.now_ms,
        observe: Callable[[int, bool], None] = lambda calls, refused: None,
        asked: Callable[[str], None] = lambda tenant: None,
        resumed: Callable[[], None] = lambda: None,
        tracing: Tracing | None = None,
    ) -> None:
        self._store = store
        self._sandbox = sandbox
        self._logs = logs
        self._lane = lane
        self._limits = limits
        self._debug = debug
        self._now_ms = now_ms
        self._observe = observe
        self._asked = asked
        self._resumed = resumed
        self._tracing = tracing
        self._lanes: dict[str, Lane] = {}
        self._experiments: dict[str, Experiment] = {}
        self._closing = False
        # Experiments with guardrails that have had calls since somebody looked.
        self.guarded: set[str] = set()
        # Bytes of calls that wait or run, by tenant.
        self._held: dict[str, int] = {}
        # Of the newest call, in the event loop's time. It came `call_s` before.
        self._deadline = -math.inf
        self._checks = Checks(sandbox, limits)

    # ---- the core API

    async def get_action(
        self, experiment_id: str, key: str, context: Any, *, present: Any = None, size: int = 0
    ) -> bytes:
        """Decide on a context. JSON text `{"action": {...}, "advice_id"?, "context"?}`, logged durably.

        :param present: the action that the caller's present system takes, for an experiment in the shadow.
        :param size: bytes that the call came in.
        :raises Unauthorized: unknown experiment or wrong key. :raises PolicyError: the code failed.
        :raises TooManyRequests: too many calls wait. :raises Unavailable: the store is away.
        """
        await self.authorize(experiment_id, key)
        call = Decision(context, present=present, size=size)
        call.key = key
        return await self._answered(experiment_id, call)

    async def set_reward(self, experiment_id: str, key: str, reward: Reward) -> bytes:
        """Learn from a reward. JSON text `{"status": "success"}`; theta and log are durable then.

        :raises: as `get_action`; NotFound, Conflict for an advice id; Unprocessable for an idempotency key.
        """
        await self.authorize(experiment_id, key)
        reward.key = key
        return await self._answered(experiment_id, reward)

    async def answer_all(
        self, experiment_id: str, key: str, calls: Iterable[Pending | BadRequest]
    ) -> list[End]:
        """Decide and learn, as `get_action` and `set_reward` do, for calls that came together: what each is
        answered, or its error, in order. Where a call should be there may be why there is none.

        :raises Unauthorized: unknown experiment or wrong key.
        """
        await self.authorize(experiment_id, key)
        calls = list(calls)
        together = Together(len(calls))
        for call, place in zip(calls, together.places(), strict=True):
            if isinstance(call, BadRequest):
                place.set_exception(call)
                continue
            call.key, call.answer = key, place
            try:
                self._submit(experiment_id, call)
            except StreamsimError as error:
                place.set_exception(error)
        return await together.all

    # ---- the rest of the service

    @property
    def live(self) -> int:
        """Experiments that had calls here in the last ten minutes."""
        return len(self._lanes)

    @property
    def deciding(self) -> bool:
        """Whether there was a call in the last `DECIDING_S` seconds."""
        came = self._deadline - self._lane.call_s
        return asyncio.get_running_loop().time() - came < DECIDING_S

    async def check_code(self, tenant: str, code: dict[str, str]) -> None:
        """Compile the pieces in a sandbox of their own: for one tenant one at a time, tenants in turn.

        :raises BadRequest: naming the piece, with line and message.
        """
        await self._checks.compile(tenant, code)

    async def dry_run(self, experiment: Experiment, context: Any, reward: Any = None) -> dict[str, Any]:
        """What an experiment, with the code that it has here, would decide: `dry_run.dry_run`. As for checks
        of code, one at a time for one tenant.

        :raises PolicyError: the code failed. :raises TooManyRequests: too many wait. :raises Unavailable:
        """
        tenant = experiment.tenant
        async with self._checks.place(tenant):
            return await dry_run(self._worker, self._store, experiment, context, reward)

    async def find(self, experiment_id: str) -> Experiment | None:
        """The live experiment, from this process's cache or the store. A commit finds out if it is old."""
        experiment = self._experiments.get(experiment_id)
        if experiment is None and len(experiment_id) <= MAX_ID:
            experiment = await self._store.get_experiment(experiment_id)
            if experiment is None or experiment.archived:
                return None
            self._experiments[experiment_id] = experiment
        return experiment

    def forget(self, experiment_id: str) -> None:
        """Drop what is cached of an experiment, e.g. after an edit."""
        self._experiments.pop(experiment_id, None)

    def leave(self, experiment_id: str) -> None:
        """Nothing more is expected of an experiment: its worker makes room, unless calls are under way."""
        self.forget(experiment_id)
        lane = self._lanes.get(experiment_id)
        if lane is not None and not lane.busy:
            lane.close()
            del self._lanes[experiment_id]

    async def time_out_advices(self) -> int:
        """Give advices that are due their experiment's default reward; how many were."""
        due = await self._store.due_advices(self._now_ms(), _DUE_AT_ONCE)
        answers = []
        for advice in due:
            experiment = await self.find(advice.experiment_id)
            if experiment is None:
                continue
            reward = default_reward(experiment.properties)
            call = Reward(reward, advice_id=advice.id, by="timeout")
            try:
                answers.append(self._answered(advice.experiment_id, call))
            except TooManyRequests:
                continue  # its queue is full: it stays due
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        for outcome in outcomes:
            # Another process was first, the code failed (and that is logged), or the store is away.
            if isinstance(outcome, BaseException) and not isinstance(outcome, StreamsimError):
                raise outcome
        return sum(1 for outcome in outcomes if isinstance(outcome, bytes | PolicyError))

    def tidy(self) -> None:
        """End lanes that were idle for ten minutes."""
        now_ms = self._now_ms()
        for experiment_id, lane in list(self._lanes.items()):
            if not lane.busy and now_ms - lane.used_ms > _IDLE_LANE_MS:
                self.leave(experiment_id)

    def waiting_bytes(self) -> int:
        """Bytes that the calls came in which wait or run."""
        return sum(self._held.values())

    def waiting(self) -> int:
        """Calls that wait in all lanes."""
        return sum(lane.waiting for lane in self._lanes.values())

    async def close(self) -> None:
        """Answer what was accepted, or refuse it after a second, and end the workers."""
        self._closing = True
        await asyncio.gather(*(lane.stop() for lane in list(self._lanes.values())))
        self._lanes.clear()
        self._checks.close()

    # ---- inside

    def _worker(self, store: Readable) -> PolicyWorker:
        return PolicyWorker(self._sandbox, store, self._limits, self._lane.theta_rows, self.find, self._logs)

    async def authorize(self, experiment_id: str, key: str) -> None:
        """Check the key of a call. :raises Unauthorized: unknown experiment or wrong key."""
        # Awaiting nothing where the experiment is known keeps a decision on its fast way.
        experiment = self._experiments.get(experiment_id) or await self.find(experiment_id)
        if experiment is None or not hmac.compare_digest(experiment.key.encode(), key.encode()):
            raise Unauthorized("key or experiment id is not valid")

    def submitted(self, experiment_id: str, key: str, call: Pending) -> bool:
        """Queue a call whose answer is taken by what it carries; False, with nothing done, if the experiment
        is not known here or the key is another.

        :raises: as `get_action`.
        """
        experiment = self._experiments.get(experiment_id)
        if experiment is None or not hmac.compare_digest(experiment.key.encode(), key.encode()):
            return False
        call.key = key
        self._submit(experiment_id, call)
        return True

    def _answered(self, experiment_id: str, call: Pending) -> asyncio.Future[bytes]:
        """Queue a call; its answer or error to come."""
        call.answer = answer = asyncio.get_running_loop().create_future()
        self._submit(experiment_id, call)
        return answer

    def refusal(self, experiment_id: str, size: int, ends: bytes) -> TooManyRequests | None:
        """Why a call of so many bytes would be refused now, whatever it says; None if it would not be, or its
        caller may not be told.

        :param ends: how its body begins and ends, where its key is likely to stand.
        """
        tenant = self.tenant(experiment_id, ends)
        if tenant is None:
            return None
        lane = self._lanes.get(experiment_id)
        try:
            self._held_by(tenant, size)
            if lane is not None:
                lane.written.check()
        except TooManyRequests as refused:
            return refused
        return None

    def tenant(self, experiment_id: str, given: bytes) -> str | None:
        """Whose an experiment is that had calls here; None to whom its key is not known.

        :param given: of a query or a JSON body, where the key is likely to stand.
        """
        experiment = self._experiments.get(experiment_id)
        if experiment is None:
            return None
        key = experiment.key.encode()
        found = _KEYS.findall(given)
        return experiment.tenant if any(hmac.compare_digest(key, one) for one in found) else None

    def _held_by(self, tenant: str, size: int) -> int:
        """Bytes that a tenant's calls hold, to which so many may be added. :raises TooManyRequests:"""
        held = self._held.get(tenant, 0)
        if held and held + size > self._lane.tenant_bytes:
            raise TooManyRequests(
                f"your calls that wait hold {self._lane.tenant_bytes} bytes (lane.tenant_bytes); try again"
            )
        return held

    def _submit(self, experiment_id: str, call: Pending) -> None:
        if self._closing:
            raise Unavailable("the server is stopping")
        lane = self._lanes.get(experiment_id)
        tenant = self._experiments[experiment_id].tenant if lane is None else lane.tenant
        held = self._held_by(tenant, call.size)
        if lane is None:
            lane = self._lanes[experiment_id] = Lane(
                experiment_id,
                tenant,
                self._store,
                self._worker(self._store),
                self._lane,
                debug=self._debug,
                find=self.find,
                forget=self.forget,
                now_ms=self._now_ms,
                observe=self._observe,
                let_go=partial(self._let_go, tenant),
                guarded=self.guarded,
            )
        if self._tracing is not None:
            kind = "setreward" if isinstance(call, Reward) else "getaction"
            call.trace = self._tracing.call(kind, experiment_id)
        self._asked(tenant)
        lane.submit(call)
        paused, self._deadline = call.deadline - self._deadline >= DECIDING_S, call.deadline
        if paused:
            self._resumed()
        if call.size:
            self._held[tenant] = held + call.size
            call.let_go = lane.let_go

    def _let_go(self, tenant: str, size: int) -> None:
        self._held[tenant] -= size
        if not self._held[tenant]:
            del self._held[tenant]
