"""Uploading models: what is found, what is refused, versions, and who sees what."""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import Caller
from tests.models.conftest import INTERACTIVE, MANAGER, example, push, session

CUSTOMERS = example("customer_acquisition.py")
SOURCE = CUSTOMERS["customer_acquisition.py"]


@pytest.mark.gen_test
async def test_an_upload_says_what_was_found(ann: Caller) -> None:
    found = await push(ann, "customers", CUSTOMERS)
    assert (found["name"], found["version"], found["engine"]) == ("customers", 1, "bptk")
    assert found["scenario_managers"] == {
        MANAGER: ["base", "low_word_of_mouth", "high_word_of_mouth", "interactive_scenario"]
    }
    assert found["equations"][MANAGER]["stocks"] == ["customers", "potential_customers"]
    assert [one["name"] for one in (await ann.get("/models")).body] == ["customers"]
    assert (await ann.get("/models/customers")).body == {**found, "files": CUSTOMERS}
    market = await push(ann, "market", example("agent_market.py"))
    assert market["agents"] == {
        "agent_market": {"consumer": {"properties": ["spent"], "states": ["unaware", "aware", "customer"]}}
    }


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("x = 1\nimport nothing_like_this\n", ["model.py, line 2", "nothing_like_this"]),
        ("def f(:\n", ["model.py, line 1", "SyntaxError"]),
        ("x = 1\n", ["neither bptk_factory() nor"]),
        ("def bptk_factory():\n    return 3\n", ["must return a BPTK_Py.bptk"]),
        ("def bptk_factory():\n    return 1 / 0\n", ["model.py, line 2", "ZeroDivisionError"]),
        ("from BPTK_Py import bptk as B\nbptk = B()\n", ["registers no scenarios"]),
        ("raise ValueError(open('/etc/shadow').read())\n", ["model.py, line 1", "Error"]),
    ],
)
async def test_a_model_that_does_not_load_is_400_with_its_own_line(
    ann: Caller, source: str, parts: list[str]
) -> None:
    answer = await ann.post("/models", {"name": "m", "files": {"model.py": source}})
    assert answer.status == 400
    for part in parts:
        assert part in answer.body["error"]
    assert "/work" not in answer.body["error"]
    assert "site-packages" not in answer.body["error"]
    assert (await ann.get("/models")).body == []


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "a b", "files": CUSTOMERS},
        {"name": "m", "files": {}},
        {"name": "m", "files": {"../x.py": ""}},
        {"name": "m", "files": {"/x.py": ""}},
        {"name": "m", "files": {"x.py": 3}},
        {"name": "m", "files": {"x.py": "", "y.py": ""}},
        {"name": "m", "files": {"x.py": ""}, "main": "y.py"},
        {"name": "m", "files": CUSTOMERS, "engine": "excel"},
        {"name": "m", "files": CUSTOMERS, "wrong": 1},
        {"name": "m", "files": CUSTOMERS, "scenarios": {"a": {"wrong": 1}}},
    ],
)
async def test_malformed_uploads_are_400(ann: Caller, body: dict[str, Any]) -> None:
    answer = await ann.post("/models", body)
    assert (answer.status, list(answer.body)) == (400, ["error"])


