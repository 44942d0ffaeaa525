"""Uploads of models: files in any encoding, XMILE by its content, archives, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.application import Caller
from tests.models.conftest import error, push
from tests.models.engines.vensim import model
from tests.models.scenarios.uploads import binary, by_pysd, form, packed, series

MODELS = Path(__file__).parent / "models"
XMILE = (MODELS / "teacup.xmile").read_text()


# Files in any encoding.

WÄRME = model(
    "Wärme = INTEG(-Verlust, Anfang) ~~|\nVerlust = Wärme * loss\\\n\t\t rate ~~|\n"
    "Anfang = 100 ~~|\nloss rate = 0.1 ~~|\n"
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
