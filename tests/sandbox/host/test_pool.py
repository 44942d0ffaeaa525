"""The pool against real sandboxed processes: each test gives the `probe` program code of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import msgspec
import pytest

from streamsim.sandbox.host.pool import (
    Limits,
    Sandbox,
    SandboxUnavailable,
    WorkerCrashed,
    WorkerDied,
    WorkerMemory,
)
from streamsim.sandbox.zygote import main as zygote
from tests.patience import PATIENCE_S
from tests.sandbox.host.conftest import ECHO, LOOP, ROOM, ask_once, exists, probe, until


def test_the_least_recently_used_idle_worker_makes_room(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        first, second, third = [await probe(sandbox, ECHO) for _ in range(ROOM)]
        await first.exchange(None)
        await third.exchange(None)
        fourth = await probe(sandbox, ECHO)
        assert [w.alive for w in (first, second, third, fourth)] == [True, False, True, True]

    run(scenario())


def test_a_busy_worker_is_never_ended_for_room(run: Any, sandbox: Sandbox) -> None:
    code = "def handle(request, channel): return channel.ask(1)"

    async def scenario() -> None:
        events = [asyncio.Event() for _ in range(ROOM)]
        workers = [await probe(sandbox, code) for _ in range(ROOM)]

        def held(event: asyncio.Event) -> Any:
            async def answer(_question: msgspec.Raw) -> object:
                await event.wait()
                return "late"

            return answer

        tasks = [
            asyncio.ensure_future(worker.exchange(None, ask=held(event)))
            for worker, event in zip(workers, events, strict=True)
        ]
        await until(lambda: all(worker.busy for worker in workers))
        newcomer = asyncio.ensure_future(ask_once(sandbox, ECHO))
        await until(lambda: len(sandbox.turns) == 1)
        events[1].set()
        assert msgspec.msgpack.decode(await tasks[1]) == "late"
        assert await newcomer is None
        assert [worker.alive for worker in workers] == [True, False, True]
        for event in events:
            event.set()
        assert [msgspec.msgpack.decode(await task) for task in tasks] == ["late"] * ROOM

    run(scenario())


def test_memory_is_measured_and_too_much_of_it_ends_the_worker(run: Any, sandbox: Sandbox) -> None:
    code = "kept = []\ndef handle(request, channel): kept.append(b'x' * request)"

    async def scenario() -> None:
        worker = await probe(sandbox, code)
        await worker.exchange(32 << 20)
        assert 32 << 20 <= worker.memory_bytes() < 64 << 20
        # As if the kernel's own limit had not held.
        worker._limits = Limits(memory_bytes=16 << 20)

        async def keep_using() -> None:  # an idle worker is looked at once
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await worker.exchange(0)

        with pytest.raises(WorkerMemory, match="16 MiB"):
            await keep_using()

    run(scenario())


def test_a_dead_zygote_is_replaced(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        worker = await probe(sandbox, LOOP)
        task = asyncio.ensure_future(worker.exchange(None))
        await until(lambda: worker.busy)
        assert sandbox._zygote is not None
        os.kill(sandbox._zygote.pid, signal.SIGKILL)
        with pytest.raises(WorkerCrashed, match="because the sandbox did"):
            await task
        assert await ask_once(sandbox, ECHO) is None
        await until(lambda: not exists(worker.pid))

    run(scenario())


def test_closing_ends_every_process(run: Any) -> None:
    async def scenario() -> None:
        sandbox = Sandbox()
        await sandbox.start()
        worker = await probe(sandbox, ECHO)
        busy = await probe(sandbox, LOOP)
        task = asyncio.ensure_future(busy.exchange(None))
        await until(lambda: busy.busy)
        assert sandbox._zygote is not None
        pids = [worker.pid, busy.pid, sandbox._zygote.pid]
        await sandbox.close()
        with pytest.raises(WorkerDied):
            await task
        with pytest.raises(SandboxUnavailable):
            await probe(sandbox, ECHO)
        await until(lambda: not any(exists(pid) for pid in pids))

    run(scenario())


def test_a_zygote_that_does_not_start_is_told(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "command", lambda *_: (["/bin/false"], {}))

    async def scenario() -> None:
        with pytest.raises(SandboxUnavailable, match="did not start"):
            await Sandbox().start()

    run(scenario())
