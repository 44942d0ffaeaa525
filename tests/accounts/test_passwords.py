"""Passwords are checked in threads, which end with the server."""

from __future__ import annotations

import asyncio
from typing import Any

from streamsim.accounts.passwords import Passwords
from streamsim.config.settings import LoginSettings
from streamsim.errors import Unavailable


def test_the_end_refuses_those_who_wait_and_those_who_come(run: Any) -> None:
    async def scenario() -> list[object]:
        passwords = Passwords(LoginSettings(bcrypt_rounds=8, threads=1))
        waiting = [asyncio.ensure_future(passwords.verify("a password", None)) for _ in range(5)]
        await asyncio.sleep(0)
        passwords.close()
        waiting.append(asyncio.ensure_future(passwords.verify("a password", None)))
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    under_way, *others = run(scenario())
    assert under_way is False
    assert {(type(one), str(one)) for one in others} == {(Unavailable, "the server is ending")}


def test_who_leaves_is_cancelled_and_not_refused(run: Any) -> None:
    async def scenario() -> object:
        passwords = Passwords(LoginSettings(bcrypt_rounds=4, threads=1))
        checking = asyncio.ensure_future(passwords.verify("a password", None))
        await asyncio.sleep(0)
        checking.cancel()
        passwords.close()
        return (await asyncio.gather(checking, return_exceptions=True))[0]

    assert isinstance(run(scenario()), asyncio.CancelledError)
