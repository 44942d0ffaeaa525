"""Models in JSON that a request brings, as `/execute` of a BptkServer runs them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.application import Caller
from tests.models.conftest import error


def model() -> Any:
    """Births at a rate, and a table that is looked up."""
    from BPTK_Py import Model
    from BPTK_Py import sd_functions as sd

    made = Model(starttime=0.0, stoptime=4.0, dt=0.5, name="m")
    people, births = made.stock("people"), made.flow("births")
    rate, table = made.constant("rate"), made.converter("table")
    rate.equation = 0.1
    births.equation = rate * people
    people.initial_value = 100.0
    people.equation = births
    made.points["t"] = [[0.0, 1.0], [4.0, 9.0]]
    table.equation = sd.lookup(sd.time(), "t")
    return made


def in_json() -> dict[str, Any]:
    written = model().to_json()
    found: dict[str, Any] = json.loads(written) if isinstance(written, str) else written
    return found


@pytest.mark.gen_test
async def test_a_model_is_run_under_each_scenario(ann: Caller) -> None:
    scenarios = {
        "base": {},
        "fast": {"constants": {"rate": 0.5}, "runspecs": {"stoptime": 1}},
        "flat": {"points": {"t": [[0, 2], [4, 2]]}},
    }
    body = {"model": in_json(), "scenarios": scenarios, "equations": ["people", "table"]}
    answer = await ann.post("/execute", body)
    assert answer.status == 200, answer
    assert list(answer.body) == ["base", "fast", "flat"]
    base = answer.body["base"]
    assert list(base) == ["people", "table"]
    assert list(base["people"]) == [repr(step / 2) for step in range(9)]
    assert base["people"] == {repr(step / 2): pytest.approx(100 * 1.05**step) for step in range(9)}
    assert base["table"]["1.0"] == pytest.approx(3.0)
    assert answer.body["fast"]["people"] == {
        repr(step / 2): pytest.approx(100 * 1.25**step) for step in range(3)
    }
    assert set(answer.body["flat"]["table"].values()) == {2.0}
    alone = await ann.post("/execute/", {"model": in_json(), "equations": ["people"]})
    assert alone.body == {"default": {"people": base["people"]}}


@pytest.mark.gen_test
async def test_what_is_wrong_is_named(ann: Caller) -> None:
    whole = {"model": in_json(), "equations": ["people"]}
    callback = in_json()
    callback["entities"]["constants"][0]["equation"] = {"type": "py_callback", "name": "mine"}
    endless = {**in_json(), "specs": {"starttime": 0, "stoptime": 1e12, "dt": 1e-6}}
    for body, said in (
        ({"equations": ["people"]}, "missing required field: model"),
        ({"model": {}}, "missing required field: equations"),
        ({**whole, "equations": []}, "equations must be a non-empty list"),
        ({**whole, "equations": ["people", "nobody"]}, "nobody"),
        ({**whole, "model": {}}, "specs and entities"),
        ({**whole, "model": {**in_json(), "specs": {"starttime": 0}}}, "stoptime"),
        ({**whole, "model": endless}, "times"),
        ({**whole, "model": callback}, "mine"),
        ({**whole, "wrong": 1}, "wrong"),
        ({**whole, "scenarios": {"a": {"wrong": 1}}}, "wrong"),
        ({**whole, "scenarios": {"a": {"constants": {"rate": "x"}}}}, "scenarios.a.constants"),
        ({**whole, "scenarios": {"a": {"constants": {"nobody": 1}}}}, "nobody"),
        ({**whole, "scenarios": {"a": {"points": {"t": [[1]]}}}}, "scenarios.a.points"),
        ({**whole, "scenarios": {"a": {"runspecs": {"dt": 0}}}}, "dt must be positive"),
    ):
        status, text = error(await ann.post("/execute", body))
        assert (status, said in text) == (400, True), (said, text)
    plain = {"Content-Type": "text/plain"}
    status, text = error(await ann.request("POST", "/execute", body=b"x", headers=plain))
    assert (status, text) == (400, "please pass the request with content-type application/json")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "name", ["no-such", "a.b", "%C3%A4", "a%20b", "1-2-3-4", "x" * 300, "%00", "a;b", "a%2Fb", "x=1&y", "..."]
)
async def test_ids_of_any_form_answer_in_this_apis_form(customers: Caller, name: str) -> None:
    for method, path in (("POST", "run-step"), ("GET", "session-results"), ("POST", "stop-instance")):
        answer = await customers.request(method, f"/{name}/{path}")
        assert error(answer) == (404, "expecting a valid instance id to be given")


@pytest.mark.gen_test
async def test_an_id_that_is_no_text_answers_in_this_apis_form(customers: Caller) -> None:
    status, text = error(await customers.request("POST", "/%ff%fe/run-step"))
    assert (status, bool(text)) == (400, True)
