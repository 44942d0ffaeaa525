"""Code is compiled in processes that a tenant keeps for a while, and in which none of it runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamsim.decisions import checks
from streamsim.decisions.checks import Checks
from streamsim.errors import BadRequest, TooManyRequests
from streamsim.sandbox.host.pool import Sandbox
from tests.decisions.conftest import LIMITS

GOOD = {"get_context": "", "get_action": "import os\nos._exit(3)", "get_reward": "", "set_reward": "a = 1"}

Run = Callable[..., Any]


@pytest.fixture
def checked(sandbox: Sandbox, run: Run) -> Iterator[Checks]:
    async def close() -> None:
        made.close()

    made = Checks(sandbox, LIMITS)
    yield made
    run(close())


def processes(sandbox: Sandbox, tenant: str) -> list[int]:
    return [worker.pid for worker in sandbox.workers if worker.identity == f"{tenant}/check"]


def test_a_tenants_checks_share_a_process_and_tenants_share_none(
    checked: Checks, sandbox: Sandbox, run: Run
) -> None:
    run(checked.compile("ann", GOOD))
    (first,) = processes(sandbox, "ann")
    with pytest.raises(BadRequest) as caught:
        run(checked.compile("ann", GOOD | {"get_reward": "a = 1\nif:\n"}))
    assert (caught.value.field, caught.value.detail["line"]) == ("get_reward", 2)
    run(checked.compile("ann", GOOD))
    assert processes(sandbox, "ann") == [first]
    run(checked.compile("bob", GOOD))
    (other,) = processes(sandbox, "bob")
    assert other != first


def test_a_process_that_was_ended_is_replaced(checked: Checks, sandbox: Sandbox, run: Run) -> None:
    async def ended() -> None:
        # As the sandbox does with an idle one when somebody needs its place.
        next(worker for worker in sandbox.workers if worker.identity == "ann/check").kill()

    run(checked.compile("ann", GOOD))
    first = processes(sandbox, "ann")
    run(ended())
    run(checked.compile("ann", GOOD))
    assert len(first) == 1
    assert not set(first) & set(processes(sandbox, "ann"))


def test_code_that_takes_too_much_to_compile_is_refused_and_what_comes_after_it_is_not(
    checked: Checks, run: Run
) -> None:
    with pytest.raises(BadRequest, match="memory"):
        run(checked.compile("ann", GOOD | {"get_action": "a = [" + "[1], " * 500_000 + "]"}))
    run(checked.compile("ann", GOOD))


def test_a_process_ends_when_no_check_has_come_for_a_while(
    checked: Checks, sandbox: Sandbox, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ends() -> None:
        await checked.compile("ann", GOOD)
        gone = asyncio.Event()
        process = os.pidfd_open(processes(sandbox, "ann")[0])
        asyncio.get_running_loop().add_reader(process, gone.set)
        await gone.wait()
        asyncio.get_running_loop().remove_reader(process)
        os.close(process)

    monkeypatch.setattr(checks, "KEPT_S", 0.05)
    run(asyncio.wait_for(ends(), 30))


def test_more_than_may_wait_are_refused(checked: Checks, run: Run) -> None:
    async def many() -> list[BaseException | None]:
        waiting = [checked.compile("ann", GOOD) for _ in range(checks.WAITING + 2)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    ends = run(many())
    assert [type(end) for end in ends] == [type(None)] * (checks.WAITING + 1) + [TooManyRequests]
