"""Errors of the client, the first two of the points in which a BptkServer is bettered: each over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import Caller
from tests.models.conftest import INTERACTIVE, MANAGER, error, session

ID = "0" * 32
RUN = {"scenario_managers": [MANAGER], "scenarios": ["base"], "equations": ["customers"]}


# 1. Errors of the client have a status of their own, with the texts of the original.


CLIENT_ERRORS: list[Any] = [
    ("POST", "/run", None, 400, "please pass the request with content-type application/json"),
    ("POST", "/run", {"scenarios": [], "equations": []}, 400, "expecting scenario_managers to be set"),
    ("POST", "/run", {"scenario_managers": [MANAGER], "equations": []}, 400, "expecting scenarios to be set"),
    (
        "PUT",
        "/run/",
        {"scenario_managers": [MANAGER], "scenarios": ["base"]},
        400,
        "expecting either equations or agents to be set",
    ),
    ("POST", "/equations", {}, 400, "expecting scenarioManager or scenario_manager to be set"),
    ("POST", "/equations", {"scenarioManager": MANAGER}, 400, "expecting scenario to be set"),
    ("POST", "/agents", {}, 400, "expecting scenarioManager to be set"),
    (
        "PUT",
        "/agents",
        {"scenarioManager": MANAGER, "scenario": "base"},
        400,
        "expecting the model to have agents",
    ),
    ("POST", f"/{ID}/run-step", None, 404, "expecting a valid instance id to be given"),
    ("POST", f"/{ID}/begin-session", INTERACTIVE, 404, "expecting a valid instance id to be given"),
    ("GET", f"/{ID}/session-results", None, 404, "expecting a valid instance id to be given"),
    ("POST", f"/{ID}/stop-instance/", None, 404, "expecting a valid instance id to be given"),
]


@pytest.mark.gen_test
@pytest.mark.parametrize(("method", "path", "body", "status", "text"), CLIENT_ERRORS)
async def test_1_client_errors_are_400_or_404_with_the_texts_of_the_original(
    customers: Caller, method: str, path: str, body: Any, status: int, text: str
) -> None:
    assert error(await customers.request(method, path, body=body)) == (status, text)


@pytest.mark.gen_test
async def test_1_errors_of_sessions(customers: Caller) -> None:
    instance = await session(customers)
    assert error(await customers.post(f"/{instance}/run-step", {})) == (400, "expecting settings to be set")
    await customers.post(f"/{instance}/end-session", None)
    answer = await customers.post(f"/{instance}/run-step", None)
    assert error(answer) == (400, "no data was returned from run_step")


@pytest.mark.gen_test
async def test_1_who_is_not_logged_in_gets_401(customers: Caller, nobody: Caller) -> None:
    for path in ("/run", "/start-instance", f"/{ID}/run-step"):
        status, text = error(await nobody.post(path, {}))
        assert status == 401
        assert "log in" in text


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"compat.bptk_status": "legacy"}], indirect=True)
async def test_1_legacy_status_brings_the_500s_back(customers: Caller, nobody: Caller) -> None:
    assert error(await customers.post("/run", {})) == (500, "expecting scenario_managers to be set")
    status, _ = error(await customers.post(f"/{ID}/run-step", None))
    assert status == 500
    assert (await nobody.post("/run", {})).status == 401


# 2. A malformed timeout is refused.


@pytest.mark.gen_test
@pytest.mark.parametrize("given", [{"minutes": "x"}, {"years": 1}, None, 5, {"hours": -1}, {"hours": 1.5}])
async def test_2_malformed_timeout_is_400_and_hurts_nobody(customers: Caller, given: Any) -> None:
    instance = await session(customers)
    for path in ("/start-instance", "/start-instances"):
        status, text = error(await customers.post(path, {"timeout": given}))
        assert (status, "timeout" in text) == (400, True)
    assert (await customers.post(f"/{instance}/run-step", None)).status == 200
