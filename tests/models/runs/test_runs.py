"""Runs: records, filters, state and memory."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from streamsim.services import Services
from tests.application import Caller
from tests.models.conftest import push
from tests.models.runs.conftest import files, start, value
from tests.models.runs.test_documents import operate

RECORD = {
    "id",
    "account",
    "project",
    "model",
    "user",
    "scope",
    "files",
    "ephemeral",
    "created",
    "lastModified",
    "initialized",
    "active",
    "saved",
    "trashed",
    "variables",
}


@pytest.mark.gen_test
async def test_a_run_is_made_of_a_model_by_name_or_file(player: Caller) -> None:
    for path, body in (
        ("/v2/run/ann/game/", {"model": "sample.py", "scope": {"trackingKey": "k"}}),
        ("/v2/model/run", {"account": "ann", "project": "game", "model": "sample"}),
    ):
        answer = await player.post(path, body)
        assert answer.status == 201
        record = answer.body
        assert record.keys() == RECORD
        assert (record["account"], record["project"], record["model"]) == ("ann", "game", body["model"])
        assert (record["initialized"], record["active"], record["saved"]) == (True, True, False)
        assert record["scope"] == body.get("scope", {})
        assert (await player.get(f"/v2/run/ann/game/{record['id']}/")).body == record
    for bad in (
        {"model": "nothing"},
        {"model": "sample", "unknown": 1},
        {},
        {"model": "sample", "scope": 1},
        {"model": "sample", "ephemeral": "yes"},
    ):
        assert (await player.post("/v2/run/ann/game/", bad)).status == 400
    assert (await player.post("/v2/run/ann/no%20project/", {"model": "sample"})).status == 400


@pytest.mark.gen_test
async def test_a_model_that_does_not_start_leaves_no_run(player: Caller) -> None:
    code = "import random\nfrom epicenter import Epicenter\nif random.seed: n = 1\n"
    fails = "tries = []\ntry:\n    import market\nexcept ImportError:\n    pass\nimport sys\n" + (
        "n = sys.modules.setdefault('_n', [0])\nn[0] += 1\nif n[0] > 1:\n    raise ValueError('not today')\n"
    )
    await push(player, "fine", {"m.py": code}, engine="python")
    await push(player, "late", {"m.py": fails}, engine="python")
    answer = await player.post("/v2/run/ann/game/", {"model": "late"})
    assert (answer.status, answer.body["type"]) == (400, "invalid_model")
    assert answer.body["message"] == "ValueError: not today"
    assert answer.body["fault"]["trace"][-1]["file"] == "m.py"
    assert (await player.get("/v2/run/ann/game/")).body == []


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_patch_changes_fields_and_variables_together(player: Caller) -> None:
    run = await start(player)
    path = f"/v2/run/ann/game/{run}/"
    body = {"saved": True, "scope.trackingKey": "k", "note": [1], "variables": {"sample_int": 3}}
    answer = await player.request("PATCH", path, body=body)
    assert (answer.status, answer.body) == (200, body)
    record = (await player.get(path, include='sample_int,sample_dict["day"],sample_array[1]')).body
    assert (record["saved"], record["scope"], record["note"]) == (True, {"trackingKey": "k"}, [1])
    assert record["variables"] == {"sample_int": 3, 'sample_dict["day"]': "monday", "sample_array[1]": 4}
    for bad in (
        {"id": "x"},
        {"created": 1},
        {"saved": 1},
        {"_x": 1},
        {"a..b": 1},
        {"saved": False, "variables": {"unknown": 1}},
        {"saved": False, "variables": 1},
    ):
        assert (await player.request("PATCH", path, body=bad)).status == 400, bad
    assert (await player.get(path)).body["saved"] is True


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_delete_lets_a_run_leave_memory_only(player: Caller) -> None:
    run = await start(player)
    path = f"/v2/run/ann/game/{run}"
    await operate(player, run, "set_price", [7])
    drawn = await operate(player, run, "draw", [])
    answer = await player.delete(path)
    assert (answer.status, answer.body) == (204, "")
    record = (await player.get(path, include="price,sample_int")).body
    # What was recorded is in the store; for the rest it has to come back.
    assert (record["active"], record["variables"]) == (False, {"price": 7})
    restored = await player.request(
        "GET", path, query={"include": "price,sample_int,draws"}, headers={"X-AutoRestore": "true"}
    )
    assert restored.body["active"] is True
    assert restored.body["variables"] == {"price": 7, "sample_int": 10, "draws": [drawn]}
    await player.delete(path)
    # Random numbers go on where they were.
    first = await operate(player, run, "draw", [])
    await player.delete(path)
    assert await value(player, run, "draws") == [drawn, first]
    assert first != drawn


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_lists_are_filtered_sorted_and_cut(player: Caller) -> None:
    runs = []
    for price in range(6):
        run = await start(player, scope={"trackingKey": "even" if price % 2 == 0 else "odd"})
        await operate(player, run, "set_price", [price])
        runs.append(run)
    await start(player, project="other")
    await player.request("PATCH", f"/v2/run/ann/game/{runs[4]}", body={"saved": True})

    async def found(filters: str, **query: object) -> tuple[list[int], str]:
        answer = await player.get(f"/v2/run/ann/game/{filters}", **query)
        assert answer.status == 200, answer
        return [runs.index(one["id"]) for one in answer.body], answer.headers["content-range"]

    assert await found("") == ([0, 1, 2, 3, 4, 5], "records 0-5/6")
    assert (await found(";variables.price>1/"))[0] == [2, 3, 4, 5]
    assert (await found(";variables.price%3E=1;variables.price<=3/"))[0] == [1, 2, 3]
    assert (await found(";variables.price=>1"))[0] == [2, 3, 4, 5]
    assert (await found(";variables.price!=3"))[0] == [0, 1, 2, 4, 5]
    assert (await found(";saved=true"))[0] == [4]
    assert (await found(";saved=false;scope.trackingKey=even"))[0] == [0, 2]
    assert (await found(f";id={runs[1]};id={runs[2]}"))[0] == [1, 2]
    assert (await found(";created>2020-01-01T00:00:00Z"))[1] == "records 0-5/6"
    assert await found(";created<2020-01-01T00:00:00Z") == ([], "records */0")
    assert await found(";saved=false", startrecord=1, endrecord=2) == ([1, 2], "records 1-2/5")
    assert (await found("", sort="variables.price", direction="desc"))[0] == [5, 4, 3, 2, 1, 0]
    assert await found("", startrecord=10) == ([], "records */6")
    answer = await player.get("/v2/run/ann/game/;variables.price>4", include="price,sample_int")
    assert answer.body[0]["variables"] == {"price": 5}
    for bad in (
        ";nonsense",
        ";active=perhaps",
        ";a'b=1",
        ";created=yesterday",
        "?sort=user",
        "?direction=up",
    ):
        assert (await player.get(f"/v2/run/ann/game/{bad}")).status == 400, bad
    answer = await player.get("/v2/run/ann/game/;variables.price>3/variables/price")
    assert answer.body == [{"run": runs[4], "variables": 4}, {"run": runs[5], "variables": 5}]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_many_runs_are_read_by_whole_recorded_variables(player: Caller) -> None:
    run = await start(player)
    await operate(player, run, "save_as", ["sample_dict", {"day": 1}])
    await player.request("PATCH", f"/v2/model/variable/{run}", body={'sample_dict["day"]': "later"})
    # As it was when it was recorded.
    answer = await player.get(f"/v2/model/variable/;id={run}/sample_dict")
    assert answer.body == [{"run": run, "variables": {"day": 1}}]
    for name in ("sample_int", 'sample_dict["day"]', "sample_dict.day", "__class__"):
        answer = await player.get(f"/v2/model/variable/;id={run}/", name=name)
        assert (answer.status, answer.body["type"]) == (400, "invalid_variable")


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_500_runs_are_read_in_one_query_and_without_a_replay(
    player: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await start(player)
    await operate(player, run, "set_price", [1])
    store: Any = services.store.runs
    [source] = (await store.list_runs(_all()))[0]
    from msgspec.structs import replace

    from streamsim.storage.contract.runs import Append

    entries = await store.entries(run, 0)

    async def make(number: int) -> None:
        copy = replace(source, id=f"{number:036x}")
        await store.copy_run(copy, "", entries)
        price = str(number).encode()
        await store.append(Append(copy.id, copy.length, 1, [b'{"op":"note"}'], variables={"price": price}))

    # At once, as what is appended together is stored together.
    await asyncio.gather(*map(make, range(500)))
    calls: list[str] = []
    statements: list[str] = []
    for name in dir(store):
        if not name.startswith("_"):
            real = getattr(store, name)

            async def counted(*arguments: Any, _real: Any = real, _name: str = name, **named: Any) -> Any:
                calls.append(_name)
                return await _real(*arguments, **named)

            monkeypatch.setattr(store, name, counted)

    async def no_process(*_arguments: object) -> None:
        raise AssertionError("a replay")

    monkeypatch.setattr(services.live_runs, "place", no_process)
    database = getattr(store, "_db", None)
    reading = getattr(database, "_reading", None)
    if isinstance(reading, sqlite3.Connection):
        reading.set_trace_callback(statements.append)
    answer = await player.get("/v2/run/ann/game/;variables.price>99;variables.price<400", include="price")
    assert answer.headers["content-range"] == "records 0-299/300"
    assert sorted(one["variables"]["price"] for one in answer.body) == list(range(100, 400))
    assert calls == ["find_variables"]
    calls.clear()
    answer = await player.get("/v2/run/ann/game/;variables.price>=0/variables/price")
    assert len(answer.body) == 501
    assert calls == ["find_variables"]
    if isinstance(reading, sqlite3.Connection):
        reading.set_trace_callback(None)
        asked = [one for one in statements if "run_variables" in one]
        assert len(asked) == 2
        with sqlite3.connect(services.settings.storage_url().removeprefix("sqlite:///")) as db:
            plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {asked[0]}"))
        db.close()
        assert "USING COVERING INDEX run_variables_by_number" in plan
        assert "SCAN run_variables" not in plan
        assert "SCAN v" not in plan


def _all() -> Any:
    from streamsim.storage.contract.runs import RunQuery

    return RunQuery(tenant="ann", kind="run")


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_replay_and_clone_act_on_the_journal(player: Caller) -> None:
    run = await start(player)
    for price in (1, 2):
        await operate(player, run, "set_price", [price])
    await operate(player, run, "runmodel", ["", 1, True])
    await player.request("PATCH", f"/v2/model/variable/{run}", body={"sample_int": 77})
    await operate(player, run, "draw", [])

    async def act(**body: object) -> str:
        answer = await player.post(f"/v2/model/state/{run}", body)
        assert answer.status == 200, answer
        return str(answer.body["run"])

    names = ("price", "calls", "sample_int", "draws")
    before = {name: await value(player, run, name) for name in names}
    assert await act(action="replay") == run
    assert {name: await value(player, run, name) for name in names} == before
    clone = await act(action="clone")
    assert clone != run
    assert {name: await value(player, clone, name) for name in names} == before
    shown = (await player.get("/v2/run/ann/game/;variables.price=2")).body
    assert {one["id"] for one in shown} == {run, clone}
    # What one does now is not the other's.
    assert await operate(player, clone, "draw", []) == await operate(player, run, "draw", [])
    await operate(player, clone, "set_price", [9])
    assert await value(player, run, "price") == 2
    cut = await act(action="clone", stopBefore="runmodel")
    assert [await value(player, cut, name) for name in names] == [2, 0, 10, []]
    without = await act(action="clone", exclude=["set_price"])
    assert [await value(player, without, name) for name in ("price", "calls", "sample_int")] == [1.5, 1, 77]
    # It has not recorded a price.
    assert (await player.get(f"/v2/model/variable/;id={without}/price")).status == 400
    assert await act(action="replay", stopBefore="set_price") == run
    assert [await value(player, run, name) for name in names] == [1.5, 0, 10, []]
    await player.delete(f"/v2/run/ann/game/{run}")
    assert [await value(player, run, name) for name in names] == [1.5, 0, 10, []]
    for bad in ({}, {"action": "stop"}, {"action": "replay", "stopBefore": 1}, {"action": "clone", "x": 1}):
        assert (await player.post(f"/v2/model/state/{run}", bad)).status == 400


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_run_keeps_the_version_of_its_model(player: Caller) -> None:
    run = await start(player)
    changed = {name: text.replace("914", "1") for name, text in files("sample.py", "market.py").items()}
    assert (await player.put("/models/sample", {"files": changed})).status == 200
    await player.delete(f"/v2/run/ann/game/{run}")
    assert await value(player, run, "results.max_profit") == 914
    assert await value(player, await start(player), "results.max_profit") == 1
