"""Every route of the run API: who may call it, the one form of its errors, OPTIONS and other origins."""

from __future__ import annotations

import re
from typing import Any

import pytest

from handlers.routes import ROUTES
from handlers.run_api import RunApiHandler
from streamsim.services import Services
from streamsim.storage.contract.errors import StoreUnavailable
from tests.application import Caller
from tests.models.runs.conftest import start

OWN: list[tuple[str, Any]] = [route for route in ROUTES if issubclass(route[1], RunApiHandler)]
# What each endpoint has, by its path without the slash at the end and without /v2 before /model.
ENDPOINTS = {
    "/v2/run/{account}/{project}": "GET HEAD POST",
    "/v2/run/{account}/{project}/{run}": "GET HEAD PATCH DELETE",
    "/v2/run/{account}/{project}/{run}/operations/{name}": "POST",
    "/v2/run/{account}/{project}/{run}/variables": "GET HEAD PATCH",
    "/v2/run/{account}/{project}/{run}/variables/{name}": "GET HEAD",
    "/model/run": "POST",
    "/model/operation": "",
    "/model/operation/{run}": "POST",
    "/model/variable": "",
    "/model/variable/{run}": "GET HEAD PATCH",
    "/model/variable/{run}/{name}": "GET HEAD",
    "/model/introspect/{run}": "GET HEAD",
    "/model/introspect/{account}/{project}/{model}": "GET HEAD",
    "/model/state/{run}": "POST",
    "/model/history/{run}": "GET HEAD",
}
BODIES: dict[str, Any] = {
    "/v2/run/{account}/{project}": {"model": "sample"},
    "/model/run": {"account": "ann", "project": "game", "model": "sample"},
    "/model/operation/{run}": {"name": "sell"},
    "/model/state/{run}": {"action": "clone"},
    "/v2/run/{account}/{project}/{run}": {"saved": True},
}
FORM = {"type", "message", "error", "run_id", "name", "arguments", "fault"}


def plain(template: str) -> str:
    return re.sub(r":\w+", "", template).rstrip("/").removeprefix("/v2/model")


def methods(handler: Any) -> list[str]:
    return [one for one in handler.allowed_methods() if one != "OPTIONS"]


def filled(template: str, run: str) -> str:
    names = {"run": run, "account": "ann", "project": "game", "model": "sample", "name": "price"}
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda match: names[match[1]], template)


def is_error(answer: Any, status: int) -> bool:
    assert {"type", "message", "error"} <= answer.body.keys() <= FORM
    assert answer.body["error"] is True
    return bool(answer.status == status)


def test_every_endpoint_is_there_with_and_without_v2_and_slash() -> None:
    have = {re.sub(r":\w+", "", template): " ".join(methods(handler)) for template, handler in OWN}
    want = {}
    for template, with_methods in ENDPOINTS.items():
        for prefix in ("", "/v2") if template.startswith("/model") else ("",):
            want[prefix + template] = with_methods
            if not template.endswith(("/variable/{run}/{name}", "/variables/{name}")):
                want[f"{prefix}{template}/"] = with_methods
    assert have == want
    assert {handler.access for _, handler in OWN} == {"user"}


@pytest.mark.gen_test
async def test_each_route_needs_a_login_and_has_one_form_of_errors(
    player: Caller, bob: Caller, nobody: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await start(player)
    await player.request("PATCH", f"/v2/model/variable/{run}", body={"sample_string": "ann's own"})
    before = (await player.get(f"/v2/run/ann/game/{run}")).body

    for template, handler in OWN:
        path = filled(template, run)
        answer = await nobody.request("OPTIONS", path)
        assert (answer.status, answer.body["uri"]) == (200, path)
        assert answer.headers["allow"] == ", ".join(handler.allowed_methods())
        assert all(answer.body["methods"].values())
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            sends = method in ("POST", "PUT", "PATCH")
            if method not in methods(handler):
                assert is_error(await player.request(method, path, body={} if sends else None), 405)
                continue
            body = BODIES.get(re.sub(r":\w+", "", template).rstrip("/").removeprefix("/v2"), {})
            body = BODIES.get(re.sub(r":\w+", "", template).rstrip("/"), body)
            assert is_error(await nobody.request(method, path, body=body if sends else None), 401)
            # Another user's run, account or model is one that there is not.
            query = (
                {"name": "price"}
                if method == "GET" and "/variable" in template and "{name" not in template
                else {}
            )
            answer = await bob.request(method, path, body=body if sends else None, query=query)
            assert is_error(answer, 404), (method, template)
            assert "ann's own" not in str(answer.body)
            if sends:
                assert is_error(await player.request(method, path, body=b"{not json"), 400)
    assert (await player.get(f"/v2/run/ann/game/{run}")).body == before

    async def away(*_arguments: object, **_named: object) -> None:
        raise StoreUnavailable("the disk is full at /some/path")

    monkeypatch.setattr(services.store.accounts, "get_session", away)
    answer = await player.get(f"/v2/model/variable/{run}/price")
    assert is_error(answer, 503)
    assert "/some/path" not in str(answer.body)


@pytest.mark.gen_test
async def test_what_is_unknown_is_404(player: Caller) -> None:
    run = await start(player)
    for path in (
        f"/v2/model/variable/{'0' * 36}/price",
        f"/v2/model/variable/;id={run};id={'0' * 36}/price",
        f"/v2/run/ann/other/{run}",
        f"/v2/run/bob/game/{run}",
        f"/v2/run/ann/other/{run}/variables/price",
        "/v2/run/bob/game/;saved=true",
        "/v2/run/bob/game/;saved=true/variables/price",
        "/v2/model/introspect/ann/game/nothing",
        "/v2/model/introspect/bob/game/sample",
    ):
        assert is_error(await player.get(path), 404), path


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_runs_of_the_two_apis_are_not_each_others(player: Caller) -> None:
    run = await start(player)
    instance = (await player.post("/start-instance", None)).body["instance_uuid"]
    assert (await player.get(f"/v2/model/variable/{instance}/price")).status == 404
    for path, body in (
        ("begin-session", {"scenario_managers": ["x"]}),
        ("keep-alive", {}),
        ("stop-instance", {}),
    ):
        assert (await player.post(f"/{run}/{path}", body)).status in (400, 404)
    assert (await player.get(f"/v2/model/variable/{run}/price")).body == 1.5


@pytest.mark.gen_test
async def test_pages_of_configured_origins_may_call_with_credentials(player: Caller) -> None:
    run = await start(player)
    path = f"/v2/run/ann/game/{run}"
    origin = {"Origin": "https://app.example.com"}
    asked = {**origin, "Access-Control-Request-Method": "PATCH"}
    headers = (await player.request("OPTIONS", path, headers=asked)).headers
    assert headers["access-control-allow-origin"] == "https://app.example.com"
    assert headers["access-control-allow-credentials"] == "true"
    assert {"PATCH", "DELETE"} <= set(headers["access-control-allow-methods"].split(", "))
    allowed = set(headers["access-control-allow-headers"].split(", "))
    assert {"content-type", "authorization", "x-autorestore"} <= allowed
    answer = await player.request("PATCH", path, body={"saved": True}, headers=origin)
    assert answer.status == 200
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert {"Content-Range", "Pragma"} <= exposed
    evil = {"Origin": "https://evil.example"}
    assert "access-control-allow-origin" not in (await player.request("OPTIONS", path, headers=evil)).headers
    assert (await player.request("PATCH", path, body={"saved": False}, headers=evil)).status == 403
