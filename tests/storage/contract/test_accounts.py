"""Users, sessions, tokens and secrets."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from streamsim.storage.contract.accounts import LoginSession, User
from streamsim.storage.contract.errors import DuplicateName
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import HOUR, NOW, ODD_NAMES


def user(name: str = "ann", **changes: Any) -> User:
    return msgspec.structs.replace(
        User(name=name, password_hash=f"hash of {name}", created_ms=NOW), **changes
    )


def session(id: str = "s1", name: str = "ann", **changes: Any) -> LoginSession:
    one = LoginSession(id=id, user=name, kind="cookie", epoch=1, created_ms=NOW, expires_ms=NOW + HOUR)
    return msgspec.structs.replace(one, **changes)


async def listed(store: Store, kind: Any, name: str = "ann", now: int = NOW) -> list[str]:
    return [one.id for one in await store.accounts.list_sessions(name, kind, now)]


def test_users_are_stored_once_and_listed_by_name(run: Any, store: Store) -> None:
    async def body() -> None:
        assert await store.accounts.list_users(limit=9) == []
        assert await store.accounts.get_user("ann") is None
        names = ["ann", "Ann", *ODD_NAMES]
        for name in names:
            await store.accounts.create_user(user(name, admin=name == "Ann"))
        with pytest.raises(DuplicateName):
            await store.accounts.create_user(user("ann", password_hash="other"))
        assert await store.accounts.get_user("ann") == user("ann")
        assert await store.accounts.get_user("Ann") == user("Ann", admin=True)
        assert await store.accounts.get_user("an") is None
        pages: list[Any] = []
        after = ""
        while page := await store.accounts.list_users(limit=4, after=after):
            assert len(page) <= 4
            assert len(pages) <= len(names)
            pages += page
            after = page[-1].name
        assert pages == [user(name, admin=name == "Ann") for name in sorted(names)]
        assert pages == await store.accounts.list_users(limit=99)

    run(body())


def test_of_concurrent_creations_of_one_user_one_wins(run: Any, store: Store) -> None:
    async def body() -> None:
        many = [store.accounts.create_user(user("ann", password_hash=str(i))) for i in range(8)]
        outcomes = await asyncio.gather(*many, return_exceptions=True)
        assert [type(one) for one in outcomes if one is not None] == [DuplicateName] * 7
        (winner,) = [i for i, one in enumerate(outcomes) if one is None]
        assert await store.accounts.get_user("ann") == user("ann", password_hash=str(winner))

    run(body())


def test_a_session_is_live_until_it_expires(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.accounts.create_user(user())
        await store.accounts.add_session(session(label="é $ ."))
        assert await store.accounts.get_session("s1", NOW) == (session(label="é $ ."), user())
        assert await store.accounts.get_session("s1", NOW + HOUR - 1) is not None
        assert await store.accounts.get_session("s1", NOW + HOUR) is None
        assert await store.accounts.get_session("s", NOW) is None
        assert await listed(store, "cookie", now=NOW + HOUR - 1) == ["s1"]
        assert await listed(store, "cookie", now=NOW + HOUR) == []

    run(body())


def test_a_changed_password_ends_cookie_sessions_and_no_tokens(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.accounts.create_user(user())
        await store.accounts.create_user(user("bob"))
        await store.accounts.add_session(session("cookie"))
        await store.accounts.add_session(session("token", kind="token", label="ci"))
        await store.accounts.add_session(session("bobs", "bob"))
        assert await store.accounts.set_password("ann", "new hash")
        new = user(password_hash="new hash", session_epoch=2)
        assert await store.accounts.get_user("ann") == new
        assert await store.accounts.get_session("cookie", NOW) is None
        assert await store.accounts.get_session("token", NOW) == (
            session("token", kind="token", label="ci"),
            new,
        )
        assert await store.accounts.get_session("bobs", NOW) is not None
        assert (await listed(store, "cookie"), await listed(store, "token")) == ([], ["token"])
        await store.accounts.add_session(session("late"))
        assert await store.accounts.get_session("late", NOW) is None
        await store.accounts.add_session(session("next", epoch=2))
        assert await store.accounts.get_session("next", NOW) == (session("next", epoch=2), new)
        assert not await store.accounts.set_password("nobody", "hash")
        assert await store.accounts.get_user("nobody") is None

    run(body())


def test_sessions_are_listed_by_kind_and_user_oldest_first(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.accounts.create_user(user())
        await store.accounts.create_user(user("bob"))
        for i, id in enumerate("bac"):
            await store.accounts.add_session(session(id, created_ms=NOW + i))
            await store.accounts.add_session(session(f"t{id}", kind="token", created_ms=NOW - i))
        await store.accounts.add_session(session("other", "bob"))
        assert await listed(store, "cookie") == ["b", "a", "c"]
        assert await listed(store, "token") == ["tc", "ta", "tb"]
        assert await listed(store, "cookie", "nobody") == []
        assert (await store.accounts.list_sessions("bob", "cookie", NOW)) == [session("other", "bob")]

    run(body())


def test_only_its_user_removes_a_session(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.accounts.create_user(user())
        await store.accounts.create_user(user("bob"))
        await store.accounts.add_session(session("s1"))
        await store.accounts.add_session(session("s2"))
        assert not await store.accounts.remove_session("bob", "s1")
        assert not await store.accounts.remove_session("ann", "unknown")
        assert await store.accounts.remove_session("ann", "s1")
        assert not await store.accounts.remove_session("ann", "s1")
        assert await store.accounts.get_session("s1", NOW) is None
        assert await store.accounts.get_session("s2", NOW) is not None

    run(body())


def test_a_removed_user_takes_sessions_and_tokens_along(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.accounts.create_user(user())
        await store.accounts.create_user(user("bob"))
        for id, kind in (("c", "cookie"), ("t", "token")):
            await store.accounts.add_session(session(id, kind=kind))
        await store.accounts.add_session(session("bobs", "bob"))
        assert await store.accounts.remove_user("ann")
        assert not await store.accounts.remove_user("ann")
        assert await store.accounts.get_user("ann") is None
        await store.accounts.add_session(session("late"))
        await store.accounts.create_user(user(password_hash="another ann"))
        for id in ("c", "t", "late"):
            assert await store.accounts.get_session(id, NOW) is None
        assert await listed(store, "cookie") == await listed(store, "token") == []
        assert await store.accounts.get_session("bobs", NOW) is not None
        assert await store.decisions.get_experiment("e1") is not None

    run(body())


def test_forget_drops_expired_sessions_only(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.accounts.create_user(user())
        await store.accounts.add_session(session("short"))
        await store.accounts.add_session(session("long", expires_ms=NOW + 2 * HOUR))
        await store.forget(NOW + HOUR, 0, 100)
        assert await store.accounts.get_session("long", NOW) is not None
        assert await listed(store, "cookie", now=NOW + HOUR) == ["long"]

    run(body())


def test_a_secret_is_the_first_proposal_for_ever(run: Any, store: Store) -> None:
    async def body() -> None:
        proposals = [bytes([i]) * 32 for i in range(6)]
        found = set(await asyncio.gather(*(store.accounts.secret("cookie", one) for one in proposals)))
        (kept,) = found
        assert kept in proposals
        assert await store.accounts.secret("cookie", b"late") == kept
        assert await store.accounts.secret("other", bytes(range(256))) == bytes(range(256))

    run(body())
