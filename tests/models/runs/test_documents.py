"""Every example of the two documents, over HTTP: the form of its answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.application import Caller
from tests.models.runs.conftest import start

PROFIT = {"max_profit": 914, "mean_profit": -753, "min_profit": -2210, "std_dev_profit": 427}


@pytest.mark.gen_test
async def test_one_variable_of_one_run(player: Caller) -> None:
    run = await start(player)
    for name, value in (
        ("sample_string", "Hello World"),
        ("results", PROFIT),
        ("results.max_profit", 914),
        ("sample_array[2]", 6),
        ("sample_dict[%22day%22]", "monday"),
    ):
        answer = await player.get(f"/v2/model/variable/{run}/{name}")
        assert (answer.status, answer.body) == (200, value)
        inside = await player.get(f"/v2/run/ann/game/{run}/variables/{name}")
        assert (inside.status, inside.body) == (200, value)


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_one_variable_of_many_runs(player: Caller) -> None:
    runs = [await start(player) for _ in range(2)]
    for run, value in zip(runs, (10, 15), strict=True):
        await player.request("PATCH", f"/v2/model/variable/{run}", body={"sample_int": value})
        await operate(player, run, "save", ["sample_int", "sample_array"])
    answer = await player.get(f"/v2/model/variable/;id={runs[0]};id={runs[1]}/sample_int")
    assert answer.status == 200
    assert answer.body == [{"run": runs[0], "variables": 10}, {"run": runs[1], "variables": 15}]
    answer = await player.get(
        f"/v2/model/variable/;id={runs[1]};id={runs[0]}/?name=sample_int&name=sample_array"
    )
    assert answer.body == [
        {"run": runs[1], "variables": {"sample_int": 15, "sample_array": [2, 4, 6, 8]}},
        {"run": runs[0], "variables": {"sample_int": 10, "sample_array": [2, 4, 6, 8]}},
    ]


@pytest.mark.gen_test
async def test_many_variables_of_one_run(player: Caller) -> None:
    run = await start(player)
    answer = await player.get(f"/v2/model/variable/{run}?name=sample_string&name=sample_int")
    assert (answer.status, answer.body) == (200, {"sample_string": "Hello World", "sample_int": 10})


@pytest.mark.gen_test
async def test_patch_of_variables(player: Caller) -> None:
    run = await start(player)
    changes = {"sample_int": 16, 'sample_dict["day"]': "tuesday", "sample_array[1]": 300}
    answer = await player.request("PATCH", f"/v2/model/variable/{run}", body=changes)
    assert (answer.status, answer.body) == (200, changes)
    assert list(answer.body) == list(changes)
    found = await player.get(f"/v2/model/variable/{run}?name=sample_dict&name=sample_array")
    assert found.body["sample_dict"]["day"] == "tuesday"
    assert found.body["sample_array"] == [2, 300, 6, 8]
    for value, expected in ((True, True), ("False", False), ("True", True)):
        answer = await player.request("PATCH", f"/v2/model/variable/{run}", body={"sample_bool": value})
        assert answer.body == {"sample_bool": expected}


@pytest.mark.gen_test
async def test_an_operation_with_mixed_arguments(player: Caller) -> None:
    run = await start(player)
    body = {"name": "runmodel", "arguments": ["input string", 25, True]}
    for path in ("/v2/model/operation", "/model/operation"):
        answer = await player.post(f"{path}/{run}", body)
        assert (answer.status, answer.body) == (200, {**body, "result": 20.44})
    answer = await player.post(
        f"/v2/run/ann/game/{run}/operations/runmodel/", {"arguments": body["arguments"]}
    )
    assert (answer.status, answer.body) == (200, {**body, "result": 20.44})
    given: dict[str, Any]
    for given in ({}, {"arguments": []}):
        answer = await player.post(f"/v2/model/operation/{run}", {"name": "nothing", **given})
        assert (answer.status, answer.body) == (200, {"name": "nothing", **given})


@pytest.mark.gen_test
async def test_the_failing_operation(player: Caller) -> None:
    run = await start(player)
    answer = await player.post(
        f"/v2/model/operation/{run}", {"name": "setRiskAssignedTo", "arguments": ["TR-01"]}
    )
    message = "TypeError: setRiskAssignedTo() missing 1 required positional argument: 'index'"
    place = {"type": "python", "function": "setRiskAssignedTo", "file": "sample.py", "line": 35}
    assert answer.status == 400
    assert answer.body == {
        "type": "invalid_proc",
        "run_id": run,
        "message": message,
        "name": "setRiskAssignedTo",
        "arguments": '["TR-01"]',
        "error": True,
        "fault": {
            "cause": place,
            "context": None,
            "trace": [place],
            "information": {
                "class": "TypeError",
                "value": {
                    "type": "proc",
                    "runId": run,
                    "key": "setRiskAssignedTo",
                    "detail": '["TR-01"]',
                },
            },
            "type": "python",
            "message": message,
            "native": None,
        },
    }


@pytest.mark.gen_test
async def test_a_fault_has_the_models_own_frames_and_changes_nothing(player: Caller) -> None:
    run = await start(player)
    await operate(player, run, "runmodel", ["", 1, True])
    answer = await player.post(f"/v2/model/operation/{run}", {"name": "fail"})
    assert answer.status == 400
    trace = answer.body["fault"]["trace"]
    assert [(one["function"], one["file"]) for one in trace] == [
        ("fail", "sample.py"),
        *[("helper", "sample.py")] * 3,
    ]
    assert answer.body["fault"]["cause"] == trace[-1]
    assert answer.body["message"].startswith("ValueError: no profit in")
    assert "arguments" not in answer.body
    text = json.dumps(answer.body["fault"]["trace"])
    assert "/" not in text
    assert (await player.get(f"/v2/model/variable/{run}/calls")).body == 1


@pytest.mark.gen_test
async def test_options_describe_the_endpoint(nobody: Caller) -> None:
    for path in ("/v2/model/operation", "/v2/model/variable/"):
        answer = await nobody.request("OPTIONS", path)
        assert answer.status == 200
        assert "name" in answer.body["properties"]
        assert answer.body["methods"]


async def operate(client: Caller, run: str, name: str, arguments: list[object]) -> object:
    """Call an operation that succeeds; its result."""
    answer = await client.post(f"/v2/model/operation/{run}", {"name": name, "arguments": arguments})
    assert answer.status == 200, answer
    return answer.body.get("result")
