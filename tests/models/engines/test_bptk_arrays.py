"""Arrays of bptk-py's models, compiled XMILE and SD DSL: set whole, by slice and by element, and read."""

from __future__ import annotations

from typing import Any

import pytest

from streamsim.models.engines.base import RULES, Outputs, Refused, ScenarioSettings, Source
from streamsim.models.engines.variables import ScenarioVariables
from streamsim.models.session import Begin, StepSession, whole
from tests.models.engines.xmile import MODELS

pytest.importorskip("BPTK_Py.sdcompiler.compile")
from streamsim.models.engines.bptk import BptkEngine

pytestmark = pytest.mark.filterwarnings("ignore")

WRITTEN = """
import BPTK_Py
from BPTK_Py import Model

def bptk_factory():
    model = Model(starttime=0.0, stoptime=4.0, dt=1.0, name="written")
    rate = model.constant("rate")
    rate.setup_named_vector({"a": 0.1, "b": 0.2})
    table = model.constant("table")
    table.setup_named_matrix({"x": {"a": 1.0, "b": 2.0}, "y": {"a": 3.0, "b": 4.0}})
    level = model.stock("level")
    level.setup_named_vector({"a": 10.0, "b": 20.0})
    growth = model.flow("growth")
    growth.setup_named_vector({"a": 0.0, "b": 0.0})
    growth.equation = level * rate
    level.equation = growth
    total = model.converter("total")
    total.equation = level.arr_sum()
    bptk = BPTK_Py.bptk()
    bptk.register_scenario_manager({"m": {"model": model}})
    bptk.register_scenarios({"base": {}}, "m")
    return bptk
"""
LEVELS = ("level[a]", "level[b]")


def compiled(name: str, **options: Any) -> BptkEngine:
    return BptkEngine(Source("m", "bptk", "m.stmx", {"m.stmx": MODELS[name]}, options))


def written() -> BptkEngine:
    return BptkEngine(Source("m", "bptk", "m.py", {"m.py": WRITTEN}))


def run(engine: BptkEngine, *equations: str, rules: int = RULES, **settings: Any) -> dict[str, Any]:
    given = {"m": {"base": ScenarioSettings(**settings)}}
    begin = Begin([("m", "base", Outputs(equations=list(equations)))], settings=given, rules=rules)
    series: dict[str, Any] = whole(begin, engine.start)["m"]["base"]["equations"]
    return series


def test_a_value_for_an_array_is_one_for_each_element() -> None:
    series = run(compiled("arrays"), "rate[a]", "rate[b]", "rate", constants={"rate": 0.5})
    assert {name: one["1.0"] for name, one in series.items()} == {"rate[a]": 0.5, "rate[b]": 0.5, "rate": 1.5}
    series = run(written(), "rate[a]", "rate[b]", *LEVELS, constants={"rate": 0.5})
    assert [series[name]["1.0"] for name in ("rate[a]", "rate[b]")] == [0.5, 0.5]
    assert [series[name]["1.0"] for name in LEVELS] == [15, 30]


def test_one_element_and_slices_leave_the_others() -> None:
    series = run(compiled("arrays"), "rate[a]", "rate[b]", "rate[c]", constants={"rate[a]": 9})
    assert (series["rate[a]"]["2.0"], series["rate[b]"]["2.0"], series["rate[c]"]["2.0"]) == (9, 0.2, 0.3)
    names = ["rate[north,young]", "rate[north,old]", "rate[south,young]", "rate[south,old]"]
    series = run(compiled("arrays_of_two"), *names, constants={"rate[*,old]": 7, "rate[south,young]": 5})
    assert [series[name]["2.0"] for name in names] == [1, 7, 5, 7]
    series = run(written(), *LEVELS, constants={"rate[a]": 0})
    assert [series[name]["1.0"] for name in LEVELS] == [10, 24]
    series = run(written(), "table[x][a]", "table[x][b]", "table[y][a]", constants={"table[x]": 8})
    assert [one["1.0"] for one in series.values()] == [8, 8, 3]


def test_stocks_of_arrays_are_set_now_and_at_the_beginning() -> None:
    for engine in (compiled("arrays_of_stocks"), written()):
        begun = run(engine, *LEVELS, initial={"level": 50})
        assert [begun[name]["0.0"] for name in LEVELS] == [50, 50]
        session = StepSession(Begin([("m", "base", Outputs(equations=[*LEVELS]))], rules=RULES), engine.start)
        before = session.step({}, True)["m"]["base"]
        after = session.step({"m": {"base": ScenarioSettings(stocks={"level[b]": 70})}}, True)["m"]["base"]
        assert after["level[b]"] == 70
        assert after["level[a]"] != before["level[a]"]
        assert session.step({}, True)["m"]["base"]["level[b]"] != 70


def test_arrays_that_have_no_value_of_their_own_are_listed_by_element() -> None:
    found = written().found.managers["m"]["base"]
    listed = [name for names in found.equations.values() for name in names]
    assert "rate" not in listed
    assert {"rate[a]", "table[y][b]", *LEVELS} <= set(listed)
    assert found.arrays == {"rate": [["a", "b"]], "level": [["a", "b"]], "growth": [["a", "b"]]}
    assert compiled("arrays_of_two").found.managers["m"]["base"].arrays["rate"] == [
        ["north", "south"],
        ["young", "old"],
    ]


def test_a_variable_with_a_table_is_listed_and_has_a_value_too() -> None:
    engine = compiled("tables")
    equations = engine.found.managers["m"]["base"].equations
    assert set(equations["points"]) == {"effect", "beyond", "steps"} <= set(equations["converters"])
    run_of = ScenarioVariables(engine, 1)
    assert run_of.get(["effect"]) == {"effect": 1}
    run_of.set({"effect": [[0.0, 7.0], [9.0, 7.0]]})
    assert run_of.get(["effect"]) == {"effect": 7}


def test_runs_of_variables_set_arrays_by_element_and_as_lists() -> None:
    run_of = ScenarioVariables(compiled("arrays"), 1)
    run_of.call("step", [2])
    assert run_of.set({"rate": [1, 2, 3]}) == {"rate": 6}
    assert run_of.get(["rate[a]", "rate[c]"]) == {"rate[a]": 1, "rate[c]": 3}
    assert run_of.set({"rate[a]": 5}) == {"rate[a]": 5}
    assert run_of.get(["rate", "rate[b]"]) == {"rate": 10, "rate[b]": 2}
    with pytest.raises(Refused, match="in its shape"):
        run_of.set({"rate": [1, 2]})
    other = ScenarioVariables(written(), 1)
    assert other.set({"rate": [0.3, 0.4]}) == {"rate": [0.3, 0.4]}


def test_scenarios_of_an_upload_set_arrays_and_initial_values() -> None:
    given = {"base": {"constants": {"rate[a]": 4}, "initial": {"level": 3}}}
    series = run(compiled("arrays", scenarios=given), "rate[a]", "rate[c]", "level[c]")
    assert {name: one["0.0"] for name, one in series.items()} == {"rate[a]": 4, "rate[c]": 0.3, "level[c]": 3}
    with pytest.raises(Refused, match=r"rate\[zz\]"):
        compiled("arrays", scenarios={"base": {"constants": {"rate[zz]": 4}}})


def test_what_began_before_keeps_its_numbers() -> None:
    for rules in (0, 1):
        series = run(compiled("arrays"), "rate[a]", "rate", rules=rules, constants={"rate": 0.5})
        assert (series["rate[a]"]["1.0"], series["rate"]["1.0"]) == (0.1, 0.5)
