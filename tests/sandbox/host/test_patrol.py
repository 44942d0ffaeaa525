"""Long calls of one tenant leave a processor to others: real processes, and where the kernel has them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamsim.sandbox.host import patrol
from streamsim.sandbox.host.pool import Sandbox, Worker
from tests.sandbox.host.conftest import ASK, ECHO, PATIENT, until

OWN = os.sched_getaffinity(0)
REST = set(sorted(OWN)[1:])

pytestmark = pytest.mark.skipif(len(OWN) < 2, reason="there is one processor")


@pytest.fixture
def sandbox(runner: asyncio.Runner) -> Iterator[Sandbox]:
    sandbox = Sandbox(workers=4, spare=1)
    runner.run(sandbox.start())
    yield sandbox
    runner.run(sandbox.close())


async def _one(sandbox: Sandbox, tenant: str, code: str = ECHO) -> Worker:
    return await sandbox.spawn("probe", {"code": code}, PATIENT, identity=f"{tenant}/e")


@asynccontextmanager
async def _long_call(worker: Worker) -> AsyncIterator[None]:
    """A call of a worker of `ASK` is under way for the length of the context."""
    over = asyncio.Event()

    async def answer(_question: object) -> object:
        await over.wait()
        return None

    call = asyncio.ensure_future(worker.exchange(None, ask=answer))
    try:
        yield
    finally:
        over.set()
        await call


def _at(worker: Worker) -> set[int]:
    return os.sched_getaffinity(worker.pid)


def test_a_long_call_leaves_a_processor_to_others_and_what_its_tenant_begins_does_too(
    run: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patrol, "LATELY_S", 3600.0)

    async def scenario() -> None:
        anns, bobs = await _one(sandbox, "ann", ASK), await _one(sandbox, "bob")
        await bobs.exchange(None)
        async with _long_call(anns):
            await until(lambda: _at(anns) == REST)
            assert _at(await _one(sandbox, "ann")) == REST
            await bobs.exchange(None)
            assert _at(bobs) == OWN
            assert _at(await _one(sandbox, "carl")) == OWN

    run(scenario())


def test_after_its_long_calls_a_tenant_has_every_processor_again(
    run: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        anns, bobs = await _one(sandbox, "ann", ASK), await _one(sandbox, "bob", ASK)
        async with _long_call(bobs), _long_call(anns):
            await until(lambda: _at(anns) == REST)
        monkeypatch.setattr(patrol, "LATELY_S", 0.0)
        await until(lambda: _at(anns) == OWN)
        assert _at(await _one(sandbox, "ann")) == OWN

    run(scenario())


def test_who_is_alone_has_every_processor(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        anns, more = await _one(sandbox, "ann", ASK), await _one(sandbox, "ann")
        async with _long_call(anns):
            looked = asyncio.Event()
            asyncio.get_running_loop().call_later(5 * patrol.LONG_S, looked.set)
            await looked.wait()
            await more.exchange(None)
            assert _at(anns) == _at(more) == _at(await _one(sandbox, "ann")) == OWN

    run(scenario())
