"""Each request that the documents of BptkServer and of Epicenter's model APIs show, in that form."""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import Caller
from tests.models.conftest import INTERACTIVE, MANAGER
from tests.models.runs.conftest import player, start  # noqa: F401 -- a fixture

SCENARIO = "interactive_scenario"
CHOSEN = {"scenarioManager": MANAGER, "scenario": SCENARIO}
CONSTANT = {"settings": {MANAGER: {SCENARIO: {"constants": {"word_of_mouth_success": 0.7}}}}}
MODEL = {
    "name": "bath",
    "specs": {"starttime": 0.0, "stoptime": 1.0, "dt": 1.0},
    "entities": {"constants": [{"name": "tap", "equation": {"type": "literal", "value": 2.0}}]},
}
# In an order in which each can be sent; ID stands for an instance.
BPTK: list[tuple[str, str, Any, Any]] = [
    ("GET", "/", None, str),
    ("GET", "/healthy", None, object),
    ("GET", "/metrics", None, str),
    ("GET", "/full-metrics", None, {"instanceCount", "threadCount"}),
    ("GET", "/scenarios", None, {MANAGER}),
    ("POST", "/equations", CHOSEN, {"constants", "converters", "flows", "points", "stocks"}),
    ("POST", "/equations", {"scenario_manager": MANAGER, "scenario": SCENARIO}, {"stocks"}),
    ("POST", "/run", INTERACTIVE, {MANAGER}),
    ("PUT", "/run", {**INTERACTIVE, **CONSTANT}, {MANAGER}),
    ("POST", "/execute", {"model": MODEL, "equations": ["tap"]}, {"default"}),
    ("POST", "/start-instance", None, {"instance_uuid", "timeout"}),
    ("POST", "/start-instance", {"timeout": {"weeks": 0, "days": 0, "hours": 1}}, {"instance_uuid"}),
    ("POST", "/start-instances", {"instances": 2}, {"instance_uuids", "timeout"}),
    ("POST", "/ID/begin-session", INTERACTIVE, {"msg"}),
    ("POST", "/ID/run-step", None, {MANAGER}),
    ("POST", "/ID/run-step", CONSTANT, {MANAGER}),
    ("POST", "/ID/run-step", {**CONSTANT, "flatResults": True}, {MANAGER}),
    ("POST", "/ID/run-steps", {"numberSteps": 2, **CONSTANT}, list),
    ("POST", "/ID/keep-alive", None, {"msg"}),
    ("GET", "/ID/session-results", None, {MANAGER}),
    ("GET", "/ID/flat-session-results", None, {MANAGER}),
    ("GET", "/save-state", None, list),
    ("GET", "/load-state", None, list),
    ("POST", "/load-state", None, list),
    ("POST", "/ID/stream-steps", {"settings": {}}, list),
    ("POST", "/ID/end-session", None, {"msg"}),
    ("POST", "/ID/stop-instance", None, {"msg"}),
]


def holds(answer: Any, what: Any) -> bool:
    return what <= set(answer) if isinstance(what, set) else isinstance(answer, what)


@pytest.mark.gen_test
async def test_every_request_of_bptk_server_is_answered_in_its_form(customers: Caller) -> None:
    for slash in ("", "/"):
        instance = (await customers.post("/start-instance", None)).body["instance_uuid"]
        for method, path, body, what in BPTK:
            if path == "/":
                continue
            answer = await customers.request(method, path.replace("ID", instance) + slash, body=body)
            if slash and path in ("/healthy", "/metrics"):
                continue  # of no BptkServer alone
            assert answer.status == 200, (method, path, answer)
            assert holds(answer.body, what), (method, path, answer)
    assert (await customers.get("/")).status == 200


@pytest.mark.gen_test
async def test_requests_with_a_token_are_answered_as_those_with_a_cookie(
    customers: Caller, nobody: Caller
) -> None:
    nobody.token = (await customers.post("/user/token", {})).body["token"]
    for method, path, body, what in BPTK:
        if "ID" not in path:
            answer = await nobody.request(method, path, body=body)
            assert (answer.status, holds(answer.body, what)) == (200, True), (path, answer)


ONE, MANY = "/v2/model/variable/RUN", "/v2/model/variable/;id=RUN;id=OTHER"
CHANGES = {"sample_int": 16, 'sample_dict["day"]': "tuesday", "sample_array[1]": 300}
EPICENTER: list[tuple[str, str, Any, Any]] = [
    ("POST", "/v2/model/operation/RUN", {"name": "runmodel", "arguments": ["input", 25, True]}, {"result"}),
    ("POST", "/model/operation/RUN", {"name": "save", "arguments": ["sample_int", "sample_array"]}, {"name"}),
    (
        "POST",
        "/model/operation/OTHER",
        {"name": "save", "arguments": ["sample_int", "sample_array"]},
        {"name"},
    ),
    ("OPTIONS", "/v2/model/operation", None, {"methods", "properties"}),
    ("GET", f"{ONE}/sample_string", None, str),
    ("GET", f"{ONE}/results", None, {"max_profit"}),
    ("GET", f"{ONE}/results.max_profit", None, int),
    ("GET", f"{ONE}/sample_array[1]", None, int),
    ("GET", f"{MANY}/sample_int", None, list),
    ("GET", f"{ONE}?name=sample_string&name=sample_int", None, {"sample_string", "sample_int"}),
    ("GET", f"{MANY}/?name=sample_int&name=sample_array", None, list),
    ("PATCH", ONE, CHANGES, set(CHANGES)),
    ("OPTIONS", "/v2/model/variable/", None, {"methods", "properties"}),
]


@pytest.mark.gen_test
async def test_every_request_of_the_model_apis_is_answered_in_its_form(player: Caller) -> None:  # noqa: F811
    run, other = await start(player), await start(player)
    for method, path, body, what in EPICENTER:
        answer = await player.request(method, path.replace("RUN", run).replace("OTHER", other), body=body)
        assert answer.status == 200, (method, path, answer)
        assert holds(answer.body, what), (method, path, answer)
    answer = await player.get(f"/v2/model/variable/{run}/none")
    assert (answer.status, answer.body["error"]) == (400, True)
    answer = await player.get("/v2/model/variable/none/sample_int")
    assert (answer.status, answer.body["error"]) == (404, True)
    answer = await player.post(f"/v2/model/operation/{run}", {"name": "runmodel"})
    assert (answer.status, answer.body["type"], answer.body["run_id"]) == (400, "invalid_proc", run)
