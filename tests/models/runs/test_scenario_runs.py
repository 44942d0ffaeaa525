"""Scenarios as runs: their constants, points and agents are variables."""

from __future__ import annotations

import pytest

from tests.application import Caller
from tests.models.conftest import EXAMPLES, push
from tests.models.runs.conftest import start, value
from tests.models.runs.test_documents import operate


@pytest.mark.gen_test
async def test_a_scenario_is_a_run_too(ann: Caller) -> None:
    name = "customer_acquisition.py"
    found = await push(ann, "customers", {name: (EXAMPLES / name).read_text()})
    manager = next(iter(found["scenario_managers"]))
    scenario = found["scenario_managers"][manager][0]
    body = {"scenario_managers": [manager], "scenarios": [scenario], "equations": ["customers"]}
    whole = (await ann.post("/run", body)).body[manager][scenario]["equations"]["customers"]
    series = list(whole.values())
    run = await start(ann, "customers")
    assert await value(ann, run, "customers") == series[0]
    await operate(ann, run, "step", [3])
    assert await value(ann, run, "customers") == series[3]
    assert await value(ann, run, "customers[1]") == series[1]
    assert (await ann.get(f"/v2/model/variable/{run}", name="customers[4]")).status == 400
    # Recorded by itself.
    answer = await ann.get(f"/v2/model/variable/;id={run}/customers")
    assert answer.body == [{"run": run, "variables": series[3]}]
    await operate(ann, run, "run", [])
    assert await value(ann, run, "customers") == series[-1]
    assert (await ann.post(f"/v2/model/operation/{run}", {"name": "step"})).status == 400
    await operate(ann, run, "reset", [])
    constant = found["equations"][manager]["constants"][0]
    before = await value(ann, run, constant)
    answer = await ann.request("PATCH", f"/v2/model/variable/{run}", body={constant: before * 2})
    assert answer.body == {constant: before * 2}
    settings = {manager: {scenario: {"constants": {constant: before * 2}}}}
    changed = (await ann.post("/run", {**body, "settings": settings})).body
    await operate(ann, run, "step", [5])
    await ann.delete(f"/v2/run/ann/game/{run}")
    assert (
        await value(ann, run, "customers")
        == list(changed[manager][scenario]["equations"]["customers"].values())[5]
    )
    introspected = (await ann.get(f"/v2/model/introspect/{run}")).body
    assert {one["name"] for one in introspected["functions"]} == {"step", "run", "reset", "record"}
    told = {
        "name": constant,
        "type": "constants",
        "dataType": "NUMBER",
        "access": "ALWAYS",
        "subscripts": None,
        "saved": True,
    }
    assert told in introspected["variables"]
    for bad in ({constant: "1 + t"}, {"nothing": 1}, {f"{constant}[1]": 1}):
        assert (await ann.request("PATCH", f"/v2/model/variable/{run}", body=bad)).status == 400


@pytest.mark.gen_test
async def test_a_vensim_model_is_a_run_too(ann: Caller) -> None:
    text = (EXAMPLES.parent / "tests/models/scenarios/models/teacup.mdl").read_text()
    found = await push(ann, "teacup", {"teacup.mdl": text})
    manager = next(iter(found["scenario_managers"]))
    body = {"scenario_managers": [manager], "scenarios": ["base"], "equations": ["Teacup Temperature"]}
    whole = (await ann.post("/run", body)).body[manager]["base"]["equations"]["Teacup Temperature"]
    run = await start(ann, "teacup.mdl")
    await operate(ann, run, "step", [8])
    assert await value(ann, run, "Teacup Temperature") == list(whole.values())[8]
    assert await value(ann, run, "Teacup Temperature[2]") == list(whole.values())[2]
    await operate(ann, run, "record", ["Teacup Temperature[2]"])
    answer = await ann.get(f"/v2/model/variable/;id={run}/Teacup%20Temperature%5B2%5D")
    assert answer.body == [{"run": run, "variables": list(whole.values())[2]}]


@pytest.mark.gen_test
async def test_agents_are_a_run_with_the_same_numbers_after_a_replay(ann: Caller) -> None:
    name = "agent_market.py"
    await push(ann, "market", {name: (EXAMPLES / name).read_text()})
    run = await start(ann, "market")
    await operate(ann, run, "step", [4])
    agents = await value(ann, run, "agents")
    time = await value(ann, run, "time")
    assert agents
    assert all(isinstance(count, int) for states in agents.values() for count in states.values())
    await ann.delete(f"/v2/run/ann/game/{run}")
    assert await value(ann, run, "agents") == agents
    assert await value(ann, run, "time") == time


@pytest.mark.gen_test
async def test_points_are_variables_and_are_set_whole(ann: Caller) -> None:
    name = "sir_epidemic.py"
    found = await push(ann, "sir", {name: (EXAMPLES / name).read_text()})
    [points] = found["equations"]["sir_epidemic"]["points"]
    run, same = await start(ann, "sir"), await start(ann, "sir")
    before = await value(ann, run, points)
    assert all(len(pair) == 2 for pair in before)
    shut = [[x, 0.0] for x, _ in before]
    answer = await ann.request("PATCH", f"/v2/model/variable/{run}", body={points: shut})
    assert (answer.status, answer.body) == (200, {points: shut})
    for one in (run, same):
        await operate(ann, one, "step", [40])
    assert await value(ann, run, points) == shut
    assert await value(ann, run, "infection") == 0 != await value(ann, same, "infection")
    for bad in ([[0, 1]], [[1, 1], [0, 1]], [["a", 1], [2, 1]], 3):
        answer = await ann.request("PATCH", f"/v2/model/variable/{same}", body={points: bad})
        assert (answer.status, points in answer.body["message"]) == (400, True)
    # From the next step on, and what was before stays.
    answer = await ann.request("PATCH", f"/v2/model/variable/{same}", body={points: shut})
    assert answer.status == 200
    earlier = await value(ann, same, "infection")
    await operate(ann, same, "step", [])
    assert await value(ann, same, "infection") == 0
    assert await value(ann, same, "infection[40]") == earlier
