"""One call leaves nothing of the interpreter's state to the next, in a real worker."""

from __future__ import annotations

from typing import Any

import msgspec

from streamsim.sandbox.host.pool import Limits, Sandbox

LOOK = """
import decimal, gc, random, signal, sys, warnings
import numpy as np

def look():
    return [
        np.geterr(), np.get_printoptions()["precision"], np.getbufsize(), str(np.geterrcall()),
        [decimal.getcontext().prec, decimal.getcontext().rounding],
        sys.getrecursionlimit(), sys.gettrace() is None, sys.getprofile() is None,
        sys.getswitchinterval(), sys.get_int_max_str_digits(),
        [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
        [str(f) for f in warnings.filters],
        str(signal.getsignal(signal.SIGUSR1)), str(signal.getsignal(signal.SIGALRM))[:40],
        sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    ]

def handle(request, channel):
    if request == "look":
        return look()
    if request == "draw":
        return [random.random(), np.random.random()]
    exec(request, globals())
    if request.startswith("#"):
        return look()
    channel.reset()
"""

CHANGES = [
    "np.seterr(all='raise')",
    "np.seterrcall(lambda *_: None)",
    "np.setbufsize(16384)",
    "np.set_printoptions(precision=1)",
    "decimal.getcontext().prec = 3",
    "decimal.setcontext(decimal.Context(prec=5))",
    "sys.setrecursionlimit(333)",
    "sys.settrace(lambda *_: None)",
    "sys.setprofile(lambda *_: None)",
    "sys.setswitchinterval(1)",
    "sys.set_int_max_str_digits(0)",
    "gc.disable()",
    "gc.set_threshold(1, 1, 1)",
    "warnings.simplefilter('error')",
    "warnings.filterwarnings('ignore')",
    "warnings.resetwarnings()",
    "signal.signal(signal.SIGUSR1, lambda *_: None)",
    "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])",
]


def test_what_a_call_changes_is_put_back(run: Any) -> None:
    async def scenario() -> None:
        sandbox = Sandbox(workers=2)
        await sandbox.start()
        try:
            worker = await sandbox.spawn("probe", {"code": LOOK}, Limits(), identity="test")
            fresh = await worker.exchange("look")
            for change in CHANGES:
                changed = await worker.exchange("#\n" + change)
                assert changed != fresh, f"this changes nothing that the test sees: {change}"
                await worker.exchange(change)
                assert await worker.exchange("look") == fresh, change
            draws = set()
            for seeding in ("random.seed(1)", "random.setstate(random.getstate())"):
                for numpy_seeding in ("np.random.seed(1)", "np.random.set_state(np.random.get_state())"):
                    await worker.exchange(f"{seeding}; {numpy_seeding}")
                    draws |= {*msgspec.msgpack.decode(await worker.exchange("draw"))}
            assert len(draws) == 8
        finally:
            await sandbox.close()

    run(scenario())


def test_a_limit_works_again_after_the_code_took_it_away(run: Any) -> None:
    code = (
        "import signal\n"
        "def handle(request, channel):\n"
        "    if request: exec(request); channel.reset(); return\n"
        "    channel.clock.start()\n"
        "    try:\n"
        "        while True:\n"
        "            pass\n"
        "    except BaseException as error:\n"
        "        channel.clock.stop()\n"
        "        return type(error).__name__\n"
    )
    limits = Limits(cpu_ms=100, wall_ms=200, grace_ms=2000)

    async def scenario() -> None:
        sandbox = Sandbox(workers=2)
        await sandbox.start()
        try:
            worker = await sandbox.spawn("probe", {"code": code}, limits, identity="test")
            for attack in (
                "signal.setitimer(signal.ITIMER_REAL, 0)",
                "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
                "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))",
            ):
                await worker.exchange(attack)
                assert msgspec.msgpack.decode(await worker.exchange(None)) == "SoftTimeout"
        finally:
            await sandbox.close()

    run(scenario())
