"""A sandbox that starts with its first use, and those who wait for that when it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamsim.sandbox.host.lazy import LazySandbox
from streamsim.sandbox.host.pool import SandboxUnavailable
from streamsim.sandbox.limits import Limits
from tests.sandbox.host.conftest import ECHO


async def spawned(sandbox: LazySandbox) -> None:
    (await sandbox.spawn("probe", {"code": ECHO}, Limits(), identity="t/e")).kill()


def test_its_end_refuses_those_who_wait_for_its_start(run: Any) -> None:
    async def scenario() -> list[object]:
        sandbox = LazySandbox(workers=2)
        waiting = [asyncio.ensure_future(spawned(sandbox)) for _ in range(3)]
        await asyncio.sleep(0)
        await sandbox.close()
        waiting.append(asyncio.ensure_future(spawned(sandbox)))
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    found = run(scenario())
    assert [str(one) for one in found] == ["the sandbox is closed"] * 4
    assert {type(one) for one in found} == {SandboxUnavailable}


def test_who_leaves_before_it_has_started_does_not_end_it_for_others(run: Any) -> None:
    async def scenario() -> None:
        sandbox = LazySandbox(workers=2)
        leaver, other = (asyncio.ensure_future(spawned(sandbox)) for _ in range(2))
        await asyncio.sleep(0)
        leaver.cancel()
        await other
        with pytest.raises(asyncio.CancelledError):
            await leaver
        await sandbox.close()

    run(scenario())
