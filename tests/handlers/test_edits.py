"""PUT /exp/{id}: what an edit changes, when, and under which conditions."""

from __future__ import annotations

import pytest

from tests.application import Caller
from tests.handlers.test_experiments import CODE, PROPERTIES
from tests.support import Answer


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_edit_changes_what_it_names_and_nothing_else(ann: Caller) -> None:
    created = await ann.experiment(**CODE, **PROPERTIES)
    answer = await ann.put(f"/EXP/{created['id']}", {"get_action": "self.action['arm'] = 'b'"})
    assert answer.status == 200
    assert answer.body == {"status": "success", "id": created["id"], "revision": 2}
    shown = (await ann.get(f"/exp/{created['id']}")).body
    unchanged = {piece: text for piece, text in CODE.items() if piece != "get_action"}
    assert unchanged.items() <= shown.items()
    assert PROPERTIES.items() <= shown.items()
    assert shown["get_action"] == "self.action['arm'] = 'b'"
    decided = await ann.get(f"/getaction/{created['id']}", key=created["key"])
    assert decided.body["action"] == {"arm": "b"}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_edit_takes_effect_at_once_on_an_experiment_in_use(ann: Caller) -> None:
    created = await ann.experiment(get_action="self.action['arm'] = 0")
    for arm in range(1, 4):
        await ann.get(f"/getaction/{created['id']}", key=created["key"])
        await ann.put(f"/exp/{created['id']}", {"get_action": f"self.action['arm'] = {arm}"})
        decided = await ann.get(f"/getaction/{created['id']}", key=created["key"])
        assert decided.body["action"] == {"arm": arm}


@pytest.mark.gen_test
async def test_what_get_showed_can_be_put_back_changed(ann: Caller) -> None:
    id = (await ann.experiment(**CODE, **PROPERTIES))["id"]
    shown = (await ann.get(f"/exp/{id}")).body
    answer = await ann.put(f"/exp/{id}", shown | {"delta_hours": 48})
    assert answer.status == 200
    assert (await ann.get(f"/exp/{id}")).body["delta_hours"] == 48
    # The revision in it is old now, which does not matter: nobody asked for a condition.
    assert (await ann.put(f"/exp/{id}", shown | {"delta_hours": 12})).status == 200
    other_key = await ann.put(f"/exp/{id}", {"key": "chosen"})
    assert (other_key.status, other_key.body["error"]["field"]) == (400, "key")


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_an_edit_under_a_condition_does_not_undo_another_unseen(ann: Caller) -> None:
    id = (await ann.experiment(**CODE))["id"]
    shown = await ann.get(f"/exp/{id}")
    tag = shown.headers["etag"]

    async def put(if_match: str | None = None, **fields: object) -> Answer:
        headers = {} if if_match is None else {"If-Match": if_match}
        return await ann.request("PUT", f"/exp/{id}", body={"delta_hours": 1, **fields}, headers=headers)

    first = await put(tag)
    assert (first.status, first.body["revision"]) == (200, 2)
    assert first.headers["etag"] == (await ann.get(f"/exp/{id}")).headers["etag"] != tag
    stale = await put(tag)
    assert (stale.status, stale.body["error"]["code"]) == (412, "precondition_failed")
    assert (await put("W/" + tag + ', "odd"')).status == 412
    assert (await put(f"{tag}, {first.headers['etag']}")).status == 200
    assert (await put("*")).status == 200
    conflict = await put(if_revision=1)
    assert (conflict.status, conflict.body["error"]["field"]) == (409, "if_revision")
    assert (await put(if_revision=4)).body["revision"] == 5
    assert (await put(if_revision="5")).status == 400
