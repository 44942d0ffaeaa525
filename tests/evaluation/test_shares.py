"""Evaluations that tenants wait for: however many one asks for, another's are not one of so many more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from streamsim.config import EvaluationSettings, SandboxSettings
from streamsim.errors import PolicyError
from streamsim.evaluation import workers
from streamsim.evaluation.wire import SimulationLoad
from streamsim.evaluation.workers import BatchWorkers
from streamsim.sandbox.host.pool import Limits


@pytest.fixture
def batch(run: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchWorkers]:
    # On a slow machine any of them takes long.
    monkeypatch.setattr(workers, "LONG_S", 1e6)
    batch = BatchWorkers(
        EvaluationSettings(requests=4, nice=19), Limits(), box=SandboxSettings(allow_degraded=True)
    )
    yield batch
    run(batch.close())


async def _asked(batch: BatchWorkers, tenant: str) -> AsyncExitStack:
    """A process that works for a request of the tenant, until the stack is closed."""
    held = AsyncExitStack()
    await held.enter_async_context(batch.one("figures", None, identity=f"{tenant}/figures", lane="request"))
    return held


def _nice(batch: BatchWorkers, tenant: str) -> list[int]:
    found = [one for one in batch._sandbox.workers if one.identity == f"{tenant}/figures"]
    return [os.getpriority(os.PRIO_PROCESS, one.pid) for one in sorted(found, key=lambda one: one.number)]


def test_one_process_of_each_tenant_goes_ahead_of_what_tenants_have_beyond_it(
    batch: BatchWorkers, run: Any
) -> None:
    async def scenario() -> None:
        held = [await _asked(batch, tenant) for tenant in ("ann", "ann", "ann", "bob")]
        assert _nice(batch, "ann") == [9, 19, 19]
        assert _nice(batch, "bob") == [9]
        for one in held:
            await one.aclose()

    run(scenario())


def test_processes_begin_off_the_processors_of_live_decisions(run: Any) -> None:
    every = os.sched_getaffinity(0)
    batch = BatchWorkers(
        EvaluationSettings(), Limits(), box=SandboxSettings(allow_degraded=True), live=lambda: True
    )

    async def scenario() -> None:
        held = [await _asked(batch, tenant) for tenant in ("ann", "bob")]
        left = [os.sched_getaffinity(worker.pid) for worker in batch._sandbox.workers]
        assert left == [every - {min(every)} or every] * 2
        for one in held:
            await one.aclose()

    run(scenario())
    run(batch.close())


def test_a_tenant_has_its_part_of_the_places_while_another_asks_too(batch: BatchWorkers, run: Any) -> None:
    async def scenario() -> None:
        anns = [await _asked(batch, "ann") for _ in range(3)]
        bobs = await _asked(batch, "bob")
        await bobs.aclose()
        more = asyncio.create_task(_asked(batch, "ann"))
        await asyncio.sleep(0)
        await anns.pop().aclose()
        assert batch._rooms["request"].waiting("ann") == 1
        bobs = await _asked(batch, "bob")
        assert not more.done()
        while anns:
            await anns.pop().aclose()
        await (await more).aclose()
        await bobs.aclose()

    run(scenario())


def test_a_process_has_its_priority_before_it_loads_anything_and_loses_its_place_when_that_fails(
    batch: BatchWorkers, run: Any
) -> None:
    async def scenario() -> None:
        broken = SimulationLoad("e", {"get_action": "1 +"}, {}, 1)
        lowered = list[int]()

        def lower(pid: int, tenant: str) -> None:
            type(batch.priority).lower(batch.priority, pid, tenant)
            lowered.append(os.getpriority(os.PRIO_PROCESS, pid))

        batch.priority.lower = lower  # type: ignore[method-assign]
        for _ in range(2):
            with pytest.raises(PolicyError):
                async with batch.one("simulate", broken, identity="ann/e", lane="request"):
                    pass
        assert lowered == [9, 9]

    run(scenario())


def test_a_tenant_whose_process_died_has_its_place_for_a_while_beside_others(
    batch: BatchWorkers, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "DIED_S", 600.0)
    room, ended = batch._rooms["request"], asyncio.Event()

    async def died() -> None:
        async with batch.one("figures", None, identity="ann/figures", lane="request") as worker:
            worker.kill()
            ended.set()
            await worker.exchange(("part", 0, 1))

    async def scenario() -> None:
        with pytest.raises(PolicyError):
            await died()
        await (await _asked(batch, "bob")).aclose()
        ended.clear()
        late = asyncio.create_task(died())
        await ended.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not late.done()
        assert room._held["ann"] == 1
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        assert not room._held["ann"]

    run(scenario())
