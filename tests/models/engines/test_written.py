"""Python models of the SD DSL beside the library: every equation at every time, for each construct."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsim.models.engines.base import KINDS, RULES, Outputs, ScenarioSettings, Source
from streamsim.models.session import Begin, StepSession, whole
from tests.models.conftest import EXAMPLES
from tests.models.engines.written import MODELS
from tests.models.engines.xmile import MODELS as XMILE

pytest.importorskip("BPTK_Py.sdcompiler.compile")
from BPTK_Py.sdcompiler import compile_xmile

from streamsim.models.engines.bptk import BptkEngine

pytestmark = pytest.mark.filterwarnings("ignore")

SCALARS = ("customer_acquisition", "sir_epidemic", "inventory_delay")


def engine(text: str) -> BptkEngine:
    return BptkEngine(Source("m", "bptk", "m.py", {"m.py": text}))


def library(text: str) -> Any:
    """The library's own object."""
    space: dict[str, Any] = {"__name__": "m"}
    exec(text, space)
    return space["bptk_factory"]()


def seeded() -> None:
    random.seed(5)
    np.random.seed(5)


def computed(ours: BptkEngine, manager: str = "m") -> dict[str, set[str]]:
    """What is listed of the first scenario, by kind, without tables."""
    found = next(iter(ours.found.managers[manager].values()))
    return {kind: set(found.equations[kind]) for kind in KINDS if kind != "points"}


@pytest.mark.parametrize("name", MODELS)
def test_every_equation_of_every_construct_is_the_librarys(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = engine(MODELS[name])
    names = sorted(set.union(*computed(ours).values()))
    seeded()
    series = whole(Begin([("m", "base", Outputs(equations=names))], rules=RULES), ours.start)
    theirs = library(MODELS[name])
    seeded()
    # One thread for each equation would draw in any order.
    monkeypatch.setattr("BPTK_Py.sdsimulation.sd_simulation.start_or_run", lambda call, args: call(*args))
    text = theirs.run_scenarios(
        scenarios=["base"], scenario_managers=["m"], equations=names, return_format="json"
    )
    expected = json.loads(text)["m"]["base"]["equations"]
    found = series["m"]["base"]["equations"]
    assert found.keys() == expected.keys() == set(names)
    for one in names:
        assert list(found[one]) == list(expected[one]), one
        assert list(found[one].values()) == pytest.approx(
            list(expected[one].values()), rel=1e-9, abs=1e-9, nan_ok=True
        ), one
    assert len(found["x"]) == 17


@pytest.mark.parametrize("name", [*MODELS, *SCALARS])
def test_every_equation_of_a_python_model_is_listed_with_one_kind(name: str) -> None:
    text = MODELS.get(name) or (EXAMPLES / f"{name}.py").read_text()
    ours = engine(text)
    (manager,) = ours.found.managers
    listed = [one for names in computed(ours, manager).values() for one in names]
    theirs = next(iter(library(text).scenario_manager_factory.scenario_managers[manager].scenarios.values()))
    known = set(theirs.model.equations)
    # Arrays have no value beside their elements.
    arrays = {one for one in known if any(other.startswith(f"{one}[") for other in known)}
    assert sorted(listed) == sorted(known - arrays)
    assert set(next(iter(ours.found.managers[manager].values())).equations["points"]) == set(
        theirs.model.points
    )


@pytest.mark.parametrize("name", XMILE)
def test_every_equation_of_compiled_xmile_is_listed_with_a_kind(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.stmx").write_text(XMILE[name])
    compile_xmile(str(tmp_path / "m.stmx"), str(tmp_path / "m.py"), "py")
    space: dict[str, Any] = {}
    exec((tmp_path / "m.py").read_text(), space)
    ours = BptkEngine(Source("m", "bptk", "m.stmx", {"m.stmx": XMILE[name]}))
    known = space["simulation_model"]()
    assert set.union(*computed(ours).values()) == set(known.equations)
    assert set(ours.found.managers["m"]["base"].equations["points"]) == set(known.points)


def test_constants_of_the_first_step_reach_what_a_stock_begins_with() -> None:
    outputs = Outputs(equations=["level", "rate"])
    session = StepSession(
        Begin([("m", "base", outputs)], step_size=0.5, rules=RULES), engine(MODELS["stocks"]).start
    )
    first = session.step({"m": {"base": ScenarioSettings(constants={"rate": 0.5})}}, True)["m"]["base"]
    assert first == {"level": 5, "rate": 0.5}
    session.step({}, True)
    later = session.step({"m": {"base": ScenarioSettings(constants={"rate": 0.0})}}, True)["m"]["base"]
    assert later["rate"] == 0
    assert later["level"] > 5, "what it began with stays"
