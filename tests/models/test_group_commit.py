"""What is done is written together with what is about to be done, and never waits for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
import pytest

from streamsim.models import group_commit, turn
from streamsim.models.group_commit import GroupCommit
from streamsim.models.workers import ask
from streamsim.sandbox.host.pool import Worker
from streamsim.services import Services
from streamsim.storage.contract.runs import Append, Run
from streamsim.values import JsonObject
from tests.application import Caller
from tests.models.conftest import session

Written = list[tuple[str, int]]


class Turns:
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._again = self._loop.call_soon(self._next)

    def _next(self) -> None:
        self.count += 1
        self._again = self._loop.call_soon(self._next)

    def stop(self) -> None:
        self._again.cancel()


def within(work: Callable[[GroupCommit, Turns], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        turns = Turns()
        try:
            async with asyncio.timeout(60):
                await work(GroupCommit(), turns)
        finally:
            turns.stop()

    asyncio.run(run())


async def step(
    group: GroupCommit, turns: Turns, name: str, done: Awaitable[object], written: Written, quick: bool = True
) -> None:
    with group.expecting(quick):
        await done
    await group.wait()
    written.append((name, turns.count))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait ends because of the time."""
    for name in ("LATE_S", "ENOUGH_S", "MOST_S"):
        monkeypatch.setattr(group_commit, name, 1e9)


@pytest.mark.usefixtures("patient")
def test_who_is_alone_does_not_wait() -> None:
    async def work(group: GroupCommit, turns: Turns) -> None:
        begun = turns.count
        with group.expecting(True):
            pass
        await group.wait()
        assert turns.count == begun

    within(work)


@pytest.mark.usefixtures("patient")
def test_the_first_waits_for_all_that_are_expected_and_they_write_in_one_turn() -> None:
    async def work(group: GroupCommit, turns: Turns) -> None:
        written: Written = []
        done = [asyncio.Event() for _ in range(3)]
        tasks = [
            asyncio.create_task(step(group, turns, f"step {n}", event.wait(), written))
            for n, event in enumerate(done)
        ]
        for event in done:
            assert written == []
            for _ in range(5):
                await asyncio.sleep(0)
            event.set()
        await asyncio.gather(*tasks)
        assert sorted(name for name, _ in written) == ["step 0", "step 1", "step 2"]
        turn_of = [turn for _, turn in written]
        assert max(turn_of) - min(turn_of) <= 1

    within(work)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("failing", [False, True])
def test_who_is_expected_and_writes_nothing_ends_the_wait(failing: bool) -> None:
    async def work(group: GroupCommit, turns: Turns) -> None:
        written: Written = []
        gone = asyncio.get_running_loop().create_future()

        async def nothing() -> None:
            with group.expecting(True):
                await gone

        other = asyncio.create_task(nothing())
        await asyncio.sleep(0)
        first = asyncio.create_task(step(group, turns, "first", asyncio.sleep(0), written))
        for _ in range(5):
            await asyncio.sleep(0)
        assert written == []
        if failing:
            gone.set_exception(ValueError("the process is gone"))
        else:
            other.cancel()
        await first
        assert [name for name, _ in written] == ["first"]
        await asyncio.gather(other, return_exceptions=True)

    within(work)


@pytest.mark.usefixtures("patient")
def test_nobody_waits_for_what_takes_long() -> None:
    async def work(group: GroupCommit, turns: Turns) -> None:
        written: Written = []
        done = asyncio.Event()
        slow = asyncio.create_task(step(group, turns, "slow", done.wait(), written, quick=False))
        await asyncio.sleep(0)
        await step(group, turns, "quick", asyncio.sleep(0), written)
        assert [name for name, _ in written] == ["quick"]
        done.set()
        await slow

    within(work)


@pytest.mark.usefixtures("patient")
def test_nobody_waits_for_what_was_quick_before_and_is_late_now(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(group: GroupCommit, turns: Turns) -> None:
        written: Written = []
        done = asyncio.Event()
        late = asyncio.create_task(step(group, turns, "late", done.wait(), written))
        await asyncio.sleep(0)
        monkeypatch.setattr(group_commit, "LATE_S", -1.0)
        await step(group, turns, "first", asyncio.sleep(0), written)
        assert [name for name, _ in written] == ["first"]
        done.set()
        await late

    within(work)


def test_the_wait_ends_though_nobody_comes() -> None:
    async def work(group: GroupCommit, turns: Turns) -> None:
        written: Written = []
        never = asyncio.create_task(step(group, turns, "never", asyncio.Event().wait(), written))
        await asyncio.sleep(0)
        await step(group, turns, "first", asyncio.sleep(0), written)
        assert [name for name, _ in written] == ["first"]
        never.cancel()
        await asyncio.gather(never, return_exceptions=True)

    within(work)


def test_who_comes_once_the_first_has_waited_enough_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "ENOUGH_S", 0.0)
    monkeypatch.setattr(group_commit, "MOST_S", 1e9)

    async def work(group: GroupCommit, turns: Turns) -> None:
        written: Written = []
        never = asyncio.create_task(step(group, turns, "never", asyncio.Event().wait(), written))
        await asyncio.sleep(0)
        first = asyncio.create_task(step(group, turns, "first", asyncio.sleep(0), written))
        for _ in range(5):
            await asyncio.sleep(0)
        assert written == []
        await step(group, turns, "second", asyncio.sleep(0), written)
        await first
        assert {name for name, _ in written} == {"first", "second"}
        never.cancel()
        await asyncio.gather(never, return_exceptions=True)

    within(work)


@pytest.mark.usefixtures("patient")
def test_who_gives_up_is_waited_for_no_longer() -> None:
    async def work(group: GroupCommit, turns: Turns) -> None:
        written: Written = []
        done = asyncio.Event()
        other = asyncio.create_task(step(group, turns, "other", done.wait(), written))
        await asyncio.sleep(0)
        first = asyncio.create_task(step(group, turns, "first", asyncio.sleep(0), written))
        for _ in range(5):
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        done.set()
        await other
        assert [name for name, _ in written] == ["other"]

    within(work)


@pytest.mark.gen_test
@pytest.mark.usefixtures("patient")
async def test_steps_that_are_under_way_together_reach_the_store_together(
    customers: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "QUICK_S", 1e9)
    instances = [await session(customers) for _ in range(4)]
    await asyncio.gather(*(services.instances.step("ann", one, None) for one in instances))
    came: list[tuple[str, int]] = []
    append, turns = services.store.runs.append, Turns()
    slow = services.live_runs.all[instances[0]].worker
    answered, held = asyncio.Semaphore(0), asyncio.Event()

    async def noted(change: Append) -> Run | None:
        came.append((change.run, turns.count))
        return await append(change)

    async def slowly(worker: Worker, entries: list[JsonObject]) -> msgspec.Raw:
        answer = await ask(worker, entries)
        answered.release()
        if worker is slow:
            await held.wait()
        return answer

    monkeypatch.setattr(services.store.runs, "append", noted)
    monkeypatch.setattr(turn, "ask", slowly)
    try:
        steps = asyncio.gather(*(services.instances.step("ann", one, None) for one in instances))
        for _ in instances:
            await answered.acquire()
        for _ in range(20):
            await asyncio.sleep(0)
        assert came == []
        held.set()
        await steps
    finally:
        turns.stop()
    assert sorted(run for run, _ in came) == sorted(instances)
    assert max(at for _, at in came) - min(at for _, at in came) <= 1
