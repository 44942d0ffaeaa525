"""Uploads of whole folders: files in any encoding, data beside a model, archives, scenarios in JSON."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest

from tests.application import Caller
from tests.models.conftest import error, push
from tests.models.engines.vensim import model
from tests.support import Answer

MODELS = Path(__file__).parent / "models"
XMILE = (MODELS / "teacup.xmile").read_text()


def binary(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}


def packed(files: dict[str, bytes], folder: str = "") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(folder + name, data)
    return written.getvalue()


async def form(
    client: Caller, fields: dict[str, str], files: dict[str, bytes], method: str = "POST"
) -> Answer:
    """An upload as browsers and curl send forms."""
    border = uuid4().hex
    parts = [
        f'--{border}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    ]
    for name, data in files.items():
        head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        parts += [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", data, b"\r\n"]
    parts.append(f"--{border}--\r\n".encode())
    path = "/models" if method == "POST" else f"/models/{fields['name']}"
    headers = {"Content-Type": f"multipart/form-data; boundary={border}"}
    return await client.request(method, path, body=b"".join(parts), headers=headers)


async def series(
    client: Caller, manager: str, equations: list[str], scenario: str = "base"
) -> dict[str, Any]:
    body = {"scenario_managers": [manager], "scenarios": [scenario], "equations": equations}
    answer = await client.post("/run", body)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.body[manager][scenario]["equations"]
    return found


def by_pysd(folder: Path, main: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """Series by the library called directly on files."""
    pysd = pytest.importorskip("pysd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = pysd.read_vensim(str(folder / main)).run(return_columns=names)
    return {
        name: {
            repr(float(time)): pytest.approx(float(value), rel=1e-9) for time, value in frame[name].items()
        }
        for name in names
    }


# Files in any encoding.

WÄRME = model(
    "Wärme = INTEG(-Verlust, Anfang) ~~|\nVerlust = Wärme *\\\n\t\trate ~~|\n"
    "Anfang = 100 ~~|\nrate = 0.1 ~~|\n"
).replace("{UTF-8}\n", "")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.mdl", WÄRME.replace("\n", "\r\n").encode()),
        ("m.mdl", WÄRME.encode("latin-1")),
        ("m.mdl", WÄRME.replace("\n", "\r\n").encode("utf-8-sig")),
        ("m.mdl", WÄRME.encode("utf-16")),
        ("M.MDL", WÄRME.encode()),
        ("sub/Model.Mdl", WÄRME.encode()),
    ],
)
async def test_a_file_is_read_however_it_was_saved(
    ann: Caller, tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / "m.mdl").write_text("{UTF-8}\n" + WÄRME, encoding="utf-8")
    expected = by_pysd(tmp_path, "m.mdl", ["Wärme"])
    found = await push(ann, "warm", {name: binary(data)})
    assert found["engine"] == "pysd"
    assert await series(ann, "warm", ["Wärme"]) == expected
    if b"\r\n" in data:
        # As text of a JSON body, too, where marks and ends of lines come as characters.
        await ann.put("/models/warm", {"main": name, "files": {name: data.decode()}})
        assert await series(ann, "warm", ["Wärme"]) == expected


@pytest.mark.gen_test
@pytest.mark.parametrize("engine", ["bptk", "pysd"])
async def test_xml_is_told_by_its_content(ann: Caller, engine: str) -> None:
    found = await push(ann, "tea", {"tea.xml": XMILE}, **({} if engine == "bptk" else {"engine": engine}))
    assert found["engine"] == engine
    assert found["scenario_managers"] == {"tea": ["base"]}
    status, text = error(await ann.post("/models", {"name": "b", "files": {"b.xml": "<html/>"}}))
    assert (status, "b.xml" in text, "XMILE" in text) == (400, True, True)


# Data beside a model.

CSV = "time,rain\n0,1.5\n5,6.5\n10,2\n"
DATA = model(
    """
