"""Every route of the scenario and models APIs: who may call it, and the one form of its errors."""

from __future__ import annotations

import re
from typing import Any

import pytest

from handlers.routes import ROUTES
from handlers.scenarios import ScenarioHandler
from streamsim.services import Services
from streamsim.storage.contract import StoreUnavailable

from ..http.conftest import Caller

OPEN = {"/full-metrics", "/full-metrics/"}
OWN = [(path, handler) for path, handler in ROUTES if issubclass(handler, ScenarioHandler)]


def methods(handler: Any) -> list[str]:
    return [one for one in handler.allowed_methods() if one != "OPTIONS"]


@pytest.mark.gen_test
@pytest.mark.parametrize(("template", "handler"), OWN)
async def test_each_route_needs_a_login_and_has_one_form_of_errors(
    ann: Caller, nobody: Caller, services: Services, template: str, handler: Any, monkeypatch: Any
) -> None:
    path = re.sub(r"\{\w+\}", "0" * 32, template)

    async def away(*_arguments: object, **_named: object) -> None:
        raise StoreUnavailable("the disk is full at /some/path")

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        body = b"{not json" if method in ("POST", "PUT", "PATCH") else None
        if method not in methods(handler):
            answer = await ann.request(method, path, body=body)
            assert (answer.status, list(answer.body)) == (405, ["error"])
            assert isinstance(answer.body["error"], str)
        elif template not in OPEN:
            answer = await nobody.request(method, path, body=body)
            assert (answer.status, list(answer.body)) == (401, ["error"])
    monkeypatch.setattr(services.store, "get_session", away)
    method = methods(handler)[0]
    answer = await ann.request(method, path, body=b"{}" if method in ("POST", "PUT") else None)
    assert (answer.status, list(answer.body)) == (503, ["error"])
    assert "/some/path" not in answer.body["error"]


def test_every_documented_endpoint_is_there() -> None:
    documented = """/scenarios /equations /agents /run /start-instance /start-instances
        /save-state /load-state /full-metrics /{instance}/begin-session /{instance}/end-session
        /{instance}/run-step /{instance}/run-steps /{instance}/stream-steps /{instance}/session-results
        /{instance}/flat-session-results /{instance}/keep-alive /{instance}/stop-instance"""
    have = {path for path, _ in ROUTES}
    for path in documented.split():
        assert {path, path + "/"} <= have
    assert {"/", "/healthy", "/metrics", "/models", "/models/{model}", "/sweep"} <= have
