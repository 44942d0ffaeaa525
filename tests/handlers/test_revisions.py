"""Revisions over HTTP: every save of an experiment's code is found again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamsim.services import Services
from tests.application import Caller, Clock


def arm(name: str) -> str:
    return f"self.action['arm'] = '{name}'"


async def numbers(ann: Caller, id: str) -> list[tuple[int, str]]:
    listed = (await ann.get(f"/exp/{id}/revisions")).body["revisions"]
    return [(one["revision"], one["note"]) for one in listed]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_each_save_of_code_keeps_number_date_user_and_note(ann: Caller, clock: Clock) -> None:
    made = (await ann.post("/exp", {"name": "n", "get_action": arm("a"), "note": "the first"})).body
    path = f"/exp/{made['id']}"
    clock.ahead_ms += 60_000
    body = {"get_action": arm("b"), "note": "b is <b>better</b>"}
    assert (await ann.put(path, body)).body["revision"] == 2
    shown = (await ann.get(path)).body
    listed = (await ann.get(f"{path}/revisions")).body["revisions"]
    assert listed == [
        {"revision": 2, "date": shown["modified"], "user": "ann", "note": "b is <b>better</b>"},
        {"revision": 1, "date": shown["created"], "user": "ann", "note": "the first"},
    ]
    assert "note" not in shown
    old = (await ann.get(f"{path}/revisions/1")).body
    pieces = {"get_context": "", "get_action": arm("a"), "get_reward": "", "set_reward": ""}
    assert old == {**listed[1], **pieces}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_restoring_is_a_new_revision_with_the_old_code(ann: Caller) -> None:
    made = await ann.experiment(get_action=arm("a"))
    path = f"/exp/{made['id']}"
    await ann.put(path, {"get_action": arm("b")})
    old = (await ann.get(f"{path}/revisions/1")).body
    body = {"get_action": old["get_action"], "if_revision": 2, "note": "back to 1"}
    assert (await ann.put(path, body)).status == 200
    assert await numbers(ann, made["id"]) == [(3, "back to 1"), (2, ""), (1, "")]
    decided = await ann.get(f"/getaction/{made['id']}", key=made["key"])
    assert decided.body["action"] == {"arm": "a"}


@pytest.mark.gen_test
async def test_edits_that_leave_the_code_keep_none_and_say_that_a_note_was_left_out(ann: Caller) -> None:
    made = await ann.experiment(get_action=arm("a"))
    path = f"/exp/{made['id']}"
    assert (await ann.put(path, {"name": "other"})).body["revision"] == 2
    answer = await ann.put(path, {"get_action": arm("a"), "note": "nothing"})
    assert answer.body["warning"] == ["no code changed; note was left out"]
    await ann.request("POST", f"{path}/key")
    assert await numbers(ann, made["id"]) == [(1, "")]
    # The number of an edit that changed no code is none of a revision.
    for number in ("2", "0", "99999999999999999999", "x", "01x"):
        assert (await ann.get(f"{path}/revisions/{number}")).status == 404


@pytest.mark.gen_test
async def test_code_that_does_not_compile_is_not_kept(ann: Caller) -> None:
    made = await ann.experiment(get_action=arm("a"))
    assert (await ann.put(f"/exp/{made['id']}", {"get_action": "if", "note": "broken"})).status == 400
    assert await numbers(ann, made["id"]) == [(1, "")]


@pytest.mark.gen_test
@pytest.mark.parametrize("note", [7, ["a"], "x" * 501])
async def test_a_malformed_note_names_the_field(ann: Caller, note: Any) -> None:
    made = await ann.experiment()
    for answer in (
        await ann.put(f"/exp/{made['id']}", {"get_action": arm("b"), "note": note}),
        await ann.post("/exp", {"name": "n", "note": note}),
    ):
        assert (answer.status, answer.body["error"]["field"]) == (400, "note")
    assert (await ann.get(f"/exp/{made['id']}")).body["revision"] == 1


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_of_an_experiment_without_revisions_the_code_before_the_first_edit_is_kept(
    ann: Caller, services: Services
) -> None:
    """As those are that an earlier version made."""
    made = await ann.experiment("seen", get_action=arm("a"))
    stored = await services.store.decisions.get_experiment(made["id"])
    assert stored is not None
    other = msgspec.structs.replace(stored, id="e" * 32, name="from before")
    await services.store.decisions.create_experiment(other)
    path = f"/exp/{other.id}"
    await ann.put(path, {"name": "renamed"})
    assert await numbers(ann, other.id) == [(2, "")]
    assert (await ann.get(f"{path}/revisions/2")).body["get_action"] == arm("a")
    assert (await ann.put(path, {"get_action": arm("b"), "note": "b"})).status == 200
    assert await numbers(ann, other.id) == [(3, "b"), (2, "")]
    assert (await ann.get(f"{path}/revisions/2")).body["get_action"] == arm("a")
