"""The pool is shared: the code of one tenant takes no worker from another's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from streamsim.sandbox.host import pool
from streamsim.sandbox.host.pool import Sandbox, Worker
from streamsim.sandbox.host.source import FORKS
from tests.sandbox.host.conftest import ASK, ECHO, PATIENT, one_of, until


@pytest.fixture
def shared(runner: asyncio.Runner) -> Iterator[Sandbox]:
    sandbox = Sandbox(workers=4, share=3)
    runner.run(sandbox.start())
    yield sandbox
    runner.run(sandbox.close())


class Busy:
    """Workers of one tenant, as many as it asked for, each busy until `event`."""

    def __init__(self, sandbox: Sandbox, tenant: str, wanted: int) -> None:
        self.event, self.begun = asyncio.Event(), 0
        self.tasks = [asyncio.ensure_future(self._work(sandbox, tenant)) for _ in range(wanted)]

    async def _work(self, sandbox: Sandbox, tenant: str) -> None:
        worker = await one_of(sandbox, tenant, ASK)

        async def answer(_question: msgspec.Raw) -> object:
            self.begun += 1
            await self.event.wait()
            return None

        await worker.exchange(None, ask=answer)


def test_a_flood_of_one_tenants_code_leaves_a_worker_for_others(run: Any, shared: Sandbox) -> None:
    async def scenario() -> None:
        flood = Busy(shared, "ann", 12)
        await until(lambda: flood.begun == 3)
        for _ in range(3):
            bobs = await one_of(shared, "bob")
            assert msgspec.msgpack.decode(await bobs.exchange("hello")) == "hello"
            bobs.kill()
        assert flood.begun == 3
        flood.event.set()
        await asyncio.gather(*flood.tasks)
        assert flood.begun == 12

    run(scenario())


def test_a_worker_stays_while_another_tenant_wants_more_than_its_share(run: Any, shared: Sandbox) -> None:
    async def scenario() -> None:
        bobs = await one_of(shared, "bob")
        idle = [await one_of(shared, "ann") for _ in range(3)]
        await idle[0].exchange(None)
        newer = await one_of(shared, "ann")
        # Ann's own oldest went, although Bob's was idle for longer.
        assert [worker.alive for worker in (bobs, *idle, newer)] == [True, True, False, True, True]
        flood = Busy(shared, "ann", 6)
        await until(lambda: flood.begun == 3)
        assert bobs.alive
        assert msgspec.msgpack.decode(await bobs.exchange(1)) == 1
        assert bobs.alive  # it became idle while Ann's wait, who have more
        flood.event.set()
        await asyncio.gather(*flood.tasks)

    run(scenario())


def test_a_worker_that_nobody_used_for_long_makes_room_for_any(
    run: Any, shared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        old = [await one_of(shared, "bob"), await one_of(shared, "cem")]
        flood = Busy(shared, "ann", 3)
        await until(lambda: flood.begun == 2)
        assert all(worker.alive for worker in old)
        monkeypatch.setattr(pool, "KEPT_S", -1.0)
        extra = await one_of(shared, "ann")
        assert [worker.alive for worker in (*old, extra)] == [False, True, True]
        flood.event.set()
        extra.kill()
        await asyncio.gather(*flood.tasks)

    run(scenario())


class Repeated:
    """A worker of Ann that is asked again as soon as it has answered, until `ended`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.calls, self.ended, self.again = 0, False, asyncio.Event()
        self.worker: Worker | None = None
        self.task = asyncio.ensure_future(self._work(sandbox))

    async def _work(self, sandbox: Sandbox) -> None:
        self.worker = worker = await one_of(sandbox, "ann", ASK)

        async def answer(_question: msgspec.Raw) -> object:
            self.calls += 1
            await self.again.wait()
            self.again.clear()
            return None

        while worker.alive and not self.ended:
            await worker.exchange(None, ask=answer)


@pytest.mark.parametrize("wanted", [True, False])
def test_of_a_tenants_slow_workers_that_are_asked_again_one_goes_for_another_in_so_long(
    run: Any, shared: Sandbox, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    monkeypatch.setattr(pool, "SLOW_S", -1.0)
    monkeypatch.setattr(pool, "TURN_S", 1e6)

    async def scenario() -> None:
        held = [Repeated(shared) for _ in range(3)]
        await until(lambda: all(one.calls for one in held))
        waiting = [Repeated(shared) for _ in range(2)]
        await until(lambda: shared.turns.of("ann") == 2)
        # The first one goes at once, the second in turn: it is asked again before.
        held[0].again.set()
        await held[0].task
        held[1].ended = not wanted
        held[1].again.set()
        await until(lambda: sum(one.calls for one in waiting) == (1 if wanted else 2))
        if wanted:
            await until(lambda: held[1].calls == 2)
            assert shared.turns.of("ann") == 1
            # Another tenant does not wait for that.
            bobs = Busy(shared, "bob", 2)
            await until(lambda: shared.turns.of("bob") == 1)
            held[1].again.set()
            await held[1].task
            # It was the other one's turn, who waited before Bob; the next worker that answers goes for his.
            held[2].again.set()
            await until(lambda: bobs.begun == 2)
            bobs.event.set()
            await asyncio.gather(*bobs.tasks)
        for one in (*held, *waiting):
            one.task.cancel()
        await asyncio.gather(*(one.task for one in (*held, *waiting)), return_exceptions=True)

    run(scenario())


def test_processes_are_forked_for_tenants_in_turn(run: Any, shared: Sandbox) -> None:
    async def scenario() -> None:
        order = list[str]()

        async def one(tenant: str) -> Worker:
            return await shared.spawn(
                "probe",
                {"code": ECHO},
                PATIENT,
                identity=f"{tenant}/e",
                begun=lambda _: order.append(tenant),
            )

        forks = shared._source("probe", False).forks
        for _ in range(FORKS):
            await forks.take("carl")
        tasks = [asyncio.ensure_future(one(tenant)) for tenant in ("ann", "ann", "ann", "bob")]
        await until(lambda: forks.waiting("ann") + forks.waiting("bob") + len(order) == 4)
        assert order == []
        for _ in range(FORKS):
            forks.free("carl")
        for worker in await asyncio.gather(*tasks):
            worker.kill()
        assert order == ["ann", "bob", "ann", "ann"]

    run(scenario())
