"""XMILE and Vensim files over HTTP give the numbers of the libraries called directly."""

from __future__ import annotations

import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.application import Caller
from tests.models.conftest import error, push, session
from tests.models.engines.vensim import model

MODELS = Path(__file__).parent / "models"
# Of each engine: how it calls the cup's temperature and the room's.
NAMES = {
    ("bptk", "teacup.xmile"): ("teacupTemperature", "roomTemperature"),
    ("pysd", "teacup.xmile"): ("teacup temperature", "room temperature"),
    ("pysd", "teacup.mdl"): ("Teacup Temperature", "Room Temperature"),
}


def files(name: str) -> dict[str, str]:
    return {name: (MODELS / name).read_text()}


def by_pysd(name: str, folder: Path, **parameters: float) -> dict[str, float]:
    """The temperatures by time, from the library on its own."""
    pysd = pytest.importorskip("pysd")
    path = folder / name
    shutil.copy(MODELS / name, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = pysd.read_vensim if name.endswith("mdl") else pysd.read_xmile
        frame = read(str(path)).run(params=parameters or None)
    (column,) = [one for one in frame.columns if "eacup" in one]
    return {repr(float(time)): float(value) for time, value in frame[column].items()}


def by_bptk(name: str, folder: Path, **constants: float) -> dict[str, float]:
    pytest.importorskip("BPTK_Py")
    from BPTK_Py.sdcompiler import compile_xmile

    compile_xmile(str(MODELS / name), str(folder / "model.py"), "py")
    names: dict[str, Any] = {}
    exec((folder / "model.py").read_text(), names)
    model = names["simulation_model"]()
    for key, value in constants.items():
        model.equations[key] = lambda t, value=value: value
    return {repr(step / 8): float(model.equation("teacupTemperature", step / 8)) for step in range(241)}


@pytest.mark.gen_test
@pytest.mark.parametrize(("engine", "name"), NAMES)
async def test_numbers_are_the_librarys(ann: Caller, tmp_path: Path, engine: str, name: str) -> None:
    cup, room = NAMES[engine, name]
    scenarios = {"base": {}, "cold": {"constants": {room: 40.0}}}
    found = await push(ann, "tea", files(name), engine=engine, scenarios=scenarios, manager="tea time")
    assert found["scenario_managers"] == {"tea time": ["base", "cold"]}
    assert cup in found["equations"]["tea time"]["stocks"]
    body = {"scenario_managers": ["tea time"], "scenarios": ["base", "cold"], "equations": [cup]}
    answer = (await ann.post("/run", body)).body["tea time"]
    direct = by_pysd if engine == "pysd" else by_bptk
    assert answer["base"]["equations"][cup] == direct(name, tmp_path)
    assert answer["cold"]["equations"][cup] == direct(name, tmp_path, **{room: 40.0})
    sweep = {
        "scenario_manager": "tea time",
        "scenario": "base",
        "equations": [cup],
        "parameters": {room: [40.0] * 2},
    }
    assert (await ann.post("/sweep", sweep)).body["bands"][cup]["max"] == answer["cold"]["equations"][cup]
    # Newton's law of cooling: 70 + 110 exp(-t / 10), which Euler steps of 1/8 minute approach.
    assert math.isclose(answer["base"]["equations"][cup]["30.0"], 70 + 110 * math.exp(-3), rel_tol=2e-3)

    instance = await session(ann, **body | {"scenarios": ["base"]})
    steps = [await ann.post(f"/{instance}/run-step", None) for _ in range(3)]
    assert [one.body["tea time"]["base"][cup] for one in steps] == [
        {f"{minute}.0": answer["base"]["equations"][cup][f"{minute}.0"]} for minute in range(3)
    ]
    settings = {"settings": {"tea time": {"base": {"constants": {room: 0.0}}}}}
    await ann.post(f"/{instance}/run-step", settings)
    colder = (await ann.post(f"/{instance}/run-step", None)).body["tea time"]["base"][cup]["4.0"]
    at_3 = answer["base"]["equations"][cup]["3.0"]
    assert math.isclose(colder, at_3 * (1 - 0.125 / 10) ** 8, rel_tol=1e-12)


@pytest.mark.gen_test
async def test_engine_is_told_by_the_ending(ann: Caller) -> None:
    assert (await push(ann, "a", files("teacup.mdl")))["engine"] == "pysd"
    assert (await push(ann, "b", files("teacup.xmile")))["engine"] == "bptk"
    answer = await ann.post("/models", {"name": "c", "files": {"c.txt": ""}})
    assert (answer.status, "engine" in answer.body["error"]) == (400, True)


@pytest.mark.gen_test
async def test_faults_name_the_file_the_line_and_the_variable(ann: Caller) -> None:
    broken = model("first = 1 ~~|\nwrong = first + * 2 ~~|\n")
    line = broken[: broken.index("wrong")].count("\n") + 1
    status, text = error(await ann.post("/models", {"name": "m", "files": {"m.mdl": broken}}))
    assert status == 400
    assert f"m.mdl, line {line}: SyntaxError: variable wrong" in text
    fine = model("limit = 1 ~~|\nlate = 1 / (limit - Time) ~~|\n")
    line = fine[: fine.index("late")].count("\n") + 1
    await push(ann, "m", {"m.mdl": fine})
    body = {"scenario_managers": ["m"], "scenarios": ["base"], "equations": ["late"]}
    status, text = error(await ann.post("/run", body))
    assert status == 422
    assert f"m.mdl, line {line}: ZeroDivisionError: variable late: float division by zero" in text
