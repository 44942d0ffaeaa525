"""Each row of the table of what a BptkServer answers, over HTTP."""

from __future__ import annotations

import re

import pytest

from tests.application import Caller
from tests.models.conftest import INTERACTIVE, MANAGER, example, push, session, setting

SCENARIO = "interactive_scenario"


@pytest.mark.gen_test
async def test_routes_take_a_trailing_slash(customers: Caller) -> None:
    for path in ("/scenarios", "/save-state", "/load-state"):
        assert (await customers.get(path + "/")).body == (await customers.get(path)).body
    # It counts threads, of which the first call may start one.
    assert (await customers.get("/full-metrics/")).body.keys() == (
        await customers.get("/full-metrics")
    ).body.keys()
    instance = await session(customers)
    assert (await customers.post(f"/{instance}/run-step/", None)).status == 200
    assert (await customers.get(f"/{instance}/session-results/")).status == 200


@pytest.mark.gen_test
async def test_open_endpoints(nobody: Caller) -> None:
    for path in ("/", "/healthy", "/metrics", "/full-metrics"):
        assert (await nobody.get(path)).status == 200
    assert "text/html" in (await nobody.get("/")).headers["content-type"]


@pytest.mark.gen_test
async def test_a_bearer_token_does(customers: Caller, nobody: Caller) -> None:
    nobody.token = (await customers.post("/user/token", {})).body["token"]
    assert (await nobody.get("/scenarios")).body == (await customers.get("/scenarios")).body


@pytest.mark.gen_test
async def test_start_instance_gives_an_id_and_the_timeout(customers: Caller) -> None:
    answer = (await customers.post("/start-instance", None)).body
    assert re.fullmatch("[0-9a-f]{32}", answer["instance_uuid"])
    default = {"weeks": 0, "days": 0, "hours": 12, "minutes": 0, "seconds": 0}
    assert answer["timeout"] == {**default, "milliseconds": 0, "microseconds": 0}
    answer = (await customers.post("/start-instance", {"timeout": {"hours": 1}})).body
    assert answer["timeout"] == {"hours": 1}


@pytest.mark.gen_test
async def test_messages_of_sessions_and_instances(customers: Caller) -> None:
    instance = await session(customers)
    for _ in range(2):
        answer = await customers.post(f"/{instance}/end-session", None)
        assert answer.body == {"msg": "session terminated"}
    assert (await customers.get(f"/{instance}/session-results")).body == {}
    assert (await customers.post(f"/{instance}/keep-alive", None)).body == {"msg": "instance timer reset"}
    assert (await customers.post(f"/{instance}/stop-instance", None)).body == {"msg": "Instance deleted."}
    assert (await customers.post(f"/{instance}/keep-alive", None)).status == 404


@pytest.mark.gen_test
async def test_settings_apply_at_their_step_and_stay(customers: Caller) -> None:
    instance = await session(customers)
    for _ in range(2):
        await customers.post(f"/{instance}/run-step", {"settings": {}})
    answer = (await customers.post(f"/{instance}/run-step", setting(0.7))).body
    values = {"customers": {"3.0": 2081.6666666666665}, "word_of_mouth_success": {"3.0": 0.7}}
    assert answer == {MANAGER: {SCENARIO: values}}
    answer = (await customers.post(f"/{instance}/run-step", None)).body
    values = {"customers": {"4.0": 17113.083009259255}, "word_of_mouth_success": {"4.0": 0.7}}
    assert answer == {MANAGER: {SCENARIO: values}}
    assert list(answer[MANAGER][SCENARIO]) == INTERACTIVE["equations"]


@pytest.mark.gen_test
async def test_flat_results_drop_the_time(customers: Caller) -> None:
    instance = await session(customers)
    body = {**setting(0.7), "flatResults": True}
    answer = (await customers.post(f"/{instance}/run-step", body)).body
    assert answer == {MANAGER: {SCENARIO: {"customers": 0.0, "word_of_mouth_success": 0.7}}}
    steps = (await customers.post(f"/{instance}/run-steps", {**body, "numberSteps": 2})).body
    assert [one[MANAGER][SCENARIO]["customers"] for one in steps] == [
        1000.0,
        # 1000 + (0.1 * 100 * 100 + 0.7 * 10 * 1000) * (1 - 1000 / 60000)
        pytest.approx(1000 + 8000 * (1 - 1 / 60)),
    ]


