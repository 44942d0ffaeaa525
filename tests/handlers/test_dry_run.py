"""Dry runs over HTTP: what an experiment would decide now, which leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.application import Caller

ACTION = """
import random
counted = self.get_theta(key='arms', value=self.context['user'])
self.action['arm'] = 'b' if counted.get('n', 0) > 1 else 'a'
self.set_theta({'asked': 1}, key='asked')
self.log_data({'seen': counted})
"""
REWARD = """
counted = self.get_theta(key='arms', value=self.context['user'])
self.set_theta({'n': counted.get('n', 0) + self.reward}, key='arms', value=self.context['user'])
"""


async def left(ann: Caller, id: str) -> list[Any]:
    """All that a decision or a reward could change."""
    logs = ("summary", "actionlog", "rewardlog", "log", "errorlog")
    paths = [f"/exp/{id}", f"/exp/{id}/theta", *(f"/stats/{id}/{log}" for log in logs)]
    return [(await ann.get(path)).body for path in paths]


async def counting(ann: Caller, **fields: Any) -> dict[str, Any]:
    """An experiment that has learned that of ann 2 were counted."""
    made = await ann.experiment(get_action=ACTION, set_reward=REWARD, **fields)
    body = {"key": made["key"], "context": {"user": "ann"}, "action": {"arm": "a"}, "reward": 2}
    assert (await ann.post(f"/setreward/{made['id']}", body)).status == 200
    return made


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_dry_run_decides_on_theta_as_it_is_and_leaves_nothing(ann: Caller) -> None:
    made = await counting(ann)
    before = await left(ann, made["id"])
    told = (await ann.post(f"/exp/{made['id']}/dryrun", {"context": {"user": "ann"}})).body
    assert told["action"] == {"arm": "b"}
    assert (told["propensity"], told["probabilities"], told["context"]) == (None, None, {"user": "ann"})
    address = {"exp_id": made["id"], "name": "_theta"}
    assert told["read"] == [
        {**address, "key": "arms", "value": "ann", "theta": {"n": 2}},
        {**address, "key": "asked", "value": "", "theta": None},
    ]
    assert told["written"] == [{**address, "key": "asked", "value": "", "theta": {"asked": 1}}]
    assert told["logged"] == [{"seen": {"n": 2}}]
    assert told["more"] is False
    assert told["ms"] > 0
    assert await left(ann, made["id"]) == before
    decided = (
        await ann.post(f"/getaction/{made['id']}", {"key": made["key"], "context": {"user": "ann"}})
    ).body
    assert decided["action"] == told["action"]


@pytest.mark.gen_test
async def test_a_reward_is_learned_from_after_the_decision_and_forgotten(ann: Caller) -> None:
    made = await counting(ann)
    before = await left(ann, made["id"])
    learns = REWARD + "self.set_theta({'asked': self.get_theta(key='asked')['asked'] + 1}, key='asked')"
    body = {"context": {"user": "ann"}, "reward": 0.5, "set_reward": learns}
    answer = await ann.post(f"/exp/{made['id']}/dryrun", body)
    assert answer.status == 200, answer.body
    told = answer.body
    assert {(row["key"], row["value"]): row["theta"] for row in told["written"]} == {
        ("arms", "ann"): {"n": 2.5},
        ("asked", ""): {"asked": 2},
    }
    # What the decision wrote, and the reward read, was never stored.
    assert [row["theta"] for row in told["read"]] == [{"n": 2}, None]
    assert await left(ann, made["id"]) == before


@pytest.mark.gen_test
async def test_code_that_is_not_saved_runs_in_place_of_what_is(ann: Caller) -> None:
    made = await counting(ann)
    body = {
        "get_action": "self.action['arm'] = 'c'\nself.context['seen'] = True\nself.delete_theta(key='arms')"
    }
    told = (await ann.post(f"/exp/{made['id']}/dryrun", body)).body
    assert (told["action"], told["context"]) == ({"arm": "c"}, {"seen": True})
    assert [(row["key"], row["theta"]) for row in told["written"]] == [("arms", None)]
    assert (await ann.get(f"/exp/{made['id']}")).body["get_action"] == ACTION
    assert (await ann.get(f"/stats/{made['id']}/currenttheta")).body == {"arms:ann": {"n": 2}}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "status", "piece", "line", "type"),
    [
        ({"get_action": "x = 1\nself.action['arm'] = x / 0"}, 422, "get_action", 2, "ZeroDivisionError"),
        ({"get_action": "x = 1\nif"}, 422, "get_action", 2, "SyntaxError"),
        ({"get_action": "while True:\n    pass"}, 504, "get_action", None, None),
        ({"get_action": "self.action = {1, 2}"}, 422, None, None, "InvalidValue"),
        ({"set_reward": "\n\nself.nothing()", "reward": 1}, 422, "set_reward", 3, "AttributeError"),
    ],
)
async def test_an_error_names_piece_and_line_and_is_not_logged(
    ann: Caller, body: dict[str, Any], status: int, piece: str | None, line: int | None, type: str | None
) -> None:
    made = await counting(ann)
    before = await left(ann, made["id"])
    answer = await ann.post(f"/exp/{made['id']}/dryrun", {"context": {"user": "ann"}, **body})
    assert answer.status == status
    detail = answer.body["error"]["detail"]
    assert detail.get("piece") == piece
    assert line is None or detail["line"] == line
    assert type is None or detail["type"] == type
    assert await left(ann, made["id"]) == before


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"get_action": 7}, "get_action"),
        ({"action": {}}, "action"),
        ({"set_reward": "x" * 300_000}, "set_reward"),
    ],
)
async def test_a_malformed_dry_run_names_the_field(ann: Caller, body: dict[str, Any], field: str) -> None:
    made = await ann.experiment()
    answer = await ann.post(f"/exp/{made['id']}/dryrun", body)
    assert (answer.status, answer.body["error"]["field"]) == (400, field)


@pytest.mark.gen_test
async def test_probabilities_are_those_of_the_floor_and_of_a_draft(ann: Caller) -> None:
    code = "self.action['arm'] = 'a'\nself.action_probabilities = {'a': 1.0, 'b': 0.0}"
    declared: dict[str, Any] = {
        "arms": ["a", "b"],
        "arm_field": "arm",
        "traffic": {"floor": 0.1},
        "state": "draft",
    }
    made = await ann.experiment(get_action=code, **declared)
    told = (await ann.post(f"/exp/{made['id']}/dryrun", {})).body
    assert told["probabilities"] == pytest.approx({"a": 0.9, "b": 0.1})
    assert told["propensity"] == pytest.approx(told["probabilities"][told["action"]["arm"]])


@pytest.mark.gen_test
async def test_a_dry_run_tells_a_bounded_part_of_theta(ann: Caller) -> None:
    writes = "for n in range(500):\n    self.set_theta({'n': n}, key=str(n))\nself.action['arm'] = 1"
    made = await ann.experiment(get_action=writes)
    await ann.get(f"/getaction/{made['id']}", key=made["key"])
    told = (await ann.post(f"/exp/{made['id']}/dryrun", {})).body
    assert (len(told["read"]), len(told["written"]), told["more"]) == (200, 200, True)


@pytest.mark.gen_test
async def test_dry_runs_beside_decisions_take_nothing_from_them(ann: Caller) -> None:
    made = await ann.experiment(
        get_action="self.action['arm'] = 'a'\nself.set_theta({'n': self.get_theta().get('n', 0) + 1})"
    )
    decide = [ann.get(f"/getaction/{made['id']}", key=made["key"]) for _ in range(20)]
    dry = [ann.post(f"/exp/{made['id']}/dryrun", {}) for _ in range(10)]
    answers = await asyncio.gather(*decide, *dry)
    assert {answer.status for answer in answers} == {200}
    assert (await ann.get(f"/stats/{made['id']}/currenttheta")).body == {"n": 20}
    assert (await ann.get(f"/stats/{made['id']}/summary")).body["get_action_calls"] == 20
