"""Data beside a model: tables that it names, series without an equation, what its code reads."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from tests.application import Caller
from tests.models.conftest import error, push
from tests.models.engines.vensim import model
from tests.models.scenarios.uploads import binary, by_pysd, form, packed, series
from tests.support import Answer

OTHER = model("Wärme = INTEG(-0.1 * Wärme, 100) ~~|\n")
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
    assert (await form(ann, {"name": "c"}, {"c.zip": packed(FILES)})).status == 201
    assert await series(ann, "c", NAMES) == expected
    await push(ann, "d", {"d.ZIP": binary(packed(FILES, "project/"))})
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
    answer = await form(ann, {"name": "a"}, {"t.mdl": OTHER.encode()}, "PUT")
    assert answer.status == 200, answer
    assert (await ann.get("/models/a")).body["files"] == {"t.mdl": OTHER}


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
