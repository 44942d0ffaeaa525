"""Every route of the scenario and models APIs: who may call it, and the one form of its errors."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from handlers.routes import ROUTES
from handlers.scenarios import ScenarioHandler
from streamsim.models.journal import UNKNOWN
from streamsim.services import Services
from streamsim.storage.contract.errors import StoreUnavailable
from tests.application import Caller
from tests.models.conftest import INTERACTIVE, MANAGER, example, session

OPEN = {"/full-metrics", "/full-metrics/"}
# What each endpoint has, by its path without the slash at the end.
ENDPOINTS = {
    "/scenarios": "GET",
    "/equations": "POST",
    "/agents": "POST PUT",
    "/run": "POST PUT",
    "/execute": "POST",
    "/start-instance": "POST",
    "/start-instances": "POST",
    "/save-state": "GET",
    "/load-state": "GET POST",
    "/full-metrics": "GET",
    "/{instance:part}/begin-session": "POST",
    "/{instance:part}/end-session": "POST",
    "/{instance:part}/run-step": "POST",
    "/{instance:part}/run-steps": "POST",
    "/{instance:part}/stream-steps": "POST",
    "/{instance:part}/session-results": "GET",
    "/{instance:part}/flat-session-results": "GET",
    "/{instance:part}/keep-alive": "POST",
    "/{instance:part}/stop-instance": "POST",
    "/models": "GET POST",
    "/models/{model}": "GET PUT DELETE",
    "/sweep": "POST",
    "/jobs": "GET",
    "/jobs/{job}": "GET DELETE",
    "/jobs/{job}/events": "GET",
}
# Those that name nothing of anybody's: another user gets an answer of its own there.
NAMELESS = {
    "/scenarios",
    "/start-instance",
    "/start-instances",
    "/save-state",
    "/load-state",
    "/full-metrics",
}
NAMELESS |= {"/models", "/jobs"}
SCENARIO = {"scenario_manager": MANAGER, "scenarioManager": MANAGER, "scenario": "base"}
BODIES: dict[str, Any] = {
    "/equations": SCENARIO,
    "/agents": SCENARIO,
    "/run": INTERACTIVE,
    "/{instance:part}/begin-session": INTERACTIVE,
    "/{instance:part}/run-steps": {"numberSteps": 2, "settings": {}},
    "/models": {"name": "mine", "files": {}},
    "/models/{model}": {"files": example("inventory_delay.py")},
    "/sweep": {**SCENARIO, "equations": ["customers"], "parameters": {"contact_rate": [1.0, 2.0]}},
}
OWN = [(path, handler) for path, handler in ROUTES if issubclass(handler, ScenarioHandler)]


def methods(handler: Any) -> list[str]:
    return [one for one in handler.allowed_methods() if one != "OPTIONS"]


@pytest.mark.gen_test
@pytest.mark.parametrize(("template", "handler"), OWN)
async def test_each_route_needs_a_login_and_has_one_form_of_errors(
    ann: Caller, nobody: Caller, services: Services, template: str, handler: Any, monkeypatch: Any
) -> None:
    path = re.sub(r"\{[\w:]+\}", "0" * 32, template)

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
    monkeypatch.setattr(services.store.accounts, "get_session", away)
    method = methods(handler)[0]
    answer = await ann.request(method, path, body=b"{}" if method in ("POST", "PUT") else None)
    assert (answer.status, list(answer.body)) == (503, ["error"])
    assert "/some/path" not in answer.body["error"]


def test_every_route_is_classified() -> None:
    have: dict[str, set[str]] = {}
    for path, handler in OWN:
        have.setdefault(path.rstrip("/"), set()).add(" ".join(methods(handler)))
    assert have == {path: {has} for path, has in ENDPOINTS.items()}
    assert {path for path, _ in OWN} >= {path + "/" for path in list(ENDPOINTS)[:19]}


async def state(ann: Caller, instance: str, job: str) -> list[Any]:
    """What nobody else may change."""
    paths = (f"/{instance}/session-results", "/save-state", "/models", "/models/customers", f"/jobs/{job}")
    answers = [(await ann.get(path)).body for path in paths]
    for one in answers[1]:
        one.pop("time")  # looking is an access, too
    return answers


@pytest.mark.gen_test
async def test_another_user_and_nobody_change_and_see_nothing_of_anns(
    customers: Caller, bob: Caller, nobody: Caller, admin: Caller, services: Services
) -> None:
    instance = await session(customers)
    first = (await customers.post(f"/{instance}/run-step", None)).body
    background = {**BODIES["/sweep"], "background": True}
    job = (await customers.post("/sweep", background)).body["id"]
    services.jobs.start(0.02)
    while (await customers.get(f"/jobs/{job}")).body["state"] != "done":  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    before = await state(customers, instance, job)
    names = {"instance": instance, "model": "customers", "job": job}
    for template, has in ENDPOINTS.items():
        path = re.sub(r"\{(\w+)\}", lambda match: names[match[1]], template)
        for method in has.split():
            body = BODIES.get(template) if method in ("POST", "PUT") else None
            for client in (bob, admin, nobody):
                answer = await client.request(method, path, body=body)
                if client is nobody and template not in OPEN:
                    assert answer.status == 401, (method, path)
                elif template not in NAMELESS:
                    # A manager of somebody else is one that there is not.
                    wanted = 404 if "{" in template else 400
                    assert (answer.status, list(answer.body)) == (wanted, ["error"]), (method, path)
                    if "{instance:part}" in template:
                        assert answer.body["error"] == UNKNOWN
                if template in NAMELESS:
                    assert not any(
                        name in str(answer.body) for name in (MANAGER, "'customers'", instance, job)
                    )
    assert await state(customers, instance, job) == before
    assert list(first[MANAGER]["interactive_scenario"]["customers"]) == ["1.0"]
    assert (await customers.post(f"/{instance}/run-step", None)).status == 200
