"""A worker: what it answers, how it is asked and bounded, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from streamsim.sandbox.host.pool import (
    AskRefused,
    Limits,
    ProgramFailed,
    ProtocolViolation,
    Sandbox,
    WorkerCrashed,
    WorkerDied,
    WorkerMemory,
    WorkerTimeout,
)
from tests.sandbox.host.conftest import ASK, ECHO, LOOP, SHORT, ask_once, exists, probe, until


def test_an_exchange_brings_back_the_programs_answer(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        worker = await probe(sandbox, ECHO)
        assert msgspec.msgpack.decode(worker.loaded) is True
        for request in (None, [1, 2.5, "ü"], {"a": [True, None]}, "x" * 3_000_000):
            assert msgspec.msgpack.decode(await worker.exchange(request)) == request
        assert worker.alive
        assert not worker.busy
        assert exists(worker.pid)

    run(scenario())


def test_live_workers_have_different_users_and_random_numbers(run: Any, sandbox: Sandbox) -> None:
    code = (
        "import os, random, numpy\n"
        "def handle(r, c): return [os.getuid(), random.random(), numpy.random.random()]"
    )

    async def scenario() -> None:
        one, other = await ask_once(sandbox, code), await ask_once(sandbox, code)
        if sandbox.report().uids[1]:
            assert one[0] != other[0]
        assert one[1] != other[1]
        assert one[2] != other[2]

    run(scenario())


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("import ctypes\ndef handle(r, c): ctypes.string_at(0)", WorkerCrashed, "(signal 11)"),
        ("import os\ndef handle(r, c): os._exit(0)", WorkerCrashed, "(exit code 0)"),
        ("import os\ndef handle(r, c): os._exit(7)", WorkerCrashed, "(exit code 7)"),
        ("import os\ndef handle(r, c): os._exit(65)", WorkerMemory, "ran out of memory"),
        ("import os, signal\ndef handle(r, c): os.kill(os.getpid(), 9)", ProgramFailed, "PermissionError"),
        ("import signal\ndef handle(r, c): signal.raise_signal(15)", WorkerCrashed, "(signal 15)"),
        ("import os, time\ndef handle(r, c):\n    os.close(3)\n    time.sleep(60)", WorkerCrashed, "closed"),
        ("import os\ndef handle(r, c): os.write(3, b'garbage' * 9)", ProtocolViolation, "protocol"),
        ("def handle(r, c): raise ValueError('so')", ProgramFailed, "ValueError: so"),
        ("def handle(r, c): return object()", ProgramFailed, "cannot be sent"),
        ("def handle(r, c): return 'x' * 5_000_000", ProgramFailed, "at most 4194304"),
        ("def handle(r, c): return [bytearray(1 << 20) for _ in range(9999)]", ProgramFailed, "Memory"),
        ("def handle(r, c): raise SystemExit", ProgramFailed, "SystemExit"),
        ("def handle(r, c): return c.ask(1)", ProtocolViolation, "a question"),
        ("def handle(r, c): c._report_s = -1; c.progress(2)", ProtocolViolation, "progress"),
    ],
)
def test_what_goes_wrong_is_told_by_its_kind(
    run: Any, sandbox: Sandbox, code: str, kind: type[Exception], text: str
) -> None:
    async def scenario() -> None:
        worker = await probe(sandbox, code)
        with pytest.raises(kind) as caught:
            await worker.exchange(None)
        assert text in str(caught.value)
        assert worker.alive == (kind is ProgramFailed)
        if worker.alive:
            return
        with pytest.raises(kind, match="^" + str(caught.value).replace("(", r"\(").replace(")", r"\)")):
            await worker.exchange(None)
        await until(lambda: not exists(worker.pid))
        assert await ask_once(sandbox, ECHO) is None

    run(scenario())


def test_a_program_that_does_not_load_leaves_no_worker(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        with pytest.raises(ProgramFailed) as caught:
            await probe(sandbox, "def (")
        assert caught.value.failure.type == "SyntaxError"
        with pytest.raises(WorkerTimeout):
            await probe(sandbox, "try:\n while True: pass\nexcept BaseException:\n while True: pass", SHORT)
        assert sandbox.workers == []

    run(scenario())


def test_a_worker_that_works_between_calls_is_ended(run: Any, sandbox: Sandbox) -> None:
    code = (
        "import _signal\n"
        "def spin(*_):\n"
        "    while True: pass\n"
        "def handle(request, channel):\n"
        "    _signal.signal(14, spin)\n"
        "    _signal.setitimer(0, 0.05)\n"
        "    return request\n"
    )

    async def scenario() -> None:
        quiet = await probe(sandbox, ECHO)
        await quiet.exchange(None)
        worker = await probe(sandbox, code)
        await worker.exchange(None)
        await until(lambda: not exists(worker.pid))
        with pytest.raises(WorkerCrashed, match="worked between calls"):
            await worker.exchange(None)
        assert quiet.alive

    run(scenario())


def test_a_call_that_works_long_is_not_taken_for_work_between_calls(run: Any, sandbox: Sandbox) -> None:
    code = (
        "import time\n"
        "def handle(request, channel):\n"
        "    until = time.process_time() + 0.4\n"
        "    while time.process_time() < until: pass\n"
    )

    async def scenario() -> None:
        worker = await probe(sandbox, code)
        call = asyncio.ensure_future(worker.exchange(None))
        await until(lambda: worker.busy)
        worker.sample()  # in the middle of it
        await call
        for _ in range(3):
            worker.sample()
        assert worker.alive

    run(scenario())


def test_a_worker_that_is_gone_before_the_zygote_tells_why_has_died(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        worker = await probe(sandbox, ECHO)
        assert worker._channel._transport is not None
        worker._channel._transport.abort()
        for _ in range(3):  # the loop closes the transport; then uvloop's raises when it is written to
            await asyncio.sleep(0)
        with pytest.raises(WorkerDied):
            await worker.exchange(None)

    run(scenario())


def test_a_call_that_does_not_end_is_killed(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        worker = await probe(sandbox, LOOP, SHORT)
        with pytest.raises(WorkerTimeout, match="longer than 800 ms"):
            await worker.exchange(None)
        await until(lambda: not exists(worker.pid))

    run(scenario())


def test_the_soft_limit_tells_the_line(run: Any, sandbox: Sandbox) -> None:
    code = (
        "from streamsim.sandbox.worker.failures import describe\n"
        "def handle(request, channel):\n"
        "    channel.clock.start()\n"
        "    try:\n"
        "        while True:\n"
        "            pass\n"
        "    except BaseException as error:\n"
        "        channel.clock.stop()\n"
        "        return describe(error, {'<probe>': 'get_action'})\n"
    )

    async def scenario() -> None:
        failure = await ask_once(sandbox, code, SHORT)
        assert failure["kind"] == "timeout"
        assert failure["piece"] == "get_action"
        assert failure["line"] in (5, 6)

    run(scenario())


def test_progress_gives_the_next_call_the_whole_limit(run: Any, sandbox: Sandbox) -> None:
    code = (
        "import time\n"
        "def handle(request, channel):\n"
        "    for number in range(1, 5):\n"
        "        time.sleep(0.3)\n"
        "        if request: channel.progress(number)\n"
    )

    async def scenario() -> None:
        worker = await probe(sandbox, code, SHORT)
        await worker.exchange(True, calls=4)
        with pytest.raises(WorkerTimeout):
            await worker.exchange(False, calls=4)

    run(scenario())


def test_questions_are_answered_and_their_time_does_not_count(run: Any, sandbox: Sandbox) -> None:
    code = (
        "import time\n"
        "def handle(request, channel):\n"
        "    answers = [channel.ask(n) for n in range(2)]\n"
        "    time.sleep(0.4)\n"
        "    return answers\n"
    )

    async def slowly(question: msgspec.Raw) -> object:
        await asyncio.sleep(0.25)
        return {"asked": msgspec.msgpack.decode(question)}

    async def scenario() -> None:
        # The code and its questions together take longer than the hard limit.
        assert await ask_once(sandbox, code, SHORT, ask=slowly) == [{"asked": n} for n in range(2)]

    run(scenario())


def test_all_questions_of_a_call_have_a_limit_of_their_own(run: Any, sandbox: Sandbox) -> None:
    async def slowly(_question: msgspec.Raw) -> object:
        await asyncio.sleep(0.1)
        return None

    async def scenario() -> None:
        with pytest.raises(WorkerTimeout, match="read from the store took longer than 800 ms"):
            await ask_once(sandbox, "def handle(r, c):\n    while True: c.ask(1)", SHORT, ask=slowly)

    run(scenario())


def test_a_call_is_over_with_its_worker_though_the_host_has_no_answer(run: Any, sandbox: Sandbox) -> None:
    async def never(_question: msgspec.Raw) -> object:
        return await asyncio.get_running_loop().create_future()

    async def scenario() -> None:
        with pytest.raises(WorkerTimeout, match="read from the store took longer than 800 ms"):
            await ask_once(sandbox, ASK, SHORT, ask=never)
        worker = await probe(sandbox, ASK)
        asked = asyncio.Event()

        async def held(question: msgspec.Raw) -> object:
            asked.set()
            return await never(question)

        call = asyncio.ensure_future(worker.exchange(None, ask=held))
        await asked.wait()
        worker.kill()
        with pytest.raises(WorkerCrashed, match="ended by the host"):
            await call

    run(scenario())


def test_a_refused_question_is_an_error_in_the_program_alone(run: Any, sandbox: Sandbox) -> None:
    async def refuse(_question: msgspec.Raw) -> object:
        raise AskRefused("no such experiment")

    async def much(_question: msgspec.Raw) -> object:
        return "x" * 5_000_000

    async def scenario() -> None:
        worker = await probe(sandbox, ASK)
        with pytest.raises(ProgramFailed, match="RuntimeError: no such experiment"):
            await worker.exchange(None, ask=refuse)
        with pytest.raises(ProgramFailed, match="larger than"):
            await worker.exchange(None, ask=much)
        assert worker.alive

    run(scenario())


@pytest.mark.parametrize("error", [ConnectionError("store is down"), TimeoutError("store does not answer")])
def test_a_host_that_cannot_answer_loses_the_worker(run: Any, sandbox: Sandbox, error: Exception) -> None:
    async def broken(_question: msgspec.Raw) -> object:
        raise error

    async def scenario() -> None:
        worker = await probe(sandbox, ASK)
        with pytest.raises(type(error), match=str(error)):
            await worker.exchange(None, ask=broken)
        assert not worker.alive

    run(scenario())


def test_questions_of_one_call_are_bounded(run: Any, sandbox: Sandbox) -> None:
    limits = Limits(asks=10)
    fair = "def handle(r, c):\n    for n in range(r): c.ask(n)\n    return 'ok'"
    unfair = "def handle(r, c):\n    while True:\n        c._budget = 9\n        c.ask(1)"

    async def answer(_question: msgspec.Raw) -> object:
        return None

    async def scenario() -> None:
        worker = await probe(sandbox, fair, limits)
        assert msgspec.msgpack.decode(await worker.exchange(10, ask=answer)) == "ok"
        with pytest.raises(ProgramFailed, match="at most 10 times"):
            await worker.exchange(11, ask=answer)
        with pytest.raises(ProtocolViolation):
            await ask_once(sandbox, unfair, limits, ask=answer)

    run(scenario())


def test_a_byte_from_an_idle_worker_ends_it(run: Any, sandbox: Sandbox) -> None:
    code = (
        "import os, signal\n"
        "def handle(request, channel):\n"
        "    signal.signal(signal.SIGALRM, lambda *_: os.write(3, b'x'))\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
    )

    async def scenario() -> None:
        worker = await probe(sandbox, code)
        await worker.exchange(None)
        await until(lambda: not worker.alive)
        with pytest.raises(ProtocolViolation, match="nothing to say"):
            await worker.exchange(None)

    run(scenario())


def test_a_cancelled_exchange_ends_its_worker(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        worker = await probe(sandbox, LOOP)
        task = asyncio.ensure_future(worker.exchange(None))
        await until(lambda: worker.busy)
        with pytest.raises(RuntimeError, match="one exchange"):
            await worker.exchange(None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not worker.alive

    run(scenario())


def test_a_request_that_is_too_large_reaches_no_worker(run: Any, sandbox: Sandbox) -> None:
    async def scenario() -> None:
        worker = await probe(sandbox, ECHO, Limits(frame_bytes=1000))
        with pytest.raises(ValueError, match="at most 1000"):
            await worker.exchange("x" * 1000)
        assert msgspec.msgpack.decode(await worker.exchange("y")) == "y"

    run(scenario())
