"""Whose a request is taken to be, by its head and what is there of its body."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamsim.server.http.application import Application
from streamsim.server.http.head import Head
from tests.application import Caller

FAST = {"get_action": 'self.action["arm"] = "a"', "get_reward": "pass"}
PEER = "192.0.2.7"


def taken(
    app: Application, method: str, target: str, body: bytes = b"", /, *, peer: str = PEER, **headers: str
) -> str:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return app.whose.of(Head(method, target.encode(), "1.1", fields), body, peer)


async def called(caller: Caller) -> dict[str, Any]:
    """An experiment that had a call."""
    made = await caller.experiment(**FAST)
    assert (await caller.get(f"/getaction/{made['id']}", key=made["key"])).status == 200
    return made


@pytest.mark.gen_test
async def test_a_call_is_of_the_tenant_of_its_experiment_if_its_key_is_right(
    app: Application, ann: Caller
) -> None:
    made = await called(ann)
    key, action, reward = made["key"], f"/getaction/{made['id']}", f"/setreward/{made['id']}"
    long = "x" * 5000
    bodies = [{"key": key, "context": long}, {"context": long, "key": key}, {"key": key}]
    assert {taken(app, "POST", action, json.dumps(body).encode()) for body in bodies} == {"ann"}
    assert taken(app, "GET", f"{action}?key={key}") == "ann"
    assert taken(app, "GET", f"{reward}?reward=1&key={key}") == "ann"


@pytest.mark.gen_test
async def test_with_another_key_it_is_of_its_address(app: Application, ann: Caller, bob: Caller) -> None:
    made, other = await called(ann), await called(bob)
    action = f"/getaction/{made['id']}"
    requests: list[tuple[str, str, bytes]] = [
        ("GET", action, b""),
        ("GET", f"{action}?key={other['key']}", b""),
        ("GET", f"{action}?akey={made['key']}", b""),
        ("GET", f"/getaction/unknown?key={made['key']}", b""),
        ("POST", action, json.dumps({"key": other["key"], "context": made["key"]}).encode()),
    ]
    assert {taken(app, *request) for request in requests} == {f"at {PEER}"}


@pytest.mark.gen_test
async def test_a_request_is_of_whoever_had_its_credential_before(app: Application, ann: Caller) -> None:
    token = (await ann.post("/user/token", {})).body["token"]
    cookie = "; ".join(f"{name}={value}" for name, value in ann.cookies.items())
    bearing = {"Authorization": f"Bearer {token}"}
    assert taken(app, "GET", "/exp", cookie=cookie) == "ann"
    assert taken(app, "GET", "/exp", authorization=f"Bearer {token}") == f"at {PEER}"
    ann.cookies.clear()
    assert (await ann.request("GET", "/exp", headers=bearing | {"Cookie": "theme=dark"})).status == 200
    assert taken(app, "GET", "/exp", authorization=f" Bearer {token} ", cookie="other=1") == "ann"
    # A cookie beside a token says nothing.
    assert taken(app, "GET", "/exp", cookie="theme=dark") == f"at {PEER}"


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"server.trusted_proxies": ["10.0.0.0/8"]}], indirect=True)
async def test_behind_a_trusted_proxy_it_is_of_the_address_that_the_proxy_tells(app: Application) -> None:
    asked = {"x_forwarded_for": "203.0.113.9"}
    assert taken(app, "GET", "/", peer="10.1.2.3", **asked) == "at 203.0.113.9"
    assert taken(app, "GET", "/", peer=PEER, **asked) == f"at {PEER}"


@pytest.mark.gen_test
async def test_who_is_nobody_counts_as_one_of_those_who_ask(
    app: Application, ann: Caller, nobody: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await called(ann)
    seen: list[str] = []
    monkeypatch.setattr(app.services.lately, "asked", seen.append)
    assert (await nobody.get("/healthy")).status == 200
    assert (await nobody.get("/exp")).status == 401
    assert (await nobody.get(f"/getaction/{made['id']}", key="wrong")).status == 401
    assert seen == ["at 127.0.0.1"] * 3
    assert (await nobody.get("/exp", key=made["key"])).status == 401
    assert (await ann.get("/exp")).status == 200
    assert (await ann.get(f"/setreward/{made['id']}", key=made["key"], reward="not JSON")).status == 400
    assert seen[3:] == ["at 127.0.0.1", "ann"]
