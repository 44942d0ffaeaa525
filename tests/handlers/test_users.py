"""Accounts over HTTP: adding users, changing passwords, bearer tokens."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from streamsim.config import Settings
from streamsim.services import Services
from tests.application import PASSWORD, Caller, Clock

DAY_MS = 86_400_000


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_admin_adds_a_user_who_can_log_in_and_is_no_admin(admin: Caller, nobody: Caller) -> None:
    answer = await admin.post("/user", {"username": "eve", "password": PASSWORD})
    assert (answer.status, answer.body) == (200, {"status": "success"})
    assert (await nobody.log_in("eve")).body["admin"] is False
    assert (await nobody.post("/user", {"username": "eve2", "password": PASSWORD})).status == 401


@pytest.mark.gen_test
async def test_only_an_admin_adds_users(ann: Caller, nobody: Caller) -> None:
    for client in (ann, nobody):
        answer = await client.post("/user", {"username": "eve", "password": PASSWORD})
        assert answer.status == 401
        assert answer.body["error"]["code"] == "unauthorized"
    assert (await nobody.log_in("eve")).status == 401


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_duplicate_username_is_400_and_changes_nothing(
    admin: Caller, ann: Caller, nobody: Caller
) -> None:
    answer = await admin.post("/user", {"username": "ann", "password": "another password"})
    assert answer.status == 400
    assert answer.body["error"]["field"] == "username"
    assert (await nobody.log_in("ann")).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"password": PASSWORD}, "username"),
        ({"username": "eve"}, "password"),
        ({"username": "", "password": PASSWORD}, "username"),
        ({"username": "a" * 255, "password": PASSWORD}, "username"),
        ({"username": "../eve", "password": PASSWORD}, "username"),
        ({"username": "e{v}e", "password": PASSWORD}, "username"),
        ({"username": "eve\n", "password": PASSWORD}, "username"),
        ({"username": "..", "password": PASSWORD}, "username"),
        ({"username": "émile", "password": PASSWORD}, "username"),
        ({"username": 7, "password": PASSWORD}, "username"),
        ({"username": "eve", "password": "short"}, "password"),
        ({"username": "eve", "password": "x" * 73}, "password"),
        ({"username": "eve", "password": 12345678}, "password"),
        ({"username": "eve", "password": PASSWORD, "admin": True}, "admin"),
    ],
)
async def test_malformed_user_names_the_field(admin: Caller, body: object, field: str) -> None:
    answer = await admin.post("/user", body)
    assert answer.status == 400
    assert answer.body["error"]["field"] == field


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_changed_password_ends_every_login_session_but_no_token(
    ann: Caller, caller: Callable[[], Caller]
) -> None:
    other, token = caller(), caller()
    await other.log_in("ann")
    token.token = (await ann.post("/user/token", {})).body["token"]
    body = {"old_password": PASSWORD, "new_password": "a better password"}
    assert (await ann.put("/user/password", body)).status == 200
    assert (await ann.get("/exp")).status == (await other.get("/exp")).status == 401
    assert (await token.get("/exp")).status == 200
    assert (await other.log_in("ann", PASSWORD)).status == 401
    assert (await other.log_in("ann", "a better password")).status == 200
    assert (await other.get("/exp")).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"old_password": "wrong", "new_password": "a better password"}, 401, "old_password"),
        ({"old_password": PASSWORD, "new_password": "short"}, 400, "new_password"),
        ({"old_password": PASSWORD, "new_password": "x" * 73}, 400, "new_password"),
        ({"old_password": PASSWORD}, 400, "new_password"),
        ({"new_password": "a better password"}, 400, "old_password"),
        ({"old_password": None, "new_password": "a better password"}, 400, "old_password"),
    ],
)
async def test_refused_password_change_changes_nothing(
    ann: Caller, nobody: Caller, body: object, status: int, field: str
) -> None:
    answer = await ann.put("/user/password", body)
    assert answer.status == status
    assert answer.body["error"]["field"] == field
    assert (await ann.get("/exp")).status == 200
    assert (await nobody.log_in("ann")).status == 200


@pytest.mark.gen_test
async def test_old_password_cannot_be_guessed_with_a_session(ann: Caller, settings: Settings) -> None:
    body = {"old_password": "guess", "new_password": "a better password"}
    statuses = [(await ann.put("/user/password", body)).status for _ in range(settings.login.attempts + 1)]
    assert statuses == [401] * settings.login.attempts + [429]


@pytest.mark.gen_test
async def test_token_works_wherever_the_cookie_does(ann: Caller, nobody: Caller) -> None:
    created = (await ann.post("/user/token", {"label": "nightly job", "days": 30})).body
    assert created.keys() == {"id", "label", "token", "created", "expires"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created["expires"])
    nobody.token = created["token"]
    experiment = await nobody.experiment()
    assert (await ann.get("/exp")).body == {experiment["id"]: experiment["name"]}
    assert (await nobody.get(f"/stats/{experiment['id']}/summary")).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_token_is_listed_without_its_secret_and_ends_when_revoked(ann: Caller, nobody: Caller) -> None:
    first = (await ann.post("/user/token", {"label": "one"})).body
    second = (await ann.post("/user/token", {"label": "two"})).body
    listed = (await ann.get("/user/token")).body["tokens"]
    assert [token["label"] for token in listed] == ["one", "two"]
    assert not any("token" in token for token in listed)
    assert first["token"] not in str(listed)
    nobody.token = first["token"]
    assert (await ann.delete(f"/user/token/{first['id']}")).status == 200
    assert (await nobody.get("/exp")).status == 401
    nobody.token = second["token"]
    assert (await nobody.get("/exp")).status == 200
    assert (await ann.delete(f"/user/token/{first['id']}")).status == 404


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_token_of_another_user_can_be_neither_seen_nor_revoked(ann: Caller, bob: Caller) -> None:
    token = (await ann.post("/user/token", {})).body
    assert (await bob.get("/user/token")).body == {"tokens": []}
    assert (await bob.delete(f"/user/token/{token['id']}")).status == 404
    bob.token = token["token"]
    assert (await bob.get("/exp")).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_token_ends_after_its_days(ann: Caller, nobody: Caller, clock: Clock) -> None:
    nobody.token = (await ann.post("/user/token", {"days": 2})).body["token"]
    clock.ahead_ms = 2 * DAY_MS - 60_000
    assert (await nobody.get("/exp")).status == 200
    clock.ahead_ms = 2 * DAY_MS + 1000
    assert (await nobody.get("/exp")).status == 401


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"days": 0}, "days"),
        ({"days": 366}, "days"),
        ({"days": "7"}, "days"),
        ({"days": True}, "days"),
        ({"label": 5}, "label"),
        ({"label": "x" * 101}, "label"),
        ({"scope": "all"}, "scope"),
    ],
)
async def test_malformed_token_request_names_the_field(ann: Caller, body: object, field: str) -> None:
    answer = await ann.post("/user/token", body)
    assert answer.status == 400
    assert answer.body["error"]["field"] == field


@pytest.mark.gen_test
async def test_bad_token_is_refused_although_there_is_a_good_cookie(ann: Caller) -> None:
    for token in ("", "made-up", "\x80", "a b"):
        ann.token = token
        assert (await ann.get("/exp")).status == 401
    answer = await ann.request("GET", "/exp", headers={"Authorization": "Basic YTpi"})
    assert answer.status == 200  # another scheme, e.g. a proxy's, leaves the cookie in force


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_token_that_a_token_makes_does_not_outlive_it(
    ann: Caller, nobody: Caller, clock: Clock
) -> None:
    clock.step_ms = 1000
    parent = (await ann.post("/user/token", {"days": 1})).body
    nobody.token = parent["token"]
    child = (await nobody.post("/user/token", {"days": 365})).body
    assert child["expires"] <= parent["expires"]
    assert (await ann.post("/user/token", {"days": 365})).body["expires"] > parent["expires"]


@pytest.mark.gen_test
async def test_a_user_has_a_hundred_tokens_at_most(ann: Caller) -> None:
    made = [await ann.post("/user/token", {}) for _ in range(101)]
    assert [answer.status for answer in made] == [200] * 100 + [409]
    assert (await ann.delete(f"/user/token/{made[0].body['id']}")).status == 200
    assert (await ann.post("/user/token", {})).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_logging_out_ends_the_session(ann: Caller, method: str) -> None:
    assert (await ann.request(method, "/logout")).status == 200
    assert (await ann.get("/exp")).status == 401


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_logging_out_with_a_token_revokes_it(ann: Caller, nobody: Caller) -> None:
    nobody.token = (await ann.post("/user/token", {})).body["token"]
    assert (await nobody.get("/logout")).status == 200
    assert (await nobody.get("/exp")).status == 401
    assert (await ann.get("/exp")).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_removed_user_is_out_and_its_experiments_decide_no_more(
    ann: Caller, caller: Callable[[], Caller], services: Services
) -> None:
    made = [await ann.experiment(f"number {n}", get_action="self.action['arm'] = 1") for n in range(3)]
    token = caller()
    token.token = (await ann.post("/user/token", {})).body["token"]
    decide = (f"/getaction/{made[0]['id']}", made[0]["key"])
    assert (await ann.get(decide[0], key=decide[1])).status == 200
    await services.accounts.remove_user("ann")
    assert (await ann.get("/exp")).status == (await token.get("/exp")).status == 401
    assert (await ann.log_in("ann")).status == 401
    for experiment in made:
        assert (await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"])).status == 401
    # An account of the same name made later is another one.
    await services.accounts.add_user("ann", PASSWORD)
    await ann.log_in("ann")
    assert (await ann.get("/exp")).body == {}
    assert (await token.get("/exp")).status == 401


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_later_user_of_the_name_finds_nothing_of_the_removed_one(
    ann: Caller, services: Services
) -> None:
    experiment = await ann.experiment(
        "simulated", get_action="self.action['arm'] = 1", get_reward="self.reward['value'] = 1"
    )
    jobs = f"/eval/{experiment['id']}/simulations"
    job = (await ann.post(jobs, {"N": 10})).body["id"]
    model = {"name": "counter", "engine": "python", "files": {"counter.py": "n = 0\ndef more(): pass\n"}}
    assert (await ann.post("/models", model)).status == 201
    run = (await ann.post("/v2/run/ann/game/", {"model": "counter"})).body["id"]
    await services.accounts.remove_user("ann")
    await services.accounts.add_user("ann", PASSWORD)
    await ann.log_in("ann")
    assert (await ann.get("/models")).body == []
    assert (await ann.get(f"/v2/run/{run}")).status in (403, 404)
    assert (await ann.get("/v2/run/ann/game/")).body == []
    assert await services.store.jobs.get_job(job) is None
    # And the names are free.
    assert (await ann.post("/models", model)).status == 201
