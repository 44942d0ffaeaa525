"""The pysd engine beside the library called directly: every variable, every time, for each construct."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsim.models.engines.base import KINDS, RULES, Outputs, Refused, ScenarioSettings, Source
from streamsim.models.session import Begin, StepSession, whole
from tests.models.engines.vensim import MODELS
from tests.models.engines.xmile import MODELS as XMILE

pytest.importorskip("pysd")
import pysd

from streamsim.models.engines.pysd import PysdEngine

# The library warns of extrapolation, and of variables that are defined in several ways.
pytestmark = pytest.mark.filterwarnings("ignore")

FOLDER = Path(__file__).parents[1] / "scenarios" / "models"


def engine(text: str, name: str = "m.mdl", **options: Any) -> PysdEngine:
    return PysdEngine(Source("m", "pysd", name, {name: text}, options))


def library(text: str, folder: Path, name: str = "m.mdl") -> Any:
    """The library's own model, made of the file in the usual way."""
    (folder / name).write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (pysd.read_vensim if name.endswith(".mdl") else pysd.read_xmile)(str(folder / name))


def run(ours: PysdEngine, equations: list[str] | None = None, **settings: Any) -> dict[str, dict[str, float]]:
    """The series of a whole run by name."""
    found = ours.found.managers["m"]["base"]
    if equations is None:
        equations = [name for kind in KINDS if kind != "points" for name in found.equations[kind]]
    given = {"m": {"base": ScenarioSettings(**settings)}}
    begin = Begin([("m", "base", Outputs(equations=equations))], settings=given, rules=RULES)
    series: dict[str, dict[str, float]] = whole(begin, ours.start)["m"]["base"]["equations"]
    return series


