"""Arrays and tables of models in Python: every listed name is read, all others are refused by name."""

from __future__ import annotations

import pytest

from tests.application import Caller
from tests.models.conftest import error, push

ARRAYS = """
from BPTK_Py import Model, bptk
from BPTK_Py import sd_functions as sd

def bptk_factory():
    model = Model(starttime=0.0, stoptime=2.0, dt=1.0, name="m")
    stock, flow, rate = model.stock("stock"), model.flow("flow"), model.constant("rate")
    stock.setup_vector(2, [1.0, 2.0])
    flow.setup_vector(2, [0.0, 0.0])
    rate.setup_vector(2, [1.0, 3.0])
    stock.equation = flow
    flow.equation = rate * 2.0
    model.converter("named").setup_named_vector({"a": 5.0, "b": 6.0})
    model.converter("matrix").setup_matrix([2, 2], [[1.0, 2.0], [3.0, 4.0]])
    model.points["table"] = [[0.0, 1.0], [2.0, 5.0]]
    model.converter("read").equation = sd.lookup(sd.time(), "table")
    made = bptk()
    made.register_scenario_manager({"m": {"model": model}})
    made.register_scenarios({"base": {}}, "m")
    return made
"""


@pytest.mark.gen_test
async def test_every_listed_name_is_read_and_arrays_stand_for_their_elements(ann: Caller) -> None:
    await push(ann, "m", {"m.py": ARRAYS})
    kinds = (await ann.post("/equations", {"scenarioManager": "m", "scenario": "base"})).body
    assert kinds["stocks"] == ["stock[0]", "stock[1]"]
    listed = [name for kind, names in kinds.items() if kind != "points" for name in names]
    ask = {"scenario_managers": ["m"], "scenarios": ["base"]}
    read = (await ann.post("/run", {**ask, "equations": listed})).body["m"]["base"]["equations"]
    assert list(read) == listed
    assert all(isinstance(value, float) for series in read.values() for value in series.values())
    assert list(read["stock[1]"].values()) == [2.0, 8.0, 14.0]
    for name in ("stock", "stock[*]"):
        whole = (await ann.post("/run", {**ask, "equations": [name]})).body["m"]["base"]["equations"]
        assert whole == {one: read[one] for one in ("stock[0]", "stock[1]")}
    whole = (await ann.post("/run", {**ask, "equations": ["named"]})).body["m"]["base"]["equations"]
    assert list(whole) == ["named[a]", "named[b]"]
    whole = (await ann.post("/run", {**ask, "equations": ["matrix"]})).body["m"]["base"]["equations"]
    first = {one: series["0.0"] for one, series in whole.items()}
    assert first == {"matrix[0][0]": 1.0, "matrix[0][1]": 2.0, "matrix[1][0]": 3.0, "matrix[1][1]": 4.0}
    for name, said in (
        ("table", "table of points"),
        ("table[*]", "table[*]"),
        ("read[*]", "read[*]"),
        ("matrix[*]", "matrix"),
        ("stock[5]", "stock[5]"),
        ("stock[", "stock["),
    ):
        status, text = error(await ann.post("/run", {**ask, "equations": [name]}))
        assert (status, said in text) == (400, True), (name, text)
        status, text = error(await ann.post("/sweep", {**sweep(), "equations": [name]}))
        assert (status, said in text) == (400, True), (name, text)


def sweep() -> dict[str, object]:
    return {"scenario_manager": "m", "scenario": "base", "parameters": {"rate[0]": [1.0, 2.0]}}
