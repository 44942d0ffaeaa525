"""The bptk engine beside the library itself: every equation, every scenario, every time."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from streamsim.models.engines.base import Outputs, Source
from streamsim.models.session import Begin, whole
from tests.models.conftest import EXAMPLES

pytest.importorskip("BPTK_Py")
from streamsim.models.engines.bptk import BptkEngine

SYSTEM_DYNAMICS = ("customer_acquisition", "sir_epidemic", "inventory_delay")


def engine(name: str) -> BptkEngine:
    file = f"{name}.py"
    return BptkEngine(Source(name, "bptk", file, {file: (EXAMPLES / file).read_text()}))


def library(name: str) -> Any:
    """The library's own object, made by the file in the usual way."""
    names: dict[str, Any] = {"__name__": name}
    exec((EXAMPLES / f"{name}.py").read_text(), names)
    return names["bptk_factory"]()


@pytest.mark.parametrize("name", SYSTEM_DYNAMICS)
def test_all_equations_of_all_scenarios_are_the_librarys(name: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    ours = engine(name)
    manager, scenarios = next(iter(ours.found.managers.items()))
    for scenario, found in scenarios.items():
        kinds = ("stocks", "flows", "converters", "constants")
        equations = [one for kind in kinds for one in found.equations[kind]]
        begin = Begin([(manager, scenario, Outputs(equations=equations))])
        text = library(name).run_scenarios(
            scenarios=[scenario], scenario_managers=[manager], equations=equations, return_format="json"
        )
        assert whole(begin, ours.start) == json.loads(text)


def test_agents_are_the_librarys_with_the_same_seed(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    states = ["unaware", "aware", "customer"]
    ours = engine("agent_market")
    for properties in ([], ["spent"]):
        outputs = Outputs(
            agents=["consumer"],
            agent_states=states,
            agent_properties=properties,
            agent_property_types=["total", "mean"] if properties else [],
        )
        random.seed(7)
        answer = whole(Begin([("agent_market", "campaign", outputs)]), ours.start)
        random.seed(7)
        text = library("agent_market").run_scenarios(
            scenarios=["campaign"],
            scenario_managers=["agent_market"],
            agents=outputs.agents,
            agent_states=outputs.agent_states,
            agent_properties=outputs.agent_properties,
            agent_property_types=outputs.agent_property_types,
            return_format="json",
        )
        assert answer == json.loads(text)


def test_steps_between_have_the_values_of_the_whole_run() -> None:
    ours = engine("sir_epidemic")
    outputs = Outputs(equations=["infected", "recovered"])
    full = whole(Begin([("sir_epidemic", "base", outputs)]), ours.start)["sir_epidemic"]["base"]["equations"]
    simulation = ours.start("sir_epidemic", "base", outputs)
    for day in range(121):
        assert simulation.step(float(day)) == {name: series[f"{day}.0"] for name, series in full.items()}


def test_states_that_no_agent_reaches_count_0() -> None:
    outputs = Outputs(agents=["consumer"], agent_states=["unaware", "retired"])
    simulation = engine("agent_market").start("agent_market", "base", outputs)
    counts = simulation.step(1.0)["agents"]["consumer"]
    assert list(counts["retired"].values()) == [0]
    assert sum(counts["unaware"].values()) > 0
