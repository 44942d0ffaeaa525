"""Paths into a run: what they reach, what they never reach, and what setting them does."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.application import Caller
from tests.models.runs.conftest import start

REACHED: dict[str, Any] = {
    "market.demand": 100,
    "market.history.day[2]": 3,
    'market.history["day"][0]': 1,
    "sample_matrix": [[1, 2], [3, 4]],
    "sample_matrix[1]": [3, 4],
    "sample_matrix[1, 0]": 3,
    "sample_matrix[1][0]": 3,
    "sample_tuple[1]": 2,
    "sample_dict[7]": "seven",
    "thermostat.target": 20,
    "thermostat.fahrenheit": 68,
    "thermostat": {"room": "kitchen"},
}
REFUSED = (
    "nothing_like_this",
    "_hidden",
    "math",
    "math.pi",
    "np.pi",
    "random",
    "market",
    "market.Thermostat",
    "market._x",
    "market.sell",
    "Epicenter",
    "runmodel",
    "runmodel.__globals__",
    "thermostat._target",
    "thermostat.reset",
    "thermostat.__class__",
    "sample_string.upper",
    "sample_string[0]",
    "sample_array.append",
    "sample_array[4]",
    "sample_array[-1]",
    "sample_array[99999999999]",
    "sample_matrix[2]",
    "sample_matrix[0, 0, 0]",
    "sample_matrix.T",
    "sample_dict.items",
    "sample_dict['__class__']",
    "rng",
    "rng.bit_generator",
    "open",
    "annotations",
    "__builtins__",
    "sample_int + 1",
    "sample_int.real",
    "results['max_profit'",
)


@pytest.mark.gen_test
async def test_paths_reach_the_models_data(player: Caller) -> None:
    run = await start(player)
    for path, value in REACHED.items():
        answer = await player.get(f"/v2/model/variable/{run}/{quote(path)}")
        assert (answer.status, answer.body) == (200, value), path


@pytest.mark.gen_test
async def test_paths_reach_nothing_else(player: Caller) -> None:
    run = await start(player)
    for path in REFUSED:
        answer = await player.get(f"/v2/model/variable/{run}", name=path)
        assert (answer.status, answer.body["type"]) == (400, "invalid_variable"), path
        assert path in answer.body["message"]
        answer = await player.request("PATCH", f"/v2/model/variable/{run}", body={path: 1, "price": 99})
        assert answer.status == 400, path
        assert path in answer.body["message"]
    assert (await player.get(f"/v2/model/variable/{run}/price")).body == 1.5
    # One bad name of several spoils them all.
    answer = await player.get(f"/v2/model/variable/{run}?name=price&name=math")
    assert answer.status == 400


WORDS = """
sample_int sample_dict sample_array sample_matrix thermostat market results math np random Epicenter
runmodel rng demand history day target _target room __class__ __dict__ __globals__ __builtins__ __init__
func_globals gi_frame f_locals open os sys T base data flags items append copy"""
parts = st.sampled_from(WORDS.split())
glue = st.sampled_from(
    [".", "[", "]", '["', '"]', "['", "']", "[0]", "[1]", "[-1]", ",", " ", "(", ")", "..", "%"]
)
wild = st.lists(parts | glue | st.text(max_size=3), min_size=1, max_size=8).map("".join)


def test_no_path_leads_out_of_the_models_data(player: Caller, io_loop: IOLoop) -> None:
    run = io_loop.run_sync(lambda: start(player))

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(wild)
    def check(path: str) -> None:
        if not path.strip():
            return
        query = f"/v2/model/variable/{run}?name={quote(path, safe='')}"
        answer = io_loop.run_sync(lambda: player.get(query))
        assert answer.status in (200, 400), answer
        text = str(answer.body)
        if answer.status == 200:
            assert "__" not in path
            assert "secret" not in text
            assert not any(word in path for word in ("math", "np", "random", "Epicenter", "runmodel", "rng"))
            assert not any(word in text for word in ("<module", "<function", "object at", "bound method"))
        else:
            assert answer.body["type"] == "invalid_variable"

    check()


@pytest.mark.gen_test
async def test_setting_is_all_or_nothing_and_answers_what_is_there_then(player: Caller) -> None:
    run = await start(player)

    async def patch(changes: dict[str, Any]) -> Any:
        return await player.request("PATCH", f"/v2/model/variable/{run}", body=changes)

    # A setter that limits what it takes.
    assert (await patch({"thermostat.target": 99})).body == {"thermostat.target": 30}
    assert (await patch({"sample_matrix[0, 1]": 9.5})).body == {"sample_matrix[0, 1]": 9.5}
    assert (await patch({"sample_matrix": [[1], [2]]})).body == {"sample_matrix": [[1], [2]]}
    assert (await patch({"sample_tuple": [3, 4]})).body == {"sample_tuple": [3, 4]}
    assert (await patch({"market.demand": 7, "sample_dict[7]": "8"})).status == 200
    assert (await patch({'sample_dict["new"]': {"a": [1]}})).body == {'sample_dict["new"]': {"a": [1]}}
    assert (await player.post(f"/v2/model/operation/{run}", {"name": "market.sell", "arguments": [2]})).body[
        "result"
    ] == 5
    for changes in (
        {"sample_int": 1, "unknown": 2},
        {"sample_int": 1, "thermostat.fahrenheit": 2},
        {"sample_int": 1, "sample_tuple[0]": 2},
        {"sample_int": 1, "sample_matrix[0,0]": "text"},
        {"sample_int": 1, "results.max": 2},
        # Each is fine by itself; the second no longer when the first was set.
        {"sample_array": [], "sample_array[1]": 300},
        {"sample_int": 1, "thermostat.target": "hot"},
    ):
        answer = await patch(changes)
        assert answer.status == 400, changes
        found = (await player.get(f"/v2/model/variable/{run}?name=sample_int&name=sample_array")).body
        assert found == {"sample_int": 10, "sample_array": [2, 4, 6, 8]}, changes
    assert (await player.get(f"/v2/model/variable/{run}/thermostat.target")).body == 30


@pytest.mark.gen_test
async def test_introspection_lists_what_paths_and_operations_may_name(player: Caller) -> None:
    run = await start(player)
    for path in (f"/v2/model/introspect/{run}", "/v2/model/introspect/ann/game/sample"):
        found = (await player.get(path)).body
        functions = {
            one["name"]: [parameter["name"] for parameter in one["signature"]] for one in found["functions"]
        }
        variables = {one["name"]: one["type"] for one in found["variables"]}
        assert functions["runmodel"] == ["text", "number", "flag"]
        assert functions["save"] == ["*names"]
        assert "market.sell" in functions
        assert not {"_private", "quote", "math"} & functions.keys()
        assert variables["sample_array"] == "list"
        assert variables["market.demand"] == "int"
        assert not {"math", "np", "market", "_hidden", "Epicenter", "rng", "annotations"} & variables.keys()
        assert set(variables) == set(
            (
                await player.get(
                    f"/v2/model/variable/{run}?" + "&".join(f"name={name}" for name in variables)
                )
            ).body
        )
