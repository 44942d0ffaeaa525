"""A tenant with long calls has a processor of its own: real processes, and where the kernel has them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamsim.sandbox.host import patrol
from streamsim.sandbox.host.pool import Sandbox, Worker, WorkerCrashed
from tests.sandbox.host.conftest import ASK, LOOP, one_of, until

OWN = os.sched_getaffinity(0)
THEIRS = {max(OWN)}
OTHERS = OWN - THEIRS

pytestmark = pytest.mark.skipif(len(OWN) < 2, reason="there is one processor")


SPIN = """
def handle(request, channel):
    while not channel.ask(1):
        for _ in range(1_000_000):
            pass
"""


@pytest.fixture
def sandbox(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr(patrol, "LATELY_S", 3600.0)  # however long the machine stands still
    sandbox = Sandbox(workers=4, patrol=patrol.Patrol(spare=1))
    runner.run(sandbox.start())
    yield sandbox
    runner.run(sandbox.close())
    sandbox.patrol.close()


async def _live(sandbox: Sandbox, tenant: str) -> Worker:
    """A worker that was called, and did not take long, even if it did."""
    worker = await one_of(sandbox, tenant)
    await worker.exchange(None)
    sandbox.patrol._long.clear()
    return worker


@asynccontextmanager
async def _long_call(worker: Worker) -> AsyncIterator[None]:
    """A call of a worker of `SPIN` is under way for the length of the context."""
    over = asyncio.Event()

    async def answer(_question: object) -> object:
        return over.is_set()

    call = asyncio.ensure_future(worker.exchange(None, ask=answer))
    try:
        yield
    finally:
        over.set()
        await call


def _at(worker: Worker) -> set[int]:
    return os.sched_getaffinity(worker.pid)


def test_a_tenant_with_a_long_call_is_apart_and_what_it_begins_is_too(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        anns, bobs = await one_of(sandbox, "ann", SPIN), await _live(sandbox, "bob")
        async with _long_call(anns):
            await until(lambda: _at(anns) == THEIRS)
            another = await one_of(sandbox, "ann")
            await until(lambda: _at(another) == THEIRS)
            await until(lambda: _at(bobs) == os.sched_getaffinity(0) == OTHERS)

    run(scenario())


def test_after_long_calls_everybody_has_every_processor_again(
    run: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        anns, bobs = await one_of(sandbox, "ann", SPIN), await _live(sandbox, "bob")
        async with _long_call(anns):
            await until(lambda: _at(bobs) == OTHERS)
        monkeypatch.setattr(patrol, "LATELY_S", 0.0)
        await until(lambda: _at(anns) == _at(bobs) == os.sched_getaffinity(0) == OWN)
        another = await one_of(sandbox, "ann")
        await until(lambda: _at(another) == OWN)

    run(scenario())


def test_a_call_that_only_waits_is_no_long_one(run: Any, sandbox: Sandbox) -> None:
    """Else who waits for another's long call would be put with that one."""

    async def scenario() -> None:
        anns, bobs = await one_of(sandbox, "ann", ASK), await _live(sandbox, "bob")
        answered = asyncio.Event()

        async def answer(_question: object) -> object:
            await asyncio.sleep(10 * patrol.LONG_S)  # is what is tested
            answered.set()
            return None

        call = asyncio.ensure_future(anns.exchange(None, ask=answer))
        await answered.wait()
        assert _at(anns) == _at(bobs) == os.sched_getaffinity(0) == OWN
        await call

    run(scenario())


