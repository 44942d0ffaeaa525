"""Arrays by element, and stocks now and at the beginning, in every request that sets something, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import Caller
from tests.models.conftest import INTERACTIVE, MANAGER, error, push, session
from tests.models.engines.vensim import MODELS as VENSIM
from tests.models.engines.written import MODELS as WRITTEN
from tests.models.engines.xmile import MODELS as XMILE
from tests.models.runs.conftest import start, value

BOTH = ["rate[North]", "rate[South]"]


async def regions(client: Caller, **fields: Any) -> None:
    pytest.importorskip("pysd")
    await push(client, "m", {"m.mdl": VENSIM["regions"]}, engine="pysd", **fields)


def asking(*equations: str, scenario: str = "base") -> dict[str, Any]:
    return {"scenario_managers": ["m"], "scenarios": [scenario], "equations": list(equations)}


def given(**settings: Any) -> dict[str, Any]:
    return {"settings": {"m": {"base": settings}}}


async def firsts(client: Caller, body: dict[str, Any], scenario: str = "base") -> dict[str, float]:
    """The value at time 0 of each equation of a run."""
    answer = await client.post("/run", body)
    assert answer.status == 200, answer
    return {name: series["0.0"] for name, series in answer.body["m"][scenario]["equations"].items()}


@pytest.mark.gen_test
async def test_a_run_sets_and_reads_arrays_whole_and_by_element(ann: Caller) -> None:
    await regions(ann)
    assert await firsts(ann, asking("rate") | given(constants={"rate[North]": 5})) == {
        "rate[North]": 5,
        "rate[South]": 0.05,
    }
    for constants in ({"rate": [1, 2]}, {"rate[*]": [1, 2]}, {"rate": 2, "rate[North]": 1}):
        assert await firsts(ann, asking("rate[Region]") | given(constants=constants)) == {
            "rate[North]": 1,
            "rate[South]": 2,
        }
    for constants, message in (
        ({"rate": [1, 2, 3]}, "settings.m.base.constants.rate must be a number, or for an array lists"),
        ({"rate[West]": 1}, "rate has no subscript West"),
    ):
        status, text = error(await ann.post("/run", asking("rate") | given(constants=constants)))
        assert status == 400
        assert message in text


@pytest.mark.gen_test
async def test_scenarios_of_an_upload_sweeps_and_sessions_set_one_element(ann: Caller) -> None:
    await regions(ann, scenarios={"base": {}, "high": {"constants": {"rate[North]": 0.5}}})
    high = await firsts(ann, asking("rate", scenario="high"), "high")
    assert high == {"rate[North]": 0.5, "rate[South]": 0.05}
    body = {
        "scenario_manager": "m",
        "scenario": "base",
        "equations": ["rate"],
        "parameters": {"rate[South]": [1, 2]},
        "everyRun": True,
    }
    answer = await ann.post("/sweep", body)
    assert answer.status == 200, answer
    runs = [{name: one["equations"][name]["0.0"] for name in BOTH} for one in answer.body["every_run"]]
    assert runs == [{"rate[North]": 0.03, "rate[South]": 1.0}, {"rate[North]": 0.03, "rate[South]": 2.0}]
    instance = await session(ann, **asking("rate"))
    await ann.post(f"/{instance}/run-step", {**given(), "flatResults": True})
    answer = await ann.post(
        f"/{instance}/run-step", {**given(constants={"rate[South]": 0.7}), "flatResults": True}
    )
    assert answer.body == {"m": {"base": {"rate[North]": 0.03, "rate[South]": 0.7}}}


@pytest.mark.gen_test
async def test_a_run_of_variables_sets_and_reads_elements_and_arrays(ann: Caller) -> None:
    await regions(ann)
    run = await start(ann, "m")
    path = f"/v2/model/variable/{run}"
    assert (await ann.request("PATCH", path, body={"rate[North]": 5})).body == {"rate[North]": 5}
    assert await value(ann, run, "rate") == [5, 0.05]
    assert (await ann.request("PATCH", path, body={"rate": [1, 2]})).body == {"rate": [1, 2]}
    assert await value(ann, run, "rate[South]") == 2
    assert (await ann.request("PATCH", path, body={"rate": [1, 2, 3]})).status == 400
    # A stock is set now, and goes on from there.
    assert (await ann.request("PATCH", path, body={"people[North]": 1000})).status == 200
    await ann.post(f"/v2/model/operation/{run}", {"name": "step", "arguments": [1]})
    assert await value(ann, run, "people") == [1500.0, 400.0]


@pytest.mark.gen_test
async def test_a_stock_among_the_constants_is_refused_with_advice(ann: Caller) -> None:
    await regions(ann)
    pytest.importorskip("BPTK_Py")
    advice = "it is a stock, which its flows change: give its value now under stocks"
    frozen = given(constants={"people[North]": 1})
    bodies = [
        ("/run", asking("people") | frozen),
        ("/sweep", {"scenario_manager": "m", "scenario": "base", "equations": ["total"]}),
    ]
    bodies[1][1]["parameters"] = {"people": [1, 2]}
    instance = await session(ann, **asking("people"))
    bodies += [(f"/{instance}/run-step", frozen), (f"/{instance}/begin-session", asking("people") | frozen)]
    for path, body in bodies:
        status, text = error(await ann.post(path, body))
        assert (status, advice in text) == (400, True), (path, text)
    status, text = error(await ann.post("/run", asking("people") | given(stocks={"rate[North]": 1})))
    assert (status, text) == (400, "settings.m.base.stocks: rate[North] is no stock of this scenario")


@pytest.mark.gen_test
async def test_both_engines_take_stocks_and_initial_values_at_the_first_step(customers: Caller) -> None:
    await regions(customers)
    for manager, scenario, stock in (
        ("m", "base", "people[North]"),
        (MANAGER, "interactive_scenario", "customers"),
    ):
        asked = {"scenario_managers": [manager], "scenarios": [scenario], "equations": [stock]}
        for part in ("stocks", "initial"):
            instance = await session(customers, **INTERACTIVE | asked)
            settings = {manager: {scenario: {part: {stock: 500}}}}
            body = {"settings": settings, "flatResults": True}
            row = (await customers.post(f"/{instance}/run-step", body)).body
            assert row == {manager: {scenario: {stock: 500.0}}}
            after = (
                await customers.post(f"/{instance}/run-step", {"settings": {}, "flatResults": True})
            ).body
            assert after[manager][scenario][stock] > 500
            body["settings"] = {manager: {scenario: {"stocks": {stock: 20}}}}
            row = (await customers.post(f"/{instance}/run-step", body)).body
            assert row == {manager: {scenario: {stock: 20.0}}}
            body["settings"] = {manager: {scenario: {"initial": {stock: 20}}}}
            status, text = error(await customers.post(f"/{instance}/run-step", body))
            assert (status, "initial values can be set when a simulation begins" in text) == (400, True)


BY_ENGINE = {
    "pysd": ("m.mdl", VENSIM["regions"], "people[North]"),
    "bptk": ("m.stmx", XMILE["arrays"], "level[a]"),
}


def upload(engine: str, name: str = "m", **scenario: Any) -> tuple[dict[str, Any], str]:
    """The body of an upload with a scenario, and the name of a stock."""
    pytest.importorskip("pysd" if engine == "pysd" else "BPTK_Py.sdcompiler.compile")
    file, text, stock = BY_ENGINE[engine]
    return {"name": name, "engine": engine, "files": {file: text}, "scenarios": {"base": scenario}}, stock


@pytest.mark.gen_test
@pytest.mark.parametrize("engine", BY_ENGINE)
async def test_scenarios_of_an_upload_begin_with_stocks_and_do_not_freeze_them(
    ann: Caller, engine: str
) -> None:
    stock = BY_ENGINE[engine][2]
    for name in (stock, stock.partition("[")[0], stock.partition("[")[0] + "[*]"):
        status, text = error(await ann.post("/models", upload(engine, constants={name: 5})[0]))
        assert (status, text) == (
            400,
            f"scenarios.base.constants.{name}: it is a stock, which its flows change: give its initial value "
            "under initial",
        )
    assert (await ann.post("/models", upload(engine, initial={stock: 5})[0])).status == 201
    series = (await ann.post("/run", asking(stock))).body["m"]["base"]["equations"][stock]
    assert series["0.0"] == 5
    assert series["1.0"] > 5
    status, text = error(await ann.post("/models", upload(engine, "other", initial={"nope": 5})[0]))
    assert (status, "nope" in text) == (400, True)


@pytest.mark.gen_test
async def test_arrays_of_compiled_xmile_are_set_as_lists_and_by_slice(ann: Caller) -> None:
    assert (await ann.post("/models", upload("bptk")[0])).status == 201
    names = ["rate[a]", "rate[b]", "rate[c]"]
    for constants, found in (
        ({"rate": [1, 2, 3]}, [1, 2, 3]),
        ({"rate": 4, "rate[c]": 1}, [4, 4, 1]),
        ({"rate[*]": [1, 2, 3]}, [1, 2, 3]),
    ):
        first = await firsts(ann, asking(*names, "rate") | given(constants=constants))
        assert list(first.values()) == [*found, sum(found)]
    assert await firsts(ann, asking("rate[*]")) == {"rate[*]": pytest.approx(0.1 + 0 + 0.3)}
    status, text = error(await ann.post("/run", asking("one[*]")))
    assert (status, "one[*]" in text) == (400, True), "one is no array"
    status, text = error(await ann.post("/run", asking("rate") | given(constants={"rate": [1, 2]})))
    assert (status, "lists of numbers in its shape" in text) == (400, True)


@pytest.mark.gen_test
async def test_arrays_of_python_models_are_set_and_read_whole_and_by_row(ann: Caller) -> None:
    pytest.importorskip("BPTK_Py")
    await push(ann, "m", {"m.py": WRITTEN["matrices"]})
    names = ["table[r][a]", "table[r][b]", "table[s][a]", "table[s][b]"]
    for constants, found in (
        ({"table": 9}, [9, 9, 9, 9]),
        ({"table[r]": 9}, [9, 9, 3, 4]),
        ({"table[s][a]": 9}, [1, 2, 9, 4]),
    ):
        for asked in (names, ["table"], ["table[r]", "table[s]"]):
            first = await firsts(ann, asking(*asked) | given(constants=constants))
            assert first == dict(zip(names, found, strict=True))
    for wrong in ("tables", "table[x]", "table[r][c]"):
        status, text = error(await ann.post("/run", asking(wrong)))
        assert (status, wrong in text) == (400, True)


@pytest.mark.parametrize("settings", [{"compat.bptk_status": "legacy"}], indirect=True)
@pytest.mark.gen_test
@pytest.mark.parametrize("engine", BY_ENGINE)
async def test_as_in_bptkserver_a_scenario_may_freeze_a_stock(ann: Caller, engine: str) -> None:
    stock = BY_ENGINE[engine][2]
    assert (await ann.post("/models", upload(engine, constants={stock: 5})[0])).status == 201
    series = (await ann.post("/run", asking(stock))).body["m"]["base"]["equations"][stock]
    assert set(series.values()) == {5}


@pytest.mark.parametrize("settings", [{"compat.bptk_status": "legacy"}], indirect=True)
@pytest.mark.gen_test
async def test_as_in_bptkserver_a_stock_among_the_constants_is_that_for_ever(customers: Caller) -> None:
    settings = {MANAGER: {"interactive_scenario": {"constants": {"customers": 7}}}}
    answer = await customers.post("/run", INTERACTIVE | {"settings": settings})
    series = answer.body[MANAGER]["interactive_scenario"]["equations"]["customers"]
    assert set(series.values()) == {7}