rain = GET DIRECT DATA('data/rain.csv', ',', 'A', 'B2') ~~|
snow = GET DIRECT DATA('data/book.xlsx', 'Winter', 'A', 'B2') ~~|
wind = GET DIRECT DATA('wind.tab', 'wind', 'A', 'B2') ~~|
size = GET DIRECT CONSTANTS('data/book.xlsx', 'Winter', 'D1') ~~|
water = INTEG(rain + snow * size + wind, 0) ~~|
"""
)


def book() -> bytes:
    rows = [["time", "snow", None, 7], [0, 3, None, None], [4, 1, None, None], [10, 2, None, None]]
    written = io.BytesIO()
    pd.DataFrame(rows).to_excel(written, sheet_name="Winter", header=False, index=False, engine="openpyxl")
    return written.getvalue()


FILES = {
    "model.mdl": DATA.encode(),
    "data/rain.csv": CSV.encode(),
    "data/book.xlsx": book(),
    "wind.tab": CSV.replace(",", "\t").encode(),
}
NAMES = ["rain", "snow", "wind", "size", "water"]


def saved(folder: Path) -> Path:
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.gen_test
async def test_data_beside_a_model_is_there_for_it(ann: Caller, tmp_path: Path) -> None:
    expected = by_pysd(saved(tmp_path), "model.mdl", NAMES)
    in_json = {name: binary(data) if name.endswith("xlsx") else data.decode() for name, data in FILES.items()}
    found = await push(ann, "a", in_json)
    assert (found["main"], found["warnings"]) == ("model.mdl", [])
    assert await series(ann, "a", NAMES) == expected
    assert (await form(ann, {"name": "b"}, FILES)).status == 201
    assert await series(ann, "b", NAMES) == expected
    for archive in (packed(FILES), packed(FILES, "project/")):
        assert (await form(ann, {"name": "c", "manager": "c"}, {"c.zip": archive})).status in (201, 409)
        assert await series(ann, "c", NAMES) == expected
        await ann.delete("/models/c")
    await push(ann, "d", {"d.zip": binary(packed(FILES))})
    assert await series(ann, "d", NAMES) == expected


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_files_come_back_as_an_upload_takes_them(ann: Caller) -> None:
    assert (await form(ann, {"name": "a"}, FILES)).status == 201
    files = (await ann.get("/models/a")).body["files"]
    assert files["data/book.xlsx"] == binary(FILES["data/book.xlsx"])
    assert files["data/rain.csv"] == CSV
    before = await series(ann, "a", NAMES)
    answer = await ann.put("/models/a", {"files": files})
    assert (answer.status, answer.body["version"]) == (200, 2)
    assert (await ann.get("/models/a")).body["files"] == files
    assert await series(ann, "a", NAMES) == before
    # A later version without them has none of them.
    answer = await form(ann, {"name": "a", "main": "t.mdl"}, {"t.mdl": WÄRME.encode()}, "PUT")
    assert answer.status == 200, answer
    assert (await ann.get("/models/a")).body["files"] == {"t.mdl": WÄRME}


@pytest.mark.gen_test
async def test_series_of_variables_without_an_equation_are_found(ann: Caller) -> None:
    text = model("rain:INTERPOLATE: ~~|\nwater = INTEG(rain, 0) ~~|\n")
    await push(
        ann, "a", {"m.mdl": text, "other.csv": "time,sun\n0,1\n", "rain.csv": CSV.replace("time", "Time")}
    )
    rain = (await series(ann, "a", ["rain"]))["rain"]
    assert (rain["0.0"], rain["2.0"], rain["10.0"]) == (1.5, 3.5, 2.0)
    for files in ({"m.mdl": text}, {"m.mdl": text, "rain.csv": CSV}):
        status, said = error(await ann.post("/models", {"name": "b", "files": files}))
        assert (status, "variable rain" in said) == (400, True)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "missing.csv"])
async def test_data_is_looked_for_in_the_upload_alone(ann: Caller, path: str) -> None:
    text = model(f"size = GET DIRECT CONSTANTS('{path}', ',', 'A1') ~~|")
    status, said = error(await ann.post("/models", {"name": "a", "files": {"m.mdl": text, "b.csv": "1"}}))
    assert (status, "root:" in said) == (400, False)


READER = """
import json, os
from glob import glob
from pathlib import Path
import numpy as np
import pandas as pd