@pytest.mark.gen_test
async def test_past_the_stop_time(customers: Caller) -> None:
    instance = await session(customers)
    stopped = {"msg": "Stoptime reached"}
    steps = (await customers.post(f"/{instance}/run-steps", {"numberSteps": 62, "settings": {}})).body
    assert steps[60:] == [stopped, stopped]
    assert steps[59][MANAGER][SCENARIO]["customers"] == {"60.0": pytest.approx(59645.35164921484, abs=0)}
    assert (await customers.post(f"/{instance}/run-step", None)).body == stopped
    body = {"numberSteps": 2, "settings": {}}
    assert (await customers.post(f"/{instance}/run-steps", body)).body == [stopped, stopped]
    assert (await customers.post(f"/{instance}/stream-steps", {"settings": {}})).body == []


@pytest.mark.gen_test
async def test_session_results_and_their_flat_form(customers: Caller) -> None:
    instance = await session(customers)
    assert (await customers.get(f"/{instance}/session-results")).body == {}
    await customers.post(f"/{instance}/run-steps", {"numberSteps": 2, "settings": {}})
    equations = {
        "customers": {"1.0": 0.0, "2.0": 1000.0},
        "word_of_mouth_success": {"1.0": 0.01, "2.0": 0.01},
    }
    answer = (await customers.get(f"/{instance}/session-results")).body
    assert answer == {MANAGER: {SCENARIO: {"equations": equations}}}
    flat = {"customers": [0.0, 1000.0], "word_of_mouth_success": [0.01, 0.01]}
    answer = (await customers.get(f"/{instance}/flat-session-results")).body
    assert answer == {MANAGER: {SCENARIO: {"equations": flat}}}


@pytest.mark.gen_test
async def test_beginning_again_replaces_the_session(customers: Caller) -> None:
    instance = await session(customers)
    await customers.post(f"/{instance}/run-steps", {"numberSteps": 5, "settings": {}})
    await customers.post(f"/{instance}/begin-session", INTERACTIVE | {"equations": "customers"})
    answer = (await customers.post(f"/{instance}/run-step", None)).body
    assert answer == {MANAGER: {SCENARIO: {"customers": {"1.0": 0.0}}}}


@pytest.mark.gen_test
async def test_names_may_be_text_with_commas(customers: Caller) -> None:
    body = {
        "scenario_managers": MANAGER,
        "scenarios": "low_word_of_mouth,base",
        "equations": "market_saturation,customers",
    }
    answer = (await customers.put("/run", body)).body[MANAGER]
    assert list(answer) == ["base", "low_word_of_mouth"]
    assert list(answer["base"]["equations"]) == ["market_saturation", "customers"]


@pytest.mark.gen_test
async def test_agents_in_runs_and_in_sessions(ann: Caller) -> None:
    await push(ann, "market", example("agent_market.py"))
    body = {
        "scenario_managers": ["agent_market"],
        "scenarios": ["base"],
        "agents": ["consumer"],
        "agent_states": ["unaware", "customer"],
        "seed": 3,
    }
    whole = (await ann.post("/run", body)).body["agent_market"]["base"]["agents"]["consumer"]
    assert list(whole) == ["unaware", "customer"]
    assert list(whole["unaware"]) == [str(week) for week in range(1, 21)]
    assert whole["unaware"]["1"] == 100
    assert (await ann.post("/run", body)).body["agent_market"]["base"]["agents"]["consumer"] == whole
    instance = await session(ann, **body, equations=[])
    await ann.post(f"/{instance}/run-steps", {"numberSteps": 20, "settings": {}})
    stepped = (await ann.get(f"/{instance}/session-results")).body
    assert stepped["agent_market"]["base"]["agents"]["consumer"] == whole
    properties = {"agent_properties": ["spent"], "agent_property_types": ["total", "max"]}
    answer = (await ann.post("/run", body | properties)).body["agent_market"]["base"]["agents"]
    spent = answer["consumer"]["customer"]["properties"]["spent"]
    assert list(spent) == ["max", "total"]
    assert spent["total"]["20"] >= spent["max"]["20"] > 0
