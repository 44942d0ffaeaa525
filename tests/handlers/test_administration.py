"""Administration over HTTP: who has an account, who is logged in, what the server is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamsim.config import Settings
from streamsim.sandbox.host.pool import Sandbox
from tests.application import Caller, Clock

HOUR_MS = 3_600_000


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_an_administrator_lists_all_users_page_by_page(admin: Caller, ann: Caller, bob: Caller) -> None:
    whole = (await admin.get("/users")).body["users"]
    assert [(one["name"], one["admin"]) for one in whole] == [("ann", False), ("bob", False), ("root", True)]
    first = await admin.get("/users", limit=2)
    assert first.body["users"] == whole[:2]
    assert 'after=bob>; rel="next"' in first.headers["link"]
    last = await admin.get("/users", limit=2, after="bob")
    assert last.body["users"] == whole[2:]
    assert "link" not in last.headers
    assert (await ann.get("/users")).status == 401


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_sessions_and_tokens_are_listed_newest_first_without_their_secrets(
    ann: Caller, caller: Callable[[], Caller], clock: Clock
) -> None:
    clock.ahead_ms += 1000
    token = (await ann.post("/user/token", {"label": "shop"})).body
    clock.ahead_ms += 1000
    other = caller()
    await other.log_in("ann")
    listed = (await ann.get("/users/ann/sessions")).body["sessions"]
    assert [(one["kind"], one["label"], one["current"]) for one in listed] == [
        ("login", "", False),
        ("token", "shop", False),
        ("login", "", True),
    ]
    assert listed[1]["id"] == token["id"]
    assert token["token"] not in str(listed)
    ann.token = token["token"]
    listed = (await ann.get("/users/ann/sessions")).body["sessions"]
    assert [one["current"] for one in listed] == [False, True, False]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_an_ended_session_is_refused_at_once_and_no_other_is(
    ann: Caller, admin: Caller, caller: Callable[[], Caller]
) -> None:
    other = caller()
    await other.log_in("ann")
    (theirs,) = (
        one["id"] for one in (await other.get("/users/ann/sessions")).body["sessions"] if one["current"]
    )
    assert (await admin.delete(f"/users/ann/sessions/{theirs}")).status == 200
    assert (await other.get("/exp")).status == 401
    assert (await ann.get("/exp")).status == 200
    assert (await admin.delete(f"/users/ann/sessions/{theirs}")).status == 404


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_one_ends_sessions_of_oneself_alone(ann: Caller, bob: Caller) -> None:
    (bobs,) = (await bob.get("/users/bob/sessions")).body["sessions"]
    assert (await ann.get("/users/bob/sessions")).status == 401
    # Nor under one's own name, and who is no user is told as who is.
    assert (await ann.delete(f"/users/ann/sessions/{bobs['id']}")).status == 404
    assert (await ann.delete(f"/users/bob/sessions/{bobs['id']}")).status == 401
    assert (await ann.get("/users/nobody-of-this-name/sessions")).status == 401
    assert (await bob.get("/exp")).status == 200
    assert (await bob.delete(f"/users/bob/sessions/{bobs['id']}")).status == 200
    assert (await bob.get("/exp")).status == 401


@pytest.mark.gen_test
async def test_sessions_that_ended_by_themselves_are_not_listed(
    admin: Caller, ann: Caller, settings: Settings, clock: Clock
) -> None:
    clock.ahead_ms += settings.login.session_hours * HOUR_MS + 1000
    await admin.log_in("root")
    assert (await admin.get("/users/ann/sessions")).body == {"sessions": []}
    assert (await admin.get("/users/nobody-of-this-name/sessions")).status == 404


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_an_administrator_sees_what_the_server_is(
    admin: Caller, ann: Caller, sandbox: Sandbox, settings: Settings
) -> None:
    shown = (await admin.get("/server")).body
    assert shown["store"]["kind"] in ("sqlite", "production")
    assert shown["sandbox"]["landlock"] == sandbox.report().landlock
    limits = {one["name"]: one["value"] for one in shown["limits"]}
    assert limits["sandbox.cpu_ms"] == settings.sandbox.cpu_ms
    assert limits["server.debug"] is settings.server.debug
    assert all(one["meaning"] for one in shown["limits"])
    assert (await ann.get("/server")).status == 401


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"webhooks.allow": ["secret-of-ours.example.com"]}], indirect=True)
async def test_what_the_server_is_holds_no_text_of_the_settings(admin: Caller) -> None:
    assert "secret-of-ours" not in str((await admin.get("/server")).body)