def test_a_start_that_computes_is_a_long_call(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        bobs = await _live(sandbox, "bob")
        starting = asyncio.ensure_future(one_of(sandbox, "ann", f"{LOOP}\nhandle(0, 0)\n"))
        await until(lambda: _at(bobs) == OTHERS)
        next(worker for worker in sandbox.workers if worker.tenant == "ann").kill()
        await asyncio.wait([starting])
        assert isinstance(starting.exception(), WorkerCrashed)

    run(scenario())


def test_who_begins_process_after_process_is_apart(
    run: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patrol, "START_CPU_S", 3600.0)  # however slow the machine is

    async def scenario() -> None:
        bobs = await _live(sandbox, "bob")
        for number in range(patrol.STARTS):
            assert _at(bobs) == OWN, number
            anns = await one_of(sandbox, "ann")
            if number < patrol.STARTS - 1:
                anns.kill()
        await until(lambda: _at(bobs) == OTHERS)
        await until(lambda: _at(anns) == THEIRS)

    run(scenario())


def test_one_patrol_looks_at_several_sandboxes(run: Any, sandbox: Sandbox, runner: asyncio.Runner) -> None:
    """As at those of policies and of models."""
    other = Sandbox(workers=4, patrol=sandbox.patrol)
    runner.run(other.start())

    async def scenario() -> None:
        anns, bobs = await one_of(sandbox, "ann", SPIN), await _live(other, "bob")
        async with _long_call(anns):
            await until(lambda: _at(bobs) == OTHERS)
            another = await one_of(other, "ann")
            await until(lambda: _at(another) == THEIRS)

    run(scenario())
    runner.run(other.close())


def test_where_workers_may_not_be_moved_nobody_is_parted(
    run: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()
    monkeypatch.setattr(patrol, "place", lambda pid, _where: asked.append(pid))

    async def scenario() -> None:
        anns, bobs = await one_of(sandbox, "ann", SPIN), await _live(sandbox, "bob")
        async with _long_call(anns):
            await until(lambda: asked != [])
            another = await one_of(sandbox, "ann")
            assert _at(anns) == _at(another) == _at(bobs) == os.sched_getaffinity(0) == OWN
        assert len(asked) == 1

    run(scenario())


def test_at_its_end_this_process_has_every_processor(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        anns = await one_of(sandbox, "ann", SPIN)
        await _live(sandbox, "bob")
        async with _long_call(anns):
            await until(lambda: os.sched_getaffinity(0) == OTHERS)
            sandbox.patrol.close()
            assert os.sched_getaffinity(0) == OWN

    run(scenario())


def test_who_is_alone_has_every_processor(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        anns, more = await one_of(sandbox, "ann", SPIN), await one_of(sandbox, "ann")
        async with _long_call(anns):
            looked = asyncio.Event()
            asyncio.get_running_loop().call_later(5 * patrol.LONG_S, looked.set)
            await looked.wait()
            await more.exchange(None)
            assert _at(anns) == _at(more) == _at(await one_of(sandbox, "ann")) == OWN

    run(scenario())


def test_few_calls_leave_evaluations_their_processors_as_long_as_there_are_any(
    run: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluating = [True]
    sandbox.patrol.part_from(lambda: evaluating[0])

    async def scenario() -> None:
        anns = await _live(sandbox, "ann")
        await until(lambda: _at(anns) == os.sched_getaffinity(0) == OTHERS)
        another = await one_of(sandbox, "bob")
        assert _at(another) == OTHERS
        evaluating[0] = False
        monkeypatch.setattr(patrol, "LATELY_S", 0.0)
        await until(lambda: _at(anns) == _at(another) == os.sched_getaffinity(0) == OWN)

    run(scenario())


def test_many_calls_at_once_use_the_processors_of_evaluations_too(run: Any, sandbox: Sandbox) -> None:
    sandbox.patrol.part_from(lambda: True)

    async def scenario() -> None:
        anns = await one_of(sandbox, "ann", ASK)
        await until(lambda: os.sched_getaffinity(0) == OTHERS)
        asked = asyncio.Event()

        async def answer(_question: object) -> object:
            await until(lambda: _at(anns) == os.sched_getaffinity(0) == OWN)
            asked.set()
            return None

        await anns.exchange(None, calls=patrol.FEW + 1, ask=answer)
        assert asked.is_set()

    run(scenario())
