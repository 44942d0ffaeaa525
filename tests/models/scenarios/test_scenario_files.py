"""Scenarios in JSON files as bptk-py keeps them: a folder of them, or one beside a model file."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.application import Caller
from tests.models.conftest import error, push
from tests.models.scenarios.uploads import form, packed, series

XMILE = (Path(__file__).parent / "models" / "teacup.xmile").read_text()

# Scenarios in JSON, as the library keeps them in a folder.

TEA = {
    "tea": {
        "source": "simulation_models/tea.xmile",
        "model": "simulation_models/tea",
        "base_constants": {"roomTemperature": 60.0, "unknown": 1},
        "comment": "of nobody's interest",
        "scenarios": {
            "base": {},
            "cold": {"constants": {"roomTemperature": 10}, "strategy": {"3": {}}},
            "rising": {"constants": {"roomTemperature": "60 + t"}, "points": {"none": [[0, 1], [1, 2]]}},
        },
    }
}
MAIN = "from BPTK_Py import bptk\n\ndef bptk_factory():\n    return bptk()\n"
FOLDER = {
    "application.py": MAIN.encode(),
    "scenarios/tea.json": json.dumps(TEA).encode(),
    "simulation_models/tea.xmile": XMILE.encode(),
}
NUMBERS = """
import json
from BPTK_Py import bptk
frame = bptk().run_scenarios(
    scenarios=["base", "cold", "rising"], scenario_managers=["tea"], equations=["teacupTemperature"],
    return_format="json",
)
print(json.dumps(json.loads(frame)))
"""


@pytest.mark.gen_test
async def test_a_folder_of_scenarios_gives_the_librarys_numbers(ann: Caller, tmp_path: Path) -> None:
    for name, data in FOLDER.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    told = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", NUMBERS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = json.loads(told.stdout.splitlines()[-1])["tea"]
    without = {name: data for name, data in FOLDER.items() if name != "application.py"}
    for number, files in enumerate((FOLDER, without)):
        answer = await form(ann, {"name": f"tea{number}"}, {"tea.zip": packed(files, "folder/")})
        assert answer.status == 201, answer
        assert answer.body["scenario_managers"] == {"tea": ["base", "cold", "rising"]}
        warned = "\n".join(answer.body["warnings"])
        for name in ("unknown", "none", "strategy"):
            assert name in warned
        body = {"scenario_managers": ["tea"], "scenarios": ["base", "cold", "rising"]}
        ours = (await ann.post("/run", {**body, "equations": ["teacupTemperature"]})).body["tea"]
        assert ours == expected
        await ann.delete(f"/models/tea{number}")


@pytest.mark.gen_test
async def test_a_scenario_file_at_fault_is_named_with_its_line(ann: Caller) -> None:
    for text, said in (
        ('{"tea": {\n"model" "x"}}', "line 2"),
        ('{"tea": {"model": "x"}}', "scenarios"),
        ('{"tea": {"scenarios": {}}}', "model"),
        ("[]", "scenario manager"),
        ('{"tea": {"model": "x", "scenarios": {"a": 3}}}', "scenario a"),
    ):
        files = {"application.py": MAIN, "scenarios/tea.json": text}
        status, answer = error(await ann.post("/models", {"name": "tea", "files": files}))
        assert (status, "scenarios/tea.json" in answer, said in answer) == (400, True, True), answer


@pytest.mark.gen_test
@pytest.mark.parametrize(("engine", "room"), [("bptk", "roomTemperature"), ("pysd", "room temperature")])
async def test_the_librarys_json_does_for_the_scenarios_of_one_file(
    ann: Caller, engine: str, room: str
) -> None:
    scenarios = {
        "tea": {
            "source": "x.stmx",
            "model": "x",
            "base_constants": {room: 60.0, "nobody": 1},
            "scenarios": {
                "base": {},
                "cold": {
                    "constants": {room: 10.0},
                    "strategy": {"3": {room: 5}},
                    "points": {"none": [[0, 1]]},
                },
            },
        }
    }
    found = await push(ann, "cup", {"tea.xmile": XMILE}, engine=engine, scenarios=scenarios)
    assert found["scenario_managers"] == {"tea": ["base", "cold"]}
    warned = "\n".join(found["warnings"])
    for name in ("nobody", "none", "strategy"):
        assert name in warned
    for scenario, value in (("base", 60.0), ("cold", 10.0)):
        assert (await series(ann, "tea", [room], scenario))[room]["0.0"] == value
    # A new version keeps them.
    again = await ann.put("/models/cup", {"files": {"tea.xmile": XMILE}})
    assert (again.status, again.body["warnings"]) == (200, found["warnings"])
    # Others in our own form do not pass names over.
    files = {"tea.xmile": XMILE}
    own = await ann.put("/models/cup", {"files": files, "scenarios": {"a": {"constants": {"nobody": 1}}}})
    assert own.status == 400
    own = await ann.put("/models/cup", {"files": files, "scenarios": {"a": {}}})
    assert (own.body["scenario_managers"], own.body["warnings"]) == ({"tea": ["a"]}, [])
    for wrong, said in (
        ({**scenarios, "coffee": scenarios["tea"]}, "one scenario manager"),
        ({"tea": {"scenarios": []}}, "scenarios.tea.scenarios"),
        ({"tea": {"scenarios": {"a": {}}, "base_constants": 3}}, "base_constants"),
    ):
        files = {"tea.xmile": XMILE}
        status, text = error(await ann.post("/models", {"name": "b", "files": files, "scenarios": wrong}))
        assert (status, said in text) == (400, True), text
