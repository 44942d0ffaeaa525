"""What a lane takes off its queue for one batch."""

from __future__ import annotations

import asyncio
import json
from collections import deque

import pytest

from streamsim.decisions import queueing
from streamsim.decisions.calls import Decision, Pending
from streamsim.decisions.queueing import gathered, take
from streamsim.decisions.worker import STEP_BYTES
from tests.decisions.conftest import Bench
from tests.patience import PATIENCE_S


class Waiting:
    """A caller that waits."""

    def done(self) -> bool:
        return False

    def set_result(self, answer: bytes) -> None:
        raise AssertionError(answer)

    def set_exception(self, error: BaseException) -> None:
        raise error


def call(size: int = 1) -> Pending:
    made = Decision({}, size=size)
    made.answer, made.deadline, made.attempts = Waiting(), 10.0, 0
    return made


def test_a_batch_has_no_more_calls_than_fit_into_a_message_to_the_worker() -> None:
    calls = [call(size) for size in (10, 60, 40, 200, 1, 1)]
    queue = deque(calls)
    batches = []
    while queue:
        batches.append(take(queue, 64, 100, now=0.0, call_s=20))
    # In order, and one that is larger than all of the room goes alone.
    assert batches == [calls[:2], calls[2:3], calls[3:4], calls[4:]]


def test_large_calls_are_batches_of_their_own_and_small_ones_are_not(bench: Bench) -> None:
    bench.experiment('self.action["n"] = self.context["n"]')
    bench.decide({"n": 0})
    for size, alone in ((STEP_BYTES // 2 + 1, True), (10, False)):
        bench.batches.clear()

        async def all_at_once(size: int) -> list[bytes]:
            calls = (bench.decisions.get_action("e1", "k", {"n": n}, size=size) for n in range(6))
            return await asyncio.gather(*calls)

        answers = bench.run(all_at_once(size))
        assert [json.loads(answer)["action"]["n"] for answer in answers] == [*range(6)]
        assert (max(bench.batches) == 1) is alone


def test_nobody_waits_longer_than_a_moment_for_a_call_that_is_expected() -> None:
    async def body() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await gathered(deque([call()]), 64, 2)

    asyncio.run(body())


@pytest.mark.parametrize(("expected", "gathered_calls"), [(0, 1), (2, 2)])
def test_a_call_that_is_expected_is_waited_for_a_moment(
    expected: int, gathered_calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "_MOMENT_S", PATIENCE_S)

    async def body() -> int:
        queue = deque[Pending]([call()])

        async def later() -> None:
            for _ in range(5):
                await asyncio.sleep(0)
            queue.append(call())

        coming = asyncio.ensure_future(later())
        async with asyncio.timeout(PATIENCE_S):
            await gathered(queue, 64, expected)
            found = len(queue)
            await coming
        return found

    assert asyncio.run(body()) == gathered_calls
