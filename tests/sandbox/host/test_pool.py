"""The pool against real sandboxed processes: each test gives the `probe` program code of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
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
from tests.sandbox.host.conftest import ASK, ECHO, LOOP, ROOM, ask_once, exists, probe, until

# Which processes there are, and what becomes of them, as the service starts them.
pytestmark = pytest.mark.usefixtures("executed")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def ancestors(pid: int) -> set[int]:
    return {pid} | (ancestors(parent(pid)) if pid > 1 else set())


def test_the_least_recently_used_idle_worker_makes_room(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        first, second, third = [await probe(sandbox, ECHO) for _ in range(ROOM)]
        await first.exchange(None)
        await third.exchange(None)
        fourth = await probe(sandbox, ECHO)
        assert [w.alive for w in (first, second, third, fourth)] == [True, False, True, True]

    run(scenario())


def test_a_busy_worker_is_never_ended_for_room(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        events = [asyncio.Event() for _ in range(ROOM)]
        workers = [await probe(sandbox, ASK) for _ in range(ROOM)]

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
        os.kill(sandbox.zygotes[-1], signal.SIGKILL)
        with pytest.raises(WorkerCrashed, match="because the sandbox did"):
            await task
        assert await ask_once(sandbox, ECHO) is None
        await until(lambda: not exists(worker.pid))

    run(scenario())


LOADED = """
import sys
def handle(request, channel):
    before = sorted({"numpy", "scipy.stats", "pandas"} & set(sys.modules))
    from scipy import stats
    return [before, float(stats.norm.cdf(0.0))]
"""


def test_plain_workers_begin_with_numpy_alone_and_import_what_else_they_are_asked_for(
    run: Any, sandbox: Sandbox
) -> None:
    async def scenario() -> list[Any]:
        answers = []
        for plain in (True, False):
            limits = Limits(wall_ms=30_000, cpu_ms=30_000)
            load = {"code": LOADED}
            worker = await sandbox.spawn("probe", load, limits, identity="t/e", plain=plain)
            answers.append(msgspec.msgpack.decode(await worker.exchange(None)))
        return answers

    assert run(scenario()) == [[["numpy"], 0.5], [["numpy", "scipy.stats"], 0.5]]


def test_a_program_that_needs_more_is_never_plain(run: Any, sandbox: Sandbox) -> None:
    async def started() -> list[int]:
        workers = [
            await sandbox.spawn(program, load, Limits(), identity="t/e", plain=True)
            for program, load in (("probe", {"code": ECHO}), ("figures", None))
        ]
        return [worker.pid for worker in workers]

    plain, full = sandbox.zygotes
    assert [ancestors(pid) & {plain, full} for pid in run(started())] == [{plain}, {full}]


def test_closing_ends_every_process(run: Any) -> None:
    async def scenario() -> None:
        sandbox = Sandbox()
        await sandbox.start()
        worker = await probe(sandbox, ECHO)
        busy = await probe(sandbox, LOOP)
        task = asyncio.ensure_future(busy.exchange(None))
        await until(lambda: busy.busy)
        pids = [worker.pid, busy.pid, *sandbox.zygotes]
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
