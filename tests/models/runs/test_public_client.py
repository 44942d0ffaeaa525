"""Requests in the forms that the public client of the run API sends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import Caller
from tests.models.runs.conftest import start, value

RUN = "/v2/run/ann/game"


async def recorded(player: Caller, number: int = 10) -> str:
    """A run that recorded `sample_int`."""
    run = await start(player)
    await player.request("PATCH", f"/v2/model/variable/{run}", body={"sample_int": number})
    answer = await player.post(f"{RUN}/{run}/operations/save/", {"arguments": ["sample_int"]})
    assert answer.status == 200, answer
    return run


async def ids(player: Caller, filters: str, **query: Any) -> list[str]:
    answer = await player.get(f"{RUN}/{filters}/", **query)
    assert answer.status == 200, answer
    return [one["id"] for one in answer.body]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_slash_at_the_end_of_a_variables_path_says_nothing(player: Caller) -> None:
    run = await recorded(player)
    for path in (f"{RUN}/{run}/variables/sample_int/", f"/v2/model/variable/{run}/sample_int/"):
        answer = await player.get(path)
        assert (answer.status, answer.body) == (200, 10)
    answer = await player.get(f"{RUN}/;id={run}/variables/sample_int/")
    assert (answer.status, answer.body) == (200, [{"run": run, "variables": 10}])


@pytest.mark.gen_test
async def test_variables_are_listed_with_include(player: Caller) -> None:
    run = await recorded(player)
    for path in (f"{RUN}/{run}/variables/", f"/v2/model/variable/{run}"):
        answer = await player.get(path, include="sample_int,sample_array[1]")
        assert (answer.status, answer.body) == (200, {"sample_int": 10, "sample_array[1]": 4})
    answer = await player.get(f"{RUN}/;saved=false/variables/", include="sample_int")
    assert answer.body == [{"run": run, "variables": {"sample_int": 10}}]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_runs_are_found_by_owner_memory_and_variables_with_a_dot(player: Caller) -> None:
    first, second = await recorded(player, 5), await recorded(player, 15)
    both = sorted((first, second))
    for filters in (
        ";user.id=ann",
        ";user.userName=ann",
        ";account=ann",
        ";project=game",
        ";user.id!=bob",
        ";initialized=true",
        ";initialized!=false",
        ";active=true",
        ";active=true;active=false",
        ";.sample_int>1",
        f";id={first};id={second};active=true",
    ):
        assert sorted(await ids(player, filters)) == both, filters
    for filters in (
        ";user.id=bob",
        ";user.id!=ann",
        ";project=other",
        ";initialized=false",
        ";active=false",
        ";.sample_int>99",
        f";id={first};active=false",
    ):
        assert await ids(player, filters) == [], filters
    assert (await player.request("DELETE", f"{RUN}/{first}")).status == 204
    assert await ids(player, ";active=true") == [second]
    assert await ids(player, ";active=false") == [first]
    assert await ids(player, ";.sample_int>=15;active=true") == [second]
    assert await ids(player, ";saved=false", sort=".sample_int", direction="desc") == [second, first]


@pytest.mark.gen_test
async def test_pages_are_asked_for_in_both_spellings(player: Caller) -> None:
    runs = [await start(player) for _ in range(3)]
    for first, last in (("startrecord", "endrecord"), ("startRecord", "endRecord")):
        answer = await player.get(f"{RUN}/;saved=false/", **{first: 1, last: 1, "sort": "id"})
        assert [one["id"] for one in answer.body] == [sorted(runs)[1]]
        assert answer.headers["content-range"] == "records 1-1/3"


@pytest.mark.gen_test
async def test_what_is_not_understood_is_refused_by_its_name(player: Caller) -> None:
    run = await recorded(player)
    for path, name in (
        (f"{RUN}/?limit=1", "limit"),
        (f"{RUN}/;saved=false/?startRecords=1", "startRecords"),
        (f"{RUN}/{run}/?fields=id", "fields"),
        (f"{RUN}/{run}/variables/sample_int/?step=3", "step"),
        (f"{RUN}/{run}/variables/sample_int/?include=sample_array", "name"),
        (f"/v2/model/introspect/{run}?deep=1", "deep"),
        (f"{RUN}/;active>true/", "active"),
        (f"{RUN}/;initialized=perhaps/", "initialized"),
        (f"{RUN}/;user.name=ann/", "user.name"),
        (f"{RUN}/;saved=false/variables/nothing/", "nothing"),
    ):
        answer = await player.get(path)
        assert answer.status == 400, (path, answer)
        assert answer.body["error"] is True
        assert name in answer.body["message"]
    answer = await player.post(f"{RUN}/?model=sample", {"model": "sample"})
    assert (answer.status, "model" in answer.body["message"]) == (400, True)
    # Scripts that get round caches send it with every GET.
    assert (await player.get(f"{RUN}/{run}/?_=1712345")).status == 200


@pytest.mark.gen_test
async def test_a_new_run_takes_null_for_what_it_leaves_out(player: Caller) -> None:
    body = {"model": "sample", "scope": None, "files": None, "ephemeral": None, "sensitivityMode": False}
    made = await player.post(f"{RUN}/", body)
    assert made.status == 201, made
    assert (made.body["scope"], made.body["files"], made.body["ephemeral"]) == ({}, {}, False)
    refused = await player.post(f"{RUN}/", {"model": "sample", "sensitivityMode": True})
    assert (refused.status, "sensitivityMode" in refused.body["message"]) == (400, True)
    changed = await player.request("PATCH", f"{RUN}/{made.body['id']}/", body={"scope": None})
    assert changed.status == 200, changed
    assert (await player.get(f"{RUN}/{made.body['id']}/")).body["scope"] == {}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_nobody_has_saved_or_trashed_a_clone(player: Caller) -> None:
    run = await recorded(player)
    fields = {"saved": True, "trashed": True, "scope.team": "red"}
    await player.request("PATCH", f"{RUN}/{run}/", body=fields)
    clone = (await player.post(f"/v2/model/state/{run}", {"action": "clone"})).body["run"]
    record = (await player.get(f"{RUN}/{clone}/")).body
    assert (record["saved"], record["trashed"], record["scope"]) == (False, False, {"team": "red"})
    assert (await player.get(f"{RUN}/{run}/")).body["saved"] is True


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_rewind_takes_back_the_last_changes_and_history_tells_the_rest(player: Caller) -> None:
    run = await start(player)
    for number in (1, 2, 3):
        await player.request("PATCH", f"/v2/model/variable/{run}", body={"sample_int": number})
    await player.post(f"{RUN}/{run}/operations/save/", {"arguments": ["sample_int"]})
    told = (await player.get(f"/v2/model/history/{run}")).body
    assert told == [
        *({"type": "variables", "variables": {"sample_int": number}} for number in (1, 2, 3)),
        {"type": "operation", "name": "save", "arguments": ["sample_int"]},
    ]
    answer = await player.post(f"/v2/model/state/{run}", {"action": "rewind"})
    assert (answer.status, answer.body) == (200, {"run": run})
    assert await value(player, run, "sample_int") == 3
    assert (await player.get(f"/v2/model/history/{run}")).body == told[:3]
    assert (await player.get(f"{RUN}/;id={run}/variables/sample_int/")).status == 400, "it was taken back"
    await player.post(f"/v2/model/state/{run}", {"action": "rewind", "count": 2})
    assert await value(player, run, "sample_int") == 1
    for body in ({"count": 2}, {"count": 0}, {"count": 1, "exclude": []}):
        refused = await player.post(f"/v2/model/state/{run}", {"action": "rewind", **body})
        assert refused.status == 400, body
    assert await value(player, run, "sample_int") == 1


@pytest.mark.gen_test
async def test_introspection_tells_types_access_and_subscripts(player: Caller) -> None:
    run = await start(player)
    told = (await player.get(f"/v2/model/introspect/{run}/")).body
    assert told == (await player.get("/v2/model/introspect/ann/game/sample/")).body
    assert told["ranges"] is None
    found = {one.pop("name"): one for one in told["variables"]}
    always = {"access": "ALWAYS", "subscripts": None, "saved": False}
    assert found["sample_int"] == {"type": "int", "dataType": "NUMBER", **always}
    assert found["sample_bool"] == {"type": "bool", "dataType": "BOOLEAN", **always}
    assert found["sample_array"] == {"type": "list", "dataType": "ARRAY", **always}
    functions = {one["name"]: one for one in told["functions"]}
    text, number, flag = functions["runmodel"].pop("signature")
    assert functions["runmodel"] == {"name": "runmodel", "returnType": None}
    assert text == {"name": "text", "dataType": None, "default": None, "optional": False}
    assert (number["name"], flag["name"]) == ("number", "flag")
    [names] = functions["save"]["signature"]
    assert (names["name"], names["optional"]) == ("*names", True)


@pytest.mark.gen_test
async def test_introspection_of_scenarios_tells_defaults_and_what_every_step_records(
    customers: Caller,
) -> None:
    told = (await customers.get("/v2/model/introspect/ann/game/customers")).body
    functions = {one["name"]: one["signature"] for one in told["functions"]}
    parameter = {"dataType": None, "optional": True}
    assert functions["step"] == [{"name": "count", "default": 1, **parameter}]
    assert functions["reset"][0] == {"name": "scenario", "default": None, **parameter}
    found = {one["name"]: one for one in told["variables"]}
    assert found["customers"] == {
        "name": "customers",
        "type": "stocks",
        "dataType": "NUMBER",
        "access": "ALWAYS",
        "subscripts": None,
        "saved": True,
    }


@pytest.mark.gen_test
async def test_what_can_be_read_has_head(player: Caller) -> None:
    run = await recorded(player)
    for path in (
        f"{RUN}/",
        f"{RUN}/{run}/",
        f"{RUN}/;saved=false/",
        f"{RUN}/{run}/variables/sample_int/",
        f"/v2/model/variable/{run}/sample_int",
        f"/v2/model/introspect/{run}",
        f"/v2/model/history/{run}",
    ):
        answer = await player.request("HEAD", path)
        assert (answer.status, answer.body) == (200, ""), path
    assert (await player.request("HEAD", f"{RUN}/none/")).status == 404


@pytest.mark.gen_test
async def test_a_header_tells_what_comes_from_the_store(player: Caller) -> None:
    run = await recorded(player)
    for path, stored in (
        (f"{RUN}/{run}/", False),
        (f"{RUN}/{run}/variables/sample_int/", False),
        (f"{RUN}/;id={run}/", True),
        (f"{RUN}/;id={run}/variables/sample_int/", True),
    ):
        headers = (await player.get(path)).headers
        assert headers.get("pragma") == ("persistent" if stored else None), path
    await player.request("DELETE", f"{RUN}/{run}")
    assert (await player.get(f"{RUN}/{run}/")).headers["pragma"] == "persistent"
