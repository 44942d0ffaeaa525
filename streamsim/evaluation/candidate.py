"""With which probability a candidate policy would have taken each arm, for every logged context."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec

from streamsim.decisions.transaction import policy_error
from streamsim.errors import PolicyCrashed
from streamsim.evaluation.estimating import Estimating
from streamsim.evaluation.pools import Nest
from streamsim.evaluation.simulation import Broken, nested_answer
from streamsim.evaluation.wire import Propensities, PropensityLoad, Theta
from streamsim.evaluation.workers import PARTS, BatchWorkers, Lane
from streamsim.jobs.jobs import together
from streamsim.sandbox.host.pool import Worker

_EXCHANGE_S: Final = 0.3
_MOST_AT_ONCE: Final = 2000
_answer = msgspec.msgpack.Decoder(Propensities)


class Replay:
    """A candidate and the decisions on which an evaluation judges it.

    :param decisions: how many there are. :param lane: whose processes run the candidate.
    :param progress: is told how many more decisions the candidate has been through.
    """

    def __init__(
        self,
        workers: BatchWorkers,
        load: PropensityLoad,
        nest: Nest,
        estimating: Estimating,
        decisions: int,
        *,
        identity: str,
        lane: Lane = "candidate",
        progress: Callable[[int], None] = lambda decisions: None,
    ) -> None:
        self._lane: Lane = lane
        self._progress = progress
        self._workers = workers
        self._load = load
        self._nest = nest
        self._estimating = estimating
        self._decisions = decisions
        self._identity = identity

    async def judge(self) -> None:
        """Tell the evaluation what the candidate would do in each decision, on the theta of the load.

        :raises Broken: the candidate's code failed on a context.
        """
        n = self._decisions
        parts = min(PARTS if self._lane == "candidate" else 1, n)
        edges = [n * part // parts for part in range(parts + 1)]
        ready = [asyncio.Event() for _ in range(parts + 1)]
        ready[0].set()

        async def part(number: int, first: int, last: int) -> None:
            async with self._process() as worker:
                answers = [answer async for answer in self._ask(worker, first, last, judge=True)]
            # The parts are told in their order.
            await ready[number].wait()
            await self._tell(answers)
            ready[number + 1].set()

        await together(part(number, *ends) for number, ends in enumerate(itertools.pairwise(edges)))

    async def learn_and_judge(self, theta: Theta) -> None:
        """The same on theta that the candidate learns from the log: "split", "progressive" or "replay".

        :raises Broken: the candidate's code failed on a decision.
        """
        n = self._decisions
        half = await self._estimating.split() if theta == "split" else 0
        async with self._process() as worker:
            async for _ in self._ask(worker, 0, half, learn=True):
                pass
            learn, replay = theta != "split", theta == "replay"
            async for answer in self._ask(worker, half, n, judge=True, learn=learn, replay=replay):
                await self._tell([answer])

    def _process(self) -> AbstractAsyncContextManager[Worker]:
        return self._workers.one("propensity", self._load, identity=self._identity, lane=self._lane)

    async def _tell(self, answers: list[Propensities]) -> None:
        for answer in answers:
            await self._estimating.add_probabilities(answer.rows, sum(answer.exact))

    async def _ask(
        self,
        worker: Worker,
        first: int,
        last: int,
        *,
        judge: bool = False,
        learn: bool = False,
        replay: bool = False,
    ) -> AsyncGenerator[Propensities, None]:
        """Some decisions at a time."""
        at_once, find = 1, nested_answer(self._nest)
        while first < last:
            some = await self._estimating.records(first, min(at_once, last - first), replay=replay)
            began = time.monotonic()
            calls = len(some) * (self._load.runs + learn)
            body = await worker.exchange((first, some, judge, learn, replay), calls=calls, ask=find)
            seconds = time.monotonic() - began
            answer = _checked(body, len(some) if judge else 0)
            if answer.failure is not None:
                raise Broken(policy_error(answer.failure), first + len(answer.rows), "logged decision")
            yield answer
            first += len(some)
            self._progress(len(some))
            growth = min(4.0, _EXCHANGE_S / max(seconds, 1e-6))
            at_once = max(1, min(int(len(some) * growth), _MOST_AT_ONCE))


def _checked(body: msgspec.Raw, size: int) -> Propensities:
    try:
        answer = _answer.decode(body)
        whole = len(answer.rows) == len(answer.exact) == size
        if whole or (answer.failure is not None and len(answer.rows) == len(answer.exact) <= size):
            return answer
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        pass  # told below, as any other form
    raise PolicyCrashed("the policy process broke the protocol")