def expected(model: Any, **arguments: Any) -> dict[str, tuple[list[float], list[float]]]:
    """Times and values by the name of each element, of the library's own run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = model.run(**arguments)
    return {
        name.replace(", ", ","): (list(frame.index), [float(value) for value in frame[name]])
        for name in frame.columns
    }


def same(ours: dict[str, dict[str, float]], theirs: dict[str, tuple[list[float], list[float]]]) -> None:
    for name, (times, values) in theirs.items():
        found = ours[name]
        assert [float(time) for time in found] == pytest.approx(times, abs=1e-9), name
        numbers = [np.nan if value is None else value for value in found.values()]
        assert numbers == pytest.approx(values, rel=1e-9, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("name", MODELS)
def test_every_variable_of_every_construct_is_the_librarys(name: str, tmp_path: Path) -> None:
    theirs = library(MODELS[name], tmp_path)
    np.random.seed(4)
    frames = expected(theirs)
    ours = engine(MODELS[name])
    np.random.seed(4)
    series = run(ours)
    same(series, frames)
    columns = {one.partition("[")[0] for one in frames}
    documented = {row for row, kind in zip(theirs.doc["Real Name"], theirs.doc["Type"], strict=True)}
    listed = {
        one.partition("[")[0]
        for names in ours.found.managers["m"]["base"].equations.values()
        for one in names
    }
    assert listed == documented
    assert columns <= listed
    assert len(series["Time"]) == len(next(iter(frames.values()))[0])


def test_variables_of_mixed_type_are_listed_readable_and_of_a_kind() -> None:
    equations = engine(MODELS["mixed"]).found.managers["m"]["base"].equations
    kinds = {name: kind for kind, names in equations.items() for name in names}
    assert kinds["half[a]"] == kinds["half[b]"] == "converters"
    assert kinds["speed"] == "constants"
    assert kinds["Time"] == kinds["SAVEPER"] == "converters"


def test_an_array_that_is_declared_as_one_variable_is_listed_and_set_by_element() -> None:
    ours = engine(XMILE["arrays_without_stars"], "m.xmile")
    found = ours.found.managers["m"]["base"]
    assert found.arrays["all"] == [["a", "b", "c"]]
    changed = run(ours, constants={"all[b]": 5})
    assert set(changed["all[b]"].values()) == {5}
    assert changed["all[a]"] == changed["level[a]"]
    assert set(run(ours, constants={"all": 7})["all[c]"].values()) == {7}


# Arrays are set whole, by element and by slice.


def test_setting_one_element_leaves_the_others(tmp_path: Path) -> None:
    base = run(engine(MODELS["regions"]))
    changed = run(engine(MODELS["regions"]), constants={"rate[North]": 0.5})
    assert changed["rate[North]"] == dict.fromkeys(base["Time"], 0.5)
    assert changed["people[South]"] == base["people[South]"]
    theirs = library(MODELS["regions"].replace("rate[North] = 0.03", "rate[North] = 0.5"), tmp_path)
    same(changed, expected(theirs))


def test_of_two_elements_that_are_set_both_hold() -> None:
    changed = run(engine(MODELS["regions"]), constants={"rate[North]": 0.5, "rate[South]": 0.25})
    assert (changed["rate[North]"]["3.0"], changed["rate[South]"]["3.0"]) == (0.5, 0.25)


def test_arrays_are_set_whole_and_by_slice_and_what_comes_later_wins() -> None:
    ours = engine(MODELS["ages"])
    changed = run(ours, constants={"rate": 1, "rate[*,young]": 2, "rate[North,working]": 3})
    assert {name: series["0.0"] for name, series in changed.items() if name.startswith("rate")} == {
        "rate[North,young]": 2,
        "rate[North,middle]": 3,
        "rate[North,old]": 3,
        "rate[South,young]": 2,
        "rate[South,middle]": 1,
        "rate[South,old]": 1,
    }


def test_elements_that_are_not_set_go_on_being_computed() -> None:
    changed = run(engine(MODELS["ages"]), constants={"extra[North,young]": 0})
    assert set(changed["extra[North,young]"].values()) == {0}
    assert list(changed["extra[South,young]"].values()) == list(changed["Time"].values())
    assert set(changed["extra[South,old]"].values()) == {10}


def test_an_element_is_set_in_a_session_from_a_step_on() -> None:
    outputs = Outputs(equations=["rate[North]", "rate[South]", "people[North]", "people[South]"])
    session = StepSession(Begin([("m", "base", outputs)], rules=RULES), engine(MODELS["regions"]).start)
    rows = [session.step({}, True)["m"]["base"] for _ in range(3)]
    given = {"m": {"base": ScenarioSettings(constants={"rate[North]": 0.0})}}
    rows.append(session.step(given, True)["m"]["base"])
    rows.append(session.step({}, True)["m"]["base"])
    assert [row["rate[North]"] for row in rows] == [0.03, 0.03, 0.03, 0.0, 0.0]
    assert rows[4]["people[North]"] == rows[3]["people[North]"] > rows[2]["people[North]"]
    assert {row["rate[South]"] for row in rows} == {0.05}
    assert rows[4]["people[South]"] > rows[3]["people[South]"]


def test_a_table_of_one_element_is_set_and_read() -> None:
    ours = engine(MODELS["lookups"])
    base, changed = run(ours), run(ours, points={"table[a]": [(0.0, 5.0), (10.0, 25.0)]})
    assert changed["of each[a]"] == {time: 5 + 2 * float(time) for time in base["Time"]}
    assert changed["of each[b]"] == pytest.approx(base["of each[b]"])
    simulation = ours.start("m", "base", Outputs())
    assert simulation.points("table[b]") == [[0.0, 3.0], [3.0, 7.0], [9.0, 9.0]]
    simulation.change(ScenarioSettings(points={"table": [(0.0, 1.0), (1.0, 2.0)]}), None)
    assert simulation.points("table[a]") == simulation.points("table[b]") == [[0.0, 1.0], [1.0, 2.0]]


def test_what_an_array_does_not_have_is_refused() -> None:
    ours = engine(MODELS["regions"])
    for name, message in (
        ("rate[West]", "rate has no subscript West: expecting one of North, South"),
        ("rate[North,South]", "rate has 1 subscripts, not 2"),
        ("rates[North]", "unknown constant rates"),
    ):
        with pytest.raises(Refused, match=message):
            run(ours, constants={name: 1})


# Times are the model's own.


def test_runspecs_of_a_run_are_the_librarys_arguments(tmp_path: Path) -> None:
    theirs = expected(
        library(MODELS["stocks"], tmp_path), initial_condition=(2, {}), final_time=8, time_step=0.25
    )
    ours = run(engine(MODELS["stocks"]), runspecs={"starttime": 2, "stoptime": 8, "dt": 0.25})
    # The library saves the model's own INITIAL TIME, and here all others.
    same(ours, {name: series for name, series in theirs.items() if name != "INITIAL TIME"})


def test_a_model_that_saves_seldom_gives_so_many_rows() -> None:
    assert list(run(engine(MODELS["saved_seldom"]))["Time"]) == [f"{time}.0" for time in range(11)]
    often = run(engine(MODELS["saved_seldom"]), constants={"SAVEPER": 0.5})
    assert len(often["population"]) == 21


def test_steps_of_a_session_are_named_by_the_models_own_times() -> None:
    session = StepSession(
        Begin([("m", "base", Outputs(equations=["Time", "population"]))], rules=RULES),
        engine(MODELS["odd_step"]).start,
    )
    rows = [session.step({}, False)["m"]["base"] for _ in range(4)]
    assert [row["Time"] for row in rows] == [
        {"0.0": 0.0},
        {"0.8": pytest.approx(0.8)},
        {"2.0": pytest.approx(2.0)},
        {"2.8": pytest.approx(2.8)},
    ]
    series = run(engine(MODELS["odd_step"]))["population"]
    assert [next(iter(row["population"].items())) for row in rows] == [
        (time, series[time]) for time in ("0.0", "0.8", "2.0", "2.8")
    ]


def test_a_session_goes_on_as_long_as_the_models_end_moves() -> None:
    session = StepSession(
        Begin([("m", "base", Outputs(equations=["goods"]))], rules=RULES), engine(MODELS["moving_end"]).start
    )
    count = 0
    while not session.ended:
        session.step({}, True)
        count += 1
    # At 7 the end is at 4 + 7 / 2, before the next step.
    assert count == 8


# Stocks have a value now, and one that they begin with.


def test_initial_values_reach_what_begins_with_them(tmp_path: Path) -> None:
    text = MODELS["stocks"]
    theirs = expected(library(text, tmp_path), initial_condition=(0, {"population": 50}))
    same(run(engine(text), initial={"population": 50}), theirs)
    now = run(engine(text), stocks={"population": 50})
    assert now["population"] == pytest.approx(run(engine(text), initial={"population": 50})["population"])
    assert now["ratio"]["0.0"] == 0.5


def test_settings_of_the_first_step_reach_initial_values() -> None:
    outputs = Outputs(equations=["population"])
    for settings in (
        ScenarioSettings(constants={"start population": 50}),
        ScenarioSettings(initial={"population": 50}),
        ScenarioSettings(stocks={"population": 50}),
    ):
        session = StepSession(Begin([("m", "base", outputs)], rules=RULES), engine(MODELS["stocks"]).start)
        assert session.step({"m": {"base": settings}}, True)["m"]["base"] == {"population": 50.0}


def test_a_stock_set_at_a_step_goes_on_by_its_flows() -> None:
    outputs = Outputs(equations=["people[North]", "people[South]"])
    session = StepSession(Begin([("m", "base", outputs)], rules=RULES), engine(MODELS["regions"]).start)
    before = [session.step({}, True)["m"]["base"] for _ in range(3)]
    given = {"m": {"base": ScenarioSettings(stocks={"people[North]": 1000.0})}}
    after = [session.step(given, True)["m"]["base"], session.step({}, True)["m"]["base"]]
    assert [row["people[North]"] for row in after] == [1000.0, pytest.approx(1000 * 1.015**2)]
    assert after[0]["people[South]"] == pytest.approx(before[2]["people[South]"] * 1.025**2)
    with pytest.raises(Refused, match="initial values can be set when a simulation begins"):
        session.step({"m": {"base": ScenarioSettings(initial={"people[North]": 1.0})}}, True)


def test_what_is_no_stock_has_no_value_to_set() -> None:
    with pytest.raises(Refused, match=r"births in .* is no stock: set it under constants"):
        run(engine(MODELS["stocks"]), stocks={"births": 1})


# Journals of before have the numbers of before.


def test_sessions_begun_by_earlier_rules_keep_their_numbers() -> None:
    outputs = Outputs(equations=["rate[North]", "rate[South]"])
    given = {"m": {"base": ScenarioSettings(constants={"rate[North]": 0.5})}}
    old = whole(Begin([("m", "base", outputs)], settings=given), engine(MODELS["regions"]).start)
    series = old["m"]["base"]["equations"]
    assert (series["rate[North]"]["1.0"], series["rate[South]"]["1.0"]) == (0.5, 0.5)
    session = StepSession(
        Begin([("m", "base", Outputs(equations=["population"]))]), engine(MODELS["odd_step"]).start
    )
    assert [list(session.step({}, False)["m"]["base"]["population"]) for _ in range(2)] == [["0.0"], ["1.0"]]
