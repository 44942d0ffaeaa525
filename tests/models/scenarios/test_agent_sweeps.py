"""Sweeps of agent models, and the seeds of runs: each run is that of `/run` with its seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.application import Caller
from tests.models.conftest import MANAGER, error, example, push

MARKET = "agent_market"
STATES = ["unaware", "aware", "customer"]
BASE = {"scenario_manager": MARKET, "scenario": "base", "agents": ["consumer"], "everyRun": True, "seed": 3}
SHORT = {MARKET: {"base": {"runspecs": {"stoptime": 6}}}}


async def run(ann: Caller, one: dict[str, Any], **fields: Any) -> Any:
    """What `/run` answers with the values and the seed of a run of a sweep."""
    settings = {MARKET: {"base": {**SHORT[MARKET]["base"], "constants": one["parameters"]}}}
    body = {"scenario_managers": [MARKET], "scenarios": ["base"], "agents": ["consumer"], **fields}
    answer = await ann.post("/run", {**body, "settings": settings, "seed": one["seed"]})
    assert answer.status == 200, answer
    return answer.body[MARKET]["base"]["agents"]


@pytest.mark.gen_test
async def test_each_run_of_an_agent_model_is_the_run_endpoints_with_its_seed(ann: Caller) -> None:
    await push(ann, "market", example("agent_market.py"))
    parameters = {
        "conversion": [0.1, 0.9],
        "advertising": {"distribution": "poisson", "mean": 4, "min": 1},
    }
    body = {**BASE, "parameters": parameters, "runs": 6, "settings": SHORT}
    answer = (await ann.post("/sweep", body)).body
    assert (await ann.post("/sweep", body)).body == answer
    assert len({one["seed"] for one in answer["every_run"]}) == answer["runs"] == 6
    for one in answer["every_run"]:
        assert type(one["parameters"]["advertising"]) is int
        assert one["agents"] == await run(ann, one, agent_states=STATES)
    series = np.array(
        [list(one["agents"]["consumer"]["customer"].values()) for one in answer["every_run"]], dtype=float
    )
    band = answer["agents"]["consumer"]["customer"]
    assert list(band["mean"].values()) == pytest.approx(series.mean(axis=0))
    assert list(band["quantiles"]["0.95"].values()) == pytest.approx(np.quantile(series, 0.95, axis=0))
    assert answer["bands"] == {}
    assert series.std() > 0


@pytest.mark.gen_test
async def test_properties_of_agents_have_bands_where_a_run_has_them(ann: Caller) -> None:
    await push(ann, "market", example("agent_market.py"))
    asked = {
        "agent_states": ["customer"],
        "agent_properties": ["spent"],
        "agent_property_types": ["total", "mean"],
    }
    body = {**BASE, **asked, "parameters": {"price": [10.0, 20.0]}, "seeds": [7, 8], "settings": SHORT}
    answer = (await ann.post("/sweep", body)).body
    found = [(one["parameters"]["price"], one["seed"]) for one in answer["every_run"]]
    assert found == [(10.0, 7), (10.0, 8), (20.0, 7), (20.0, 8)]
    for one in answer["every_run"]:
        assert one["agents"] == await run(ann, one, **asked)
    # With the same seed the same consumers buy, at twice the price.
    ten, twenty = (answer["every_run"][at]["agents"]["consumer"]["customer"] for at in (0, 2))
    spent = [list(one["properties"]["spent"]["total"].values()) for one in (ten, twenty)]
    assert spent[1] == [2 * amount for amount in spent[0]]
    assert spent[0][-1] > 0
    assert answer["agents"]["consumer"]["customer"]["properties"].keys() == {"spent"}
    assert answer["agents"]["consumer"]["customer"]["properties"]["spent"].keys() == {"total", "mean"}


@pytest.mark.gen_test
async def test_so_many_seeds_are_those_after_the_sweeps_own(customers: Caller) -> None:
    body = {"scenario_manager": MANAGER, "scenario": "base", "equations": ["customers"], "everyRun": True}
    body |= {"parameters": {"contact_rate": [5, 6]}, "seed": 2**63 - 2}
    answer = (await customers.post("/sweep", {**body, "seeds": 3})).body
    assert [one["seed"] for one in answer["every_run"]] == [2**63 - 1, 0, 1] * 2
    assert [one["parameters"]["contact_rate"] for one in answer["every_run"]] == [5.0] * 3 + [6.0] * 3
    own = (await customers.post("/sweep", {**body, "seed": 9})).body
    assert [one["seed"] for one in own["every_run"]] == [10, 11]


@pytest.mark.gen_test
async def test_bad_sweeps_of_agents_are_400_that_names_what_is_wrong(ann: Caller) -> None:
    await push(ann, "market", example("agent_market.py"))
    for change, word in (
        ({"agents": []}, "equations or agents"),
        ({"agents": ["nobody"]}, "nobody"),
        ({"parameters": {"nope": [1]}}, "nope"),
        ({"agent_properties": ["spent"]}, "agent_states"),
        ({"agent_states": ["customer"], "agent_properties": ["spent"], "agent_property_types": ["x"]}, "x"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": ["a"]}, "seeds"),
        ({"seeds": []}, "seeds"),
    ):
        body = {**BASE, "parameters": {"conversion": [0.5]}, "settings": SHORT, **change}
        status, text = error(await ann.post("/sweep", body))
        assert (status, word in text) == (400, True), text
    wide = {**BASE, "parameters": {"conversion": [0.5, 0.6]}, "seeds": 10_000}
    assert error(await ann.post("/sweep", wide))[0] == 413