@pytest.mark.gen_test
async def test_an_upload_that_is_too_large_is_413(ann: Caller) -> None:
    answer = await ann.post("/models", {"name": "m", "files": {"x.py": "#" * 900_000, "y.py": "#" * 200_000}})
    assert answer.status == 413


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_names_that_clash_are_refused(customers: Caller, bob: Caller) -> None:
    answer = await customers.post("/models", {"name": "customers", "files": CUSTOMERS})
    assert answer.status == 409
    answer = await customers.post("/models", {"name": "again", "files": CUSTOMERS})
    assert (answer.status, MANAGER in answer.body["error"]) == (409, True)
    await push(bob, "customers", CUSTOMERS)
    assert (await customers.delete("/models/customers")).body == {"msg": "Model deleted."}
    await push(customers, "again", CUSTOMERS)
    assert (await bob.get("/models/again")).status == 404


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_instances_keep_the_version_that_they_began_with(customers: Caller) -> None:
    old = await session(customers)
    changed = {
        "customer_acquisition.py": SOURCE.replace(
            "target_market.equation = 60000.0", "target_market.equation = 6000.0"
        )
    }
    assert (await customers.put("/models/customers", {"files": changed})).body["version"] == 2
    new = await session(customers)
    values = {}
    for instance in (old, new):
        for _ in range(3):
            answer = await customers.post(f"/{instance}/run-step", None)
        values[instance] = answer.body[MANAGER]["interactive_scenario"]["customers"]["3.0"]
    assert values[old] == 2081.6666666666665
    assert values[new] == pytest.approx(1000 + 1100 * (1 - 1 / 6))
    await customers.delete("/models/customers")
    assert (await customers.post(f"/{old}/run-step", None)).status == 200
    assert (await customers.post(f"/{old}/begin-session", INTERACTIVE)).status == 200


@pytest.mark.gen_test
async def test_a_model_of_several_files_with_data(ann: Caller) -> None:
    files = {
        "main.py": "from parts.build import build\nfrom BPTK_Py import bptk as B\n"
        "def bptk_factory():\n    b = B()\n    b.register_scenario_manager({'parts': {'model': build()}})\n"
        "    b.register_scenarios({'base': {}}, 'parts')\n    return b\n",
        "parts/build.py": "from BPTK_Py import Model\n"
        "def build():\n    model = Model(starttime=1, stoptime=2, dt=1, name='parts')\n"
        "    model.constant('rate').equation = float(open('data/rate.csv').read())\n    return model\n",
        "data/rate.csv": "0.25\n",
    }
    await push(ann, "parts", files, main="main.py")
    body = {"scenario_managers": ["parts"], "scenarios": ["base"], "equations": ["rate"]}
    assert (await ann.post("/run", body)).body["parts"]["base"]["equations"]["rate"]["1.0"] == 0.25


@pytest.mark.gen_test
async def test_a_bptk_server_script_works_unmodified(ann: Caller) -> None:
    script = (
        "from BPTK_Py.server import BptkServer\nfrom flask_cors import CORS\n"
        "from customer_acquisition import bptk_factory as factory\n"
        "application = BptkServer(__name__, factory)\nCORS(application)\n"
        "if __name__ == '__main__':\n    application.run()\n"
    )
    found = await push(ann, "served", {**CUSTOMERS, "application.py": script}, main="application.py")
    assert list(found["scenario_managers"]) == [MANAGER]


@pytest.mark.gen_test
async def test_a_session_over_two_models_with_modules_of_one_name(ann: Caller) -> None:
    for name, value in (("one", 1), ("two", 2)):
        source = (
            "import common\nfrom BPTK_Py import Model, bptk as B\n"
            f"def bptk_factory():\n    m = Model(starttime=1, stoptime=5, dt=1, name='{name}')\n"
            "    m.constant('value').equation = common.VALUE\n    b = B()\n"
            f"    b.register_scenario_manager({{'{name}': {{'model': m}}}})\n"
            f"    b.register_scenarios({{'base': {{}}}}, '{name}')\n    return b\n"
        )
        await push(ann, name, {"main.py": source, "common.py": f"VALUE = {value}"}, main="main.py")
    body = {"scenario_managers": ["two", "one"], "scenarios": ["base"], "equations": ["value"]}
    instance = await session(ann, **body)
    step = (await ann.post(f"/{instance}/run-step", None)).body
    assert step == {"two": {"base": {"value": {"1.0": 2}}}, "one": {"base": {"value": {"1.0": 1}}}}
    whole = (await ann.post("/run", body)).body
    assert list(whole) == ["two", "one"]
    assert whole["one"]["base"]["equations"]["value"]["5.0"] == 1