def numbers():
    return [
        float(pd.read_csv("data/rain.csv")["rain"].sum()),
        float(pd.read_excel("data/book.xlsx", sheet_name="Winter")["snow"].sum()),
        float(np.loadtxt("data/rain.csv", delimiter=",", skiprows=1)[:, 1].sum()),
        float(np.genfromtxt(Path("data") / "rain.csv", delimiter=",", names=True)["rain"].sum()),
    ]

def seen():
    return [
        os.path.isfile("data/rain.csv"), os.path.isdir("data"), os.path.exists("data/none"),
        os.listdir("data"), glob("data/*.csv"), sorted(one.name for one in Path(".").iterdir()),
        [root for root, _, _ in os.walk(".")], Path("umlaut.txt").read_text(encoding="latin-1"),
        open("umlaut.txt", "rb").read().hex(), Path(__file__).name, open("crlf.txt").read(),
    ]

def write():
    open("data/rain.csv", "w")

def escape():
    return open("../../etc/passwd").read()
"""


@pytest.mark.gen_test
async def test_code_of_a_model_reads_its_files_with_what_it_likes(ann: Caller) -> None:
    files = {
        **FILES,
        "reader.py": READER.encode(),
        "umlaut.txt": "ü".encode("latin-1"),
        "crlf.txt": b"a\r\nb",
    }
    answer = await form(ann, {"name": "reader", "engine": "python", "main": "reader.py"}, files)
    assert answer.status == 201, answer
    run = (await ann.post("/v2/run/ann/game", {"model": "reader"})).body["id"]

    async def call(name: str) -> Answer:
        return await ann.post(f"/v2/run/ann/game/{run}/operations/{name}/", {})

    assert (await call("numbers")).body["result"] == [10.0, 6.0, 10.0, 10.0]
    assert (await call("seen")).body["result"] == [
        True,
        True,
        False,
        ["book.xlsx", "rain.csv"],
        ["data/rain.csv"],
        sorted(["data", "wind.tab", "model.mdl", "reader.py", "umlaut.txt", "crlf.txt"]),
        [".", "./data"],
        "ü",
        "fc",
        "reader.py",
        "a\nb",
    ]
    for name in ("write", "escape"):
        refused = await call(name)
        assert refused.status == 400, name
        assert "Error" in refused.body["message"]


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


# What an upload cannot be.


@pytest.mark.gen_test
async def test_uploads_of_another_form_are_refused_by_name(ann: Caller) -> None:
    for files, said in (
        ({"a.mdl": {"base64": "!"}}, "a.mdl"),
        ({"a.mdl": {"base64": 3}}, "a.mdl"),
        ({"a.mdl": {"base64": "", "more": 1}}, "a.mdl"),
        ({"a.mdl": None}, "a.mdl"),
        ({"a.zip": "text"}, "a.zip"),
        ({"a.zip": binary(b"no archive")}, "a.zip"),
        ({"a.zip": binary(packed({"../a.mdl": b""}))}, "../a.mdl"),
        ({"a.zip": binary(packed({"a.mdl": b""})), "a.mdl": ""}, "a.mdl"),
        ({"a.mdl": "", "b.mdl": ""}, "a.mdl, b.mdl"),
        ({"a.txt": "x"}, "a.txt"),
    ):
        status, text = error(await ann.post("/models", {"name": "m", "files": files}))
        assert (status, said in text) == (400, True), (files, text)
    for fields, parts, said in (
        ({"name": "m", "wrong": "1"}, {"a.mdl": b""}, "wrong"),
        ({"name": "m", "scenarios": "{"}, {"a.mdl": b""}, "scenarios"),
        ({"name": "m"}, {}, "files"),
        ({"name": "m"}, {"../a.mdl": b""}, "a.mdl"),
    ):
        status, text = error(await form(ann, fields, parts))
        assert (status, said in text) == (400, True), (fields, text)


@pytest.mark.gen_test
async def test_an_archive_counts_as_what_is_in_it(ann: Caller) -> None:
    small = packed({"a.mdl": bytes(3 << 20)})
    assert len(small) < 10_000
    assert (await form(ann, {"name": "m"}, {"a.zip": small})).status == 413
