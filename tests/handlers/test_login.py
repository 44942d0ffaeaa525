"""Login and logout: sessions, limits on attempts, and what an attacker may learn from answers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import bcrypt
import pytest

from streamsim.accounts import accounts
from streamsim.config import Settings
from tests.application import PASSWORD, Caller, Clock
from tests.backends import dump


@pytest.mark.gen_test
async def test_login_sets_a_signed_cookie_that_scripts_cannot_read(ann: Caller, nobody: Caller) -> None:
    answer = await nobody.log_in("ann")
    assert answer.status == 200
    assert answer.body == {"status": "success", "username": "ann", "admin": False}
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("user=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie  # plain http, login.cookie_secure is auto
    assert (await nobody.get("/exp")).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("settings", "forwarded", "secure"),
    [
        ({"server.trusted_proxies": ["127.0.0.1"]}, "https", True),
        ({"server.trusted_proxies": ["127.0.0.1"]}, "http", False),
        ({"server.trusted_proxies": ["10.0.0.0/8"]}, "https", False),
        ({"login.cookie_secure": "always"}, "http", True),
        ({"login.cookie_secure": "never", "server.trusted_proxies": ["127.0.0.1"]}, "https", False),
    ],
    indirect=["settings"],
)
async def test_cookie_is_secure_behind_tls(ann: Caller, nobody: Caller, forwarded: str, secure: bool) -> None:
    body = {"username": "ann", "password": PASSWORD}
    answer = await nobody.request("POST", "/login", body=body, headers={"X-Forwarded-Proto": forwarded})
    assert ("Secure" in answer.headers["set-cookie"]) == secure


@pytest.mark.gen_test
async def test_wrong_password_and_unknown_user_get_the_same_answer(ann: Caller, nobody: Caller) -> None:
    wrong = await nobody.log_in("ann", "not her password")
    unknown = await nobody.log_in("nobody-of-this-name", "not her password")
    impossible = await nobody.log_in("../not a name", "not her password")
    assert wrong.status == unknown.status == impossible.status == 401
    assert wrong.body == unknown.body == impossible.body
    assert "set-cookie" not in wrong.headers


@pytest.mark.gen_test
async def test_unknown_user_costs_one_hash_of_the_same_cost(
    ann: Caller, nobody: Caller, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[bytes] = []
    checkpw = bcrypt.checkpw

    def check(password: bytes, hashed: bytes) -> bool:
        checked.append(hashed)
        return checkpw(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", check)
    for name in ("ann", "unknown", "../not a name"):
        assert (await nobody.log_in(name, "not the password")).status == 401
    costs = [hashed.split(b"$")[2] for hashed in checked]
    assert costs == [b"%02d" % settings.login.bcrypt_rounds] * 3


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "username"),
        ({"username": "ann"}, "password"),
        ({"username": 3, "password": PASSWORD}, "username"),
        ({"username": "ann", "password": None}, "password"),
        ({"username": "ann", "password": "x" * 73}, "password"),
        ({"username": "ann", "password": "ä" * 37}, "password"),
        ({"username": "ann", "password": PASSWORD, "remember": True}, "remember"),
        (b"username=ann&password=x", "body"),
        (b"", "body"),
        (b"[]", "body"),
        (b'{"username": "\xff"}', "body"),
    ],
)
async def test_malformed_login_names_the_field(nobody: Caller, body: object, field: str) -> None:
    answer = await nobody.post("/login", body)
    assert answer.status == 400
    assert answer.body["error"]["field"] == field


@pytest.mark.gen_test
async def test_password_of_72_bytes_works_and_longer_ones_are_not_cut(admin: Caller, nobody: Caller) -> None:
    longest = "ä" * 36
    assert (await admin.post("/user", {"username": "eve", "password": longest})).status == 200
    assert (await nobody.log_in("eve", longest)).status == 200
    assert (await nobody.log_in("eve", longest[:-1])).status == 401
    refused = await nobody.log_in("eve", longest + "x")
    assert refused.status == 400
    assert "72" in refused.body["error"]["message"]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_attempts_on_a_user_are_limited(
    ann: Caller, bob: Caller, nobody: Caller, clock: Clock, settings: Settings
) -> None:
    for _ in range(settings.login.attempts):
        assert (await nobody.log_in("ann", "wrong")).status == 401
    refused = await nobody.log_in("ann")  # the right one, too late
    assert refused.status == 429
    assert refused.body["error"]["code"] == "too_many_requests"
    assert 0 < int(refused.headers["retry-after"]) <= settings.login.window_s
    assert (await nobody.log_in("bob")).status == 200
    clock.ahead_ms = settings.login.window_s * 1000
    assert (await nobody.log_in("ann")).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"server.trusted_proxies": ["127.0.0.1"]}], indirect=True)
async def test_nobody_locks_a_user_out_for_others(
    ann: Caller, caller: Callable[[], Caller], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def slept(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(accounts, "pause", slept)

    def attempt(who: Caller, address: str, password: str = "wrong") -> Awaitable[Any]:
        body = {"username": "ann", "password": password}
        return who.request("POST", "/login", body=body, headers={"X-Forwarded-For": address})

    attacker, own, elsewhere = caller(), ann, caller()
    for number in range(3):
        for _ in range(settings.login.attempts):
            assert (await attempt(attacker, f"10.0.0.{number}")).status == 401
        assert (await attempt(attacker, f"10.0.0.{number}")).status == 429
    # Each attempt over the limit of the user waits longer than the last one.
    assert pauses == sorted(pauses)
    assert len(pauses) == 2 * settings.login.attempts
    assert 0 < pauses[0] < pauses[-1] == accounts.SLOWEST_S
    # Sessions go on, another address gets in, if slowly, and a device that logged in before at once.
    assert (await own.get("/exp")).status == 200
    assert (await attempt(elsewhere, "10.0.0.9", PASSWORD)).status == 200
    before = len(pauses)
    assert (await attempt(own, "10.0.0.0", PASSWORD)).status == 200
    assert len(pauses) == before
    # Such a device is counted by itself.
    for _ in range(settings.login.attempts):
        assert (await attempt(own, "10.0.0.7")).status == 401
    assert (await attempt(own, "10.0.0.7")).status == 429


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_success_starts_the_count_of_attempts_anew(
    ann: Caller, nobody: Caller, settings: Settings
) -> None:
    for _ in range(3):
        for _ in range(settings.login.attempts - 1):
            assert (await nobody.log_in("ann", "wrong")).status == 401
        assert (await nobody.log_in("ann")).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"login.address_attempts": 6}], indirect=True)
async def test_attempts_from_an_address_are_limited(ann: Caller, nobody: Caller) -> None:
    # ann's own login was the first of six
    statuses = [(await nobody.log_in(f"guess{n}", "wrong")).status for n in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    # Nobody's word about another address is believed.
    spoofed = await nobody.request(
        "POST",
        "/login",
        body={"username": "ann", "password": PASSWORD},
        headers={"X-Forwarded-For": "1.2.3.4", "X-Real-Ip": "1.2.3.4"},
    )
    assert spoofed.status == 429


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "settings",
    [{"login.address_attempts": 3, "server.trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}],
    indirect=True,
)
async def test_address_behind_trusted_proxies_is_the_one_they_saw(nobody: Caller) -> None:
    async def attempt(forwarded: str) -> int:
        body = {"username": "guess", "password": "wrong"}
        headers = {"X-Forwarded-For": forwarded}
        return (await nobody.request("POST", "/login", body=body, headers=headers)).status

    # The client chose the first part; the proxies added the others.
    assert [await attempt(f"9.9.9.{n}, 5.6.7.8, 10.1.1.1") for n in range(4)] == [401, 401, 401, 429]
    assert await attempt("5.6.7.9") == 401


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_logout_ends_the_session_on_the_server(ann: Caller, caller: Callable[[], Caller]) -> None:
    thief = caller()
    thief.cookies = dict(ann.cookies)
    assert (await thief.get("/exp")).status == 200
    answer = await ann.get("/LogOut")
    assert answer.status == 200
    assert ann.cookies.keys() == {"device"}
    assert (await thief.get("/exp")).status == 401
    assert (await caller().get("/logout")).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_logout_ends_one_session_only(ann: Caller, nobody: Caller) -> None:
    await nobody.log_in("ann")
    assert (await ann.get("/logout")).status == 200
    assert (await nobody.get("/exp")).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_session_ends_after_session_hours(ann: Caller, clock: Clock, settings: Settings) -> None:
    clock.ahead_ms = settings.login.session_hours * 3_600_000 - 60_000
    assert (await ann.get("/exp")).status == 200
    clock.ahead_ms += 61_000
    assert (await ann.get("/exp")).status == 401


@pytest.mark.gen_test
async def test_cookie_that_was_tampered_with_is_refused(ann: Caller) -> None:
    whole = ann.cookies["user"]
    for at in (len(whole) // 2, len(whole) - 1):
        ann.cookies["user"] = whole[:at] + ("1" if whole[at] == "0" else "0") + whole[at + 1 :]
        assert (await ann.get("/exp")).status == 401


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_what_is_stored_logs_nobody_in(ann: Caller, nobody: Caller, settings: Settings) -> None:
    stored = dump(settings)
    assert ann.name in stored
    secret = (await ann.post("/user/token", {})).body["token"]
    assert PASSWORD not in stored
    assert secret not in stored
    session = base64.b64decode(ann.cookies["user"].split("|")[-2].partition(":")[2]).decode()
    assert len(session) == len(secret)
    assert session not in stored
    # Neither does what a cookie is made of, once it is taken out of its signature.
    for made_up in (hashlib.sha256(secret.encode()).hexdigest(), session):
        nobody.token = made_up
        assert (await nobody.get("/exp")).status == 401


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"login.queue": 2, "login.threads": 1}], indirect=True)
async def test_password_checks_leave_the_server_free_and_their_queue_is_bounded(
    ann: Caller, caller: Callable[[], Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    checkpw = bcrypt.checkpw

    def slow(password: bytes, hashed: bytes) -> bool:
        go_on.wait(10)
        return checkpw(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", slow)
    logins = [asyncio.ensure_future(caller().log_in(name)) for name in ("ann", "bob", "carl")]
    done, waiting = await asyncio.wait(logins, return_when=asyncio.FIRST_COMPLETED)
    refused = done.pop().result()
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert (await ann.get("/exp")).status == 200  # while both checks are under way
    go_on.set()
    assert {(await login).status for login in waiting} <= {200, 401}
