"""What tests of one folder share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec
import pytest
import uvloop

from streamsim.sandbox.host.pool import (
    Limits,
    Sandbox,
    Worker,
)
from tests.patience import PATIENCE_S

ROOM = 3


ECHO = "def handle(request, channel): return request"


ASK = "def handle(request, channel): return channel.ask(1)"


PATIENT = Limits(wall_ms=int(PATIENCE_S) * 1000)
"""A machine that stands still for seconds ends no call: what a worker is held for is not about time."""


SHORT = Limits(cpu_ms=300, wall_ms=400, grace_ms=400)


LOOP = "def handle(request, channel):\n    while True:\n        pass"


@pytest.fixture(
    scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Both loops that a server may run on: their transports differ in what they raise."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.fixture(scope="module")
def sandbox(runner: asyncio.Runner) -> Iterator[Sandbox]:
    sandbox = Sandbox(workers=ROOM)
    runner.run(sandbox.start())
    yield sandbox
    runner.run(sandbox.close())


@pytest.fixture
def run(runner: asyncio.Runner, sandbox: Sandbox) -> Iterator[Callable[..., Any]]:
    failures: list[dict[str, Any]] = []
    runner.get_loop().set_exception_handler(lambda _loop, context: failures.append(context))

    async def bounded(scenario: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await scenario

    yield lambda scenario: runner.run(bounded(scenario))
    for worker in sandbox.workers:
        worker.kill()
    assert failures == []


async def probe(sandbox: Sandbox, code: str, limits: Limits = PATIENT) -> Worker:
    return await sandbox.spawn("probe", {"code": code}, limits, identity="test")


async def ask_once(sandbox: Sandbox, code: str, limits: Limits = PATIENT, **more: Any) -> Any:
    """The decoded answer of a fresh worker to one request."""
    worker = await probe(sandbox, code, limits)
    return msgspec.msgpack.decode(await worker.exchange(None, **more))


async def one_of(sandbox: Sandbox, tenant: str, code: str = ECHO) -> Worker:
    """A new worker of a tenant."""
    return await sandbox.spawn("probe", {"code": code}, PATIENT, identity=f"{tenant}/e")


def exists(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 -- the kernel sets no event
            await asyncio.sleep(0.005)
