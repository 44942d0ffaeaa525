"""Every call of the groups of accounts and of the service, end to end: both kinds, both backends."""

from __future__ import annotations

import pytest

from streamsim_client import BadRequest, NotFound, ServerError, TooManyRequests, Unauthorized
from streamsim_client.accounts import Accounts
from streamsim_client.service import Service
from tests.client.conftest import Called, Connect, Shown, public_calls
from tests.support import PASSWORD, Server

GROUPS = (Accounts, Service)


def test_login_tokens_and_passwords(admin: Shown, connect: Connect, server: Server, name: str) -> None:
    assert admin.accounts.add_user(name, PASSWORD) == {"status": "success"}
    with pytest.raises(BadRequest) as taken:
        admin.accounts.add_user(name, PASSWORD)
    assert (taken.value.status, taken.value.field) == (400, "username")
    client = connect(server.url)
    assert client.accounts.log_in(name, PASSWORD) == {
        "status": "success",
        "username": name,
        "admin": False,
    }
    with pytest.raises(Unauthorized):
        client.accounts.add_user("another", PASSWORD)
    issued = client.accounts.add_token("laptop", 3)
    assert client.accounts.tokens() == [{k: v for k, v in issued.items() if k != "token"}]
    bearer = connect(server.url, token=issued["token"])
    assert [one["label"] for one in bearer.accounts.tokens()] == ["laptop"]
    assert {(one["kind"], one["current"]) for one in client.accounts.sessions(name)} == {
        ("login", True),
        ("token", False),
    }
    with pytest.raises(Unauthorized):
        client.accounts.sessions("admin")
    spare = connect(server.url)
    spare.accounts.log_in(name, PASSWORD)
    (ended,) = (one["id"] for one in spare.accounts.sessions(name) if one["current"])
    assert admin.accounts.end_session(name, ended) == {"status": "success"}
    with pytest.raises(NotFound):
        admin.accounts.end_session(name, ended)
    with pytest.raises(Unauthorized):
        spare.accounts.tokens()
    # The password ends login sessions, and no tokens.
    assert client.accounts.change_password(PASSWORD, "another password") == {"status": "success"}
    with pytest.raises(Unauthorized):
        client.accounts.tokens()
    assert len(bearer.accounts.tokens()) == 1
    client.accounts.log_in(name, "another password")
    assert client.accounts.revoke_token(issued["id"])["id"] == issued["id"]
    with pytest.raises(Unauthorized):
        bearer.accounts.tokens()
    # After a login, it is the session that counts.
    bearer.accounts.log_in(name, "another password")
    assert bearer.accounts.tokens() == []
    assert bearer.accounts.log_out() == {"status": "success"}
    with pytest.raises(Unauthorized):
        bearer.accounts.tokens()


def test_too_many_login_attempts_say_when_to_come_back(nobody: Shown, name: str) -> None:
    errors: list[ServerError] = []
    while not errors or isinstance(errors[-1], Unauthorized):
        with pytest.raises(ServerError) as refused:
            nobody.accounts.log_in(name, "a wrong password")
        errors.append(refused.value)
    assert isinstance(errors[-1], TooManyRequests)
    assert errors[-1].retry_after_s is not None
    assert errors[-1].retry_after_s > 0


def test_administrators_see_who_has_an_account_and_what_the_server_is(admin: Shown, user: Shown) -> None:
    names = [one["name"] for one in admin.accounts.users(limit=1)]
    assert names == sorted(names)
    assert "admin" in names
    assert admin.service.about()["sandbox"]["seccomp"] is True
    with pytest.raises(Unauthorized):
        list(user.accounts.users())
    with pytest.raises(Unauthorized):
        user.service.about()


def test_service(nobody: Shown) -> None:
    assert nobody.service.healthy()["status"] == "ok"
    assert nobody.service.ready() == {"status": "ready"}
    assert "streamsim_http_request_seconds" in nobody.service.metrics()
    assert "/getaction/{exp_id}" in nobody.service.openapi()["paths"]
    assert nobody.service.full_metrics()["instanceCount"] >= 0


def test_every_call_of_these_groups_was_made(request: pytest.FixtureRequest, called: Called) -> None:
    if request.config.option.keyword or any("::" in argument for argument in request.config.args):
        pytest.skip("only some of the tests run")
    assert set.union(*map(public_calls, GROUPS)) - called == set()
